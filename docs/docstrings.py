"""Docstrings of this project line up names and what they mean in columns. In the API page they become lists."""

import re
from typing import Any

import griffe

NAME = re.compile(r"(\w+)  +(\S.*)")  # a name, and after two spaces or more what it means


class Columns(griffe.Extension):
    """Rewrites the docstrings before they are shown."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            parts = re.split(r"\n\s*\n", obj.docstring.value)
            obj.docstring.value = "\n\n".join(as_list(part) if NAME.match(part) else part for part in parts)


def as_list(part: str) -> str:
    """Lines of `name  meaning`, and lines that go on with one, as a Markdown list."""
    lines = part.splitlines()
    found = [NAME.fullmatch(line) for line in lines]
    return "\n".join(f"- `{m[1]}`: {m[2]}" if m else f"    {line.strip()}" for m, line in zip(found, lines, strict=True))
