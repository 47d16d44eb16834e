"""Files that are named on the command line, which may be standard input or output, or begin with a dash."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, Token

from mend.errors import InputError

STANDARD = Path("-")  # standard input or output; a file of this name, ./-, is an absolute path
STANDARD_OUTPUT = (STANDARD, Path("/dev/stdout"))


def _parse_path(_: object, tokens: Sequence[Token]) -> Path:
    """A path, which may begin with a dash, but is no mistyped option, and no address."""
    value = tokens[0].value
    if not value:
        raise ValueError("the name of a file is empty; perhaps a variable of the shell is not set.")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", value):
        raise ValueError(f"{value} is an address; mend reads files of this machine only. Download it, and name the file.")
    if value.startswith("-") and value != "-" and not Path(value).exists() and (value.startswith("--") or "." not in value):
        raise ValueError(f"{value!r} is neither an option nor a file that is there; a file of this name is ./{value}.")
    return Path(value).absolute() if value != "-" and Path(value) == STANDARD else Path(value)


File = Annotated[Path, Parameter(allow_leading_hyphen=True, converter=_parse_path)]


def is_stream(file: Path) -> bool:
    """Whether it can be read but once, or not be replaced: standard input or output, a pipe, what stands in /dev."""
    return file == STANDARD or file.is_relative_to("/dev") or (file.exists() and not file.is_file() and not file.is_dir())


def read_once(file: Path) -> Path | bytes:
    """The bytes of a stream, such as standard input or what a shell makes of <(…); of anything else the path itself."""
    if file != STANDARD:
        return file.read_bytes() if is_stream(file) else file
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("nothing comes from standard input. Send a picture with < or |, or name a file.")
    content = sys.stdin.buffer.read()
    if not content:
        raise InputError("nothing came from standard input. Does the command before the | work by itself?")
    return content


def check_writable(stream: Path) -> None:
    """InputError where standard output, if that is meant, takes no picture."""
    if stream == STANDARD and (sys.stdout is None or sys.stdout.isatty()):
        raise InputError("standard output is a terminal, or closed. Send the picture on with | or >, or name a file.")


def send(data: bytes, stream: Path) -> None:
    """Write all of it to a stream."""
    if stream in STANDARD_OUTPUT:
        left = memoryview(data)
        while left:  # with PYTHONUNBUFFERED a call writes what the pipe has room for
            left = left[sys.stdout.buffer.write(left) :]
        sys.stdout.buffer.flush()
    else:
        with stream.open("wb") as pipe:
            pipe.write(data)
