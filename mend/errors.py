"""One kind of error for everything a user can put right: what came, what was expected, what to do."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


class InputError(ValueError):
    """Bad input. The message is all that a user needs; the command line prints it without a traceback."""


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
