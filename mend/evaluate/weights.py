"""The pretrained weights that other people's metrics look through: fetched on first use; named where missing or damaged.

They lie where PyTorch's hub keeps them. The first digits of a file's SHA-256 stand in its name.
"""

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlparse
from urllib.request import Request, urlopen

from mend.errors import InputError
from mend.inpaint.download import hash_file

PATIENCE = 10.0  # seconds that a server has for its answer
AGAIN = 60.0  # seconds after which a server that could not be reached is asked again
_silent: list[tuple[float, str]] = []  # when no server could be reached, and why


class Unavailable(InputError):
    """A metric that cannot be had here: its weights are missing, or there are too few images for it.

    `result` is the evaluation that was made without it.
    """

    result: Path | None = None

    @property
    def reason(self) -> str:
        """What a table says of it, with no path of this machine."""
        return str(self)


class WeightsMissing(Unavailable):
    """A metric's pretrained weights are not on this machine and cannot be fetched."""

    @property
    def reason(self) -> str:
        return "pretrained weights not available"


def find_weights(url: str) -> Path:
    """Where the file of these weights lies, or will."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name


@contextmanager
def provide_weights(metric: str, url: str, instead: list[str]) -> Iterator[None]:
    """Within it the weights lie where their library looks. WeightsMissing where they cannot be had or are damaged; `instead`
    are metrics that need none."""
    file = find_weights(url)
    choose = f"or choose among the metrics that need no download: {', '.join(instead)}"
    if not file.exists():
        try:
            _fetch(metric, url, file)
        except OSError as error:  # URLError and what stands for a timeout are
            raise WeightsMissing(
                f"{metric} needs weights that could not be fetched ({error}). They are looked for in {file}; put them there, "
                f"{choose}."
            ) from error
    try:
        yield
    except Exception as error:
        if _is_whole(file):
            raise
        raise WeightsMissing(
            f"{file}, the weights of {metric}, is damaged: it has {file.stat().st_size:,} bytes, and its SHA-256 is not that "
            f"in its name. Delete it, and it is fetched again, {choose}."
        ) from error


def _fetch(metric: str, url: str, file: Path) -> None:
    """Fetch a file, having said how large it is and where it goes. OSError where that cannot be; a server that could not be
    reached is not asked again for a while."""
    if _silent and time.monotonic() - _silent[-1][0] < AGAIN:
        raise OSError(_silent[-1][1])
    try:
        with urlopen(Request(url, method="HEAD"), timeout=PATIENCE) as answer:
            size = int(answer.headers.get("Content-Length") or 0)
    except HTTPError:
        raise
    except OSError as error:
        _silent.append((time.monotonic(), str(error)))
        raise
    length = f"{size / 1e6:,.0f} MB" if size else "of unknown size"
    print(f"{metric}: fetching its weights, {length}, to {file}", file=sys.stderr, flush=True)
    import torch

    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(file), hash_prefix=_read_digits(file), progress=True)
    except RuntimeError as error:  # another SHA-256: the file was cut short on its way, and nothing of it is kept
        raise OSError(str(error)) from error


def _read_digits(file: Path) -> str | None:
    found = re.search(r"-([a-f0-9]{8,})\.", file.name)
    return found and found[1]


def _is_whole(file: Path) -> bool:
    return hash_file(file).startswith(_read_digits(file) or "")
