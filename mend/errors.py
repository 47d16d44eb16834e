"""One kind of error for everything a user can put right: what came, what was expected, what to do."""

import difflib
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


class InputError(ValueError):
    """Bad input. The message is all that a user needs; the command line prints it without a traceback.

    It names arguments as one writes them in Python, in backticks: `hole="black"`; see `as_flags`.
    """


def as_flags(message: str) -> str:
    """A message as the command line shows it: `max_memory` is --max-memory, `texture=True` --texture, `grow=3` --grow 3."""

    def flag(found: re.Match[str]) -> str:
        name, value = found[1].replace("_", "-"), (found[2] or "").strip("\"'")
        return f"--{name}" if value in ("", "True") else f"--{name} {shlex.quote(value)}"

    return re.sub(r"`([a-z_]+)(?:=([^`]+))?`", flag, message)


def pick(table: Mapping[str, T], name: str, kind: str) -> T:
    """`table[name]`; an unknown name raises InputError, which offers the nearest and lists the known."""
    if name in table:
        return table[name]
    raise unknown(kind, name, table)


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error to raise for a name that is not among the known."""
    known = list(known)
    return InputError(f"unknown {kind} {name!r}.{nearest(name, known)} Known: {', '.join(known)}.")


def nearest(name: str, known: list[str]) -> str:
    """The sentence " Did you mean 'x'?", or nothing where no known name is close."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""
