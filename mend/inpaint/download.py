"""The files of networks: fetched from the Hugging Face Hub on first use, and checked before every use."""

import errno
import hashlib
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from mend.errors import InputError
from mend.inpaint.contracts import Contract

INSTEAD = "Without `model`, mend uses the network that comes with it, which needs no download."


def find_fetched(contract: Contract) -> Path | None:
    """Where the file of a network lies in the hub's cache; None where it was not fetched yet. It is not compared."""
    from huggingface_hub import try_to_load_from_cache

    assert contract.hub
    there = try_to_load_from_cache(contract.hub, contract.file)
    return Path(there) if isinstance(there, str) else None


def fetch(name: str, contract: Contract) -> Path:
    """The file of a network, from the hub's cache, or into it after its size and licence are printed to standard error.

    What is in the cache already needs no network. A file that stopped half way is never taken for the whole: the hub's library
    moves a file into place when it is complete, and its SHA-256 is compared here each time; a damaged one is fetched again.
    Raises InputError where it cannot be had.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    assert contract.hub
    there = find_fetched(contract)
    if there is not None and describe_difference(there, contract) is None:
        return there
    cache, page = Path(constants.HF_HUB_CACHE), f"{constants.ENDPOINT}/{contract.hub}"
    by_hand = f"Or download {contract.file} from {page} elsewhere, and give its path instead of {name}. {INSTEAD}"
    try:
        get_hf_file_metadata(hf_hub_url(contract.hub, contract.file))  # one question; to fetch, it would ask again and again
    except HfHubHTTPError as error:
        raise InputError(f"{page} does not give {contract.file}: {_shorten_error(error)} {by_hand}") from None
    except Exception as error:
        _raise_unless_connection(error)
        raise InputError(
            f"{contract.file} of {name} is not in {cache}, where it is looked for, and {constants.ENDPOINT} cannot be reached. "
            f"Try again with a connection. {by_hand}"
        ) from None
    print(
        f"{name}: fetching {contract.file} from {page}, {contract.bytes or 0:,} bytes, licence {contract.licence}, to {cache}",
        file=sys.stderr,
    )
    try:
        _require_room(cache, contract.bytes or 0)
        path = Path(hf_hub_download(contract.hub, contract.file, force_download=there is not None))
    except Exception as error:
        _raise_unless_connection(error)
        if isinstance(error, OSError) and (error.errno == errno.ENOSPC or error.filename):
            raise InputError(_explain_disk(error, cache, contract)) from None
        raise InputError(
            f"{contract.file} of {name} could not be fetched to {cache}: {_shorten_error(error)} Nothing of it is used. "
            f"The same command tries again. {by_hand}"
        ) from None
    if wrong := describe_difference(path, contract):
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise InputError(f"what {page} gives as {contract.file} {wrong}. It was removed. {INSTEAD}")
    _remove_halves(path.resolve())
    return path


def _require_room(cache: Path, size: int) -> None:
    """Make the folder, and raise OSError where its disk has less room than `size` bytes: the hub's library would only warn."""
    cache.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(cache).free < size:
        raise OSError(errno.ENOSPC, "")


def _explain_disk(error: OSError, cache: Path, contract: Contract) -> str:
    """Why a disk does not take the file of a network, and what to do."""
    if error.errno == errno.ENOSPC:
        need, free = (contract.bytes or 0) / 1e6, shutil.disk_usage(cache).free / 1e6
        return (
            f"no space left on the disk for {cache}: {contract.file} takes {need:,.1f} MB, and {free:,.1f} MB are free. "
            "Free some and try again, or set HF_HOME to a folder on another disk."
        )
    if error.errno == errno.EROFS:
        return f"{cache} cannot be written: its disk can only be read. Set HF_HOME to another folder."
    if isinstance(error, PermissionError):
        return f"{cache} may not be written: no permission for it or its folder. Set HF_HOME to another folder."
    return f"{cache} cannot be written: {_shorten_error(error)} Set HF_HOME to another folder."


def _remove_halves(whole: Path) -> None:
    """Remove what killed processes had of this file, up to all of its bytes each: the hub's library never looks at it again."""
    for half in whole.parent.glob(f"{whole.name}.*.incomplete"):
        with suppress(OSError):
            half.unlink()


def describe_difference(file: Path, contract: Contract) -> str | None:
    """In what a file differs from the one that a contract describes, in words; None where it does not."""
    size = file.stat().st_size
    if contract.bytes is not None and size != contract.bytes:
        return f"has {size:,} bytes; {contract.bytes:,} were expected"
    if contract.sha256 is None:
        return None
    found = hash_file(file)
    return None if found == contract.sha256 else f"has the SHA-256 {found}; {contract.sha256} was expected"


def hash_file(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _raise_unless_connection(error: Exception) -> None:
    """Raise what is no error of a connection or a disk: the library's are OSError, of the HTTP library below it, or, by Xet,
    RuntimeError."""
    if not (isinstance(error, OSError | RuntimeError) or type(error).__module__.startswith("httpx")):
        raise error


def _shorten_error(error: BaseException) -> str:
    """What an error says, as a sentence; of the system's without their number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}."
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return said.rstrip(".:") + "."
