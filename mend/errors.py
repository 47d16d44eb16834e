"""One kind of error for everything a user can put right: what came, what was expected, what to do."""

import difflib
import errno
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, TypeGuard, TypeVar

T = TypeVar("T")

EXTRAS = {
    "cli.demo": "all",
    "cli.experiment.demo": "all",
    "cli.experiment.export": "export",
    "cli.experiment.reproduce": "all",
    "data.duplicates": "eval",
    "data.loaders": "train",
    "data.photos": "train",
    "data.sources": "train",
    "distributed": "train",
    "evaluate": "eval",
    "images.heif": "heif",
    "inpaint.classical.biharmonic": "eval",
    "inpaint.graphs.count_weights": "eval",
    "inpaint.torchscript": "train",
    "masks.show": "eval",
    "models": "train",
    "models.export": "export",
    "report": "eval",
    "segment": "segment",
    "studio": "studio",
    "studio.runs.read_rows": "eval",
    "train": "train",
    "train.reproduce": "all",
}
"""The extra of pyproject.toml that a part of mend needs, a package, a module or a function; the rest needs none."""


class InputError(ValueError):
    """Bad input. The message is all that a user needs; the command line prints it without a traceback.

    It names arguments as one writes them in Python, in backticks: `hole="black"`; see `show_flags`.
    """


def show_flags(message: str) -> str:
    """A message as the command line shows it: `max_memory` is --max-memory, `texture=True` --texture, `grow=3` --grow 3."""

    def flag(found: re.Match[str]) -> str:
        name, value = found[1].replace("_", "-"), (found[2] or "").strip("\"'")
        return f"--{name}" if value in ("", "True") else f"--{name} {shlex.quote(value)}"

    return re.sub(r"`([a-z_]+)(?:=([^`]+))?`", flag, message)


def pick(table: Mapping[str, T], name: str, kind: str) -> T:
    """`table[name]`; an unknown name raises InputError, which offers the nearest and lists the known."""
    if name in table:
        return table[name]
    raise make_unknown_error(kind, name, table)


def make_unknown_error(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error to raise for a name that is not among the known."""
    known = list(known)
    return InputError(f"unknown {kind} {name!r}.{suggest_nearest(name, known)} Known: {', '.join(known)}.")


def suggest_nearest(name: str, known: list[str]) -> str:
    """The sentence " Did you mean 'x'?", or nothing where no known name is close."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


def list_some(names: Sequence[str], most: int) -> str:
    """The first names of a list, and how many more there are: "a, b and 3 more"."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def is_disk_full(error: BaseException | None) -> TypeGuard[OSError]:
    """Whether an error says that a disk has no room left."""
    return isinstance(error, OSError) and error.errno == errno.ENOSPC


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that there is not enough memory, of the machine or of a GPU."""
    torch = sys.modules.get("torch")  # where it was imported at all
    on_gpu = torch is not None and isinstance(error, torch.OutOfMemoryError)
    return on_gpu or isinstance(error, MemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error)


@contextmanager
def name_missing_extra() -> Iterator[None]:
    """Say which extra is not installed: a package that mend cannot import becomes an InputError with the command to type.

    Stands around everything that a person calls, as a `with` block or as a decorator.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        parts = [f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}" for frame in frames]
        # The outermost part knows best: what "mend evaluate" needs is in [eval], though a network asks for it.
        extra = next(filter(None, map(find_extra, parts)), None)
        if extra is None or (error.name or "mend").split(".")[0] == "mend":
            raise
        raise make_missing_error(str(error.name), extra) from None


def make_missing_error(package: str, extra: str) -> InputError:
    """The error to raise for a package that is not installed, and that an extra brings."""
    return InputError(f"{package} is not installed. Run in the folder of mend: pip install '.[{extra}]'.")


def find_extra(part: str) -> str | None:
    """The extra that a part such as "mend.train.run" needs; None for the core."""
    parts = part.split(".")
    if parts[0] != "mend":
        return None
    return next((extra for i in range(len(parts), 1, -1) if (extra := EXTRAS.get(".".join(parts[1:i])))), None)


def import_lazily(package: str, **modules: str) -> Callable[[str], Any]:
    """The `__getattr__` of a package whose names are imported from their modules when they are asked for: those modules need
    more than the core has."""

    def get(name: str) -> Any:
        if name in modules:
            return getattr(import_module(modules[name]), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get
