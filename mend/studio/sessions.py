"""What visitors have open: folders under one temporary folder, known by tokens that cannot be guessed.

No name that comes from outside is ever part of a path: a token is looked up in a table, and names are only shown.
"""

import secrets
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mend.errors import InputError

IDLE = 3600.0  # seconds after which a session that nobody uses is removed
SESSIONS = 32
KEPT = 20  # pictures of a session: at 24 megapixels a result takes about 100 MB


@dataclass
class Item:
    """A picture or a result of a session: its folder, the name to show, and what is known about it."""

    folder: Path
    name: str
    facts: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def size(self) -> tuple[int, int]:
        return int(self.facts["height"]), int(self.facts["width"])


@dataclass
class Session:
    folder: Path
    items: dict[str, Item] = field(default_factory=dict[str, Item])
    used: float = field(default_factory=time.monotonic)
    shared: bool = False  # a link to it was given out: it stays when its page is closed

    def add(self, name: str) -> tuple[str, Item]:
        """A new item with its folder; the oldest goes when there are too many."""
        key = secrets.token_hex(8)
        self.items[key] = Item(self.folder / key, name)
        self.items[key].folder.mkdir()
        while len(self.items) > KEPT:
            self.remove(next(iter(self.items)))
        return key, self.items[key]

    def remove(self, key: str) -> None:
        if (item := self.items.pop(key, None)) is not None:
            shutil.rmtree(item.folder, ignore_errors=True)

    def item(self, key: str) -> Item:
        if key not in self.items:
            raise InputError("this picture is no longer open. Open it again.")
        return self.items[key]


class Sessions:
    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mend-studio-"))
        self.open: dict[str, Session] = {}

    def create(self) -> tuple[str, Session]:
        """A new session; those unused for an hour go, and the one unused longest when there are too many."""
        for token, session in list(self.open.items()):
            if time.monotonic() - session.used > IDLE:
                self.close(token)
        while len(self.open) >= SESSIONS:
            self.close(min(self.open, key=lambda token: self.open[token].used))
        token = secrets.token_urlsafe(24)
        session = self.open[token] = Session(self.folder / secrets.token_hex(8))
        session.folder.mkdir()
        return token, session

    def find(self, token: str) -> Session:
        if token not in self.open:
            raise InputError("this session is over. Reload the page.")
        self.open[token].used = time.monotonic()
        return self.open[token]

    def close(self, token: str) -> None:
        if (session := self.open.pop(token, None)) is not None:
            shutil.rmtree(session.folder, ignore_errors=True)

    def end(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
