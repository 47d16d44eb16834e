"""What visitors have open: folders under one temporary folder, known by tokens that cannot be guessed.

No name that comes from outside is ever part of a path: a token is looked up in a table, names are only shown, and of a suffix
nothing but letters and digits is taken.
"""

import contextlib
import math
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from mend.errors import InputError
from mend.studio.messages import PictureFacts
from mend.studio.workers import Busy

PREFIX = "mend-studio-"
IDLE = 3600.0  # seconds after which a session of which nobody hears is removed; a page says every few minutes that it is open
OPEN = 600.0  # seconds for which a page that said so counts as open
SESSIONS = 32
LINKS = 100
MASKS = 20  # of one picture that were loaded
KEPT = 20  # pictures of a session: at 24 megapixels a result takes about 100 MB
ROOM = 2_000_000_000  # bytes of a session; of all links; of all that programs send and fetch
SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")


class Gone(InputError):
    """A session or a picture that was here and is no longer: who has the file sends it again."""


@dataclass
class Item:
    """A picture or a result of a session: its folder, the name to show, and what is known about it, as soon as it was read."""

    folder: Path
    name: str
    compared: bool = False  # a result of a comparison
    suffix: str = ""  # of the file of a result
    facts: PictureFacts | None = None
    masks: list[str] = field(default_factory=list[str])  # those that were loaded: files in the folder
    tasks: int = 0  # that work on it

    @property
    def source(self) -> Path:
        """Where the picture is as it came, with its suffix, which says in what format it is written again."""
        return self.folder / f"source{clean_suffix(self.name)}"

    @property
    def result(self) -> tuple[Path, str]:
        """Where the filled picture is, and what it is called when it is saved."""
        return self.folder / f"result{self.suffix}", f"{Path(self.name).stem}-filled{self.suffix}"

    @property
    def full(self) -> Path:
        """Where the picture is as a browser shows it at its full size, once that was asked for."""
        return self.folder / "full.jpg"

    @property
    def size(self) -> tuple[int, int]:
        assert self.facts is not None  # until it was read, nobody knows the key of a picture
        return self.facts.height, self.facts.width

    def mask(self, key: str) -> Path:
        if key not in self.masks:
            raise InputError("this mask is no longer here. Load it again.")
        return self.folder / key

    def copy_into(self, folder: Path) -> None:
        """Put the picture, without its masks, into another folder: as hard links, since nothing changes these files."""
        for part in (self.source.name, "preview.webp", "pixels.npy"):
            if (self.folder / part).exists():
                os.link(self.folder / part, folder / part)

    @property
    def bytes(self) -> int:
        return measure_folder(self.folder)


@dataclass
class Batch(Item):
    """Many pictures of a session, by `names` to show for each file."""

    names: dict[str, str] = field(default_factory=dict[str, str])


def clean_name(name: str, otherwise: str = "picture") -> str:
    """The last part of a name from outside, short; `otherwise` where that is none."""
    last = Path(name).name
    return f"{Path(last).stem[:100]}{Path(last).suffix[:20]}" if last.strip(".") else otherwise


def clean_suffix(name: str) -> str:
    """The suffix of a name from outside, where it can be part of a path; else nothing."""
    suffix = Path(name).suffix
    return suffix if SUFFIX.fullmatch(suffix) else ""


def measure_folder(folder: Path) -> int:
    """In bytes, of all files in it."""
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # a task has renamed it meanwhile
            total += file.stat().st_size
    return total


@contextlib.contextmanager
def hold(*items: Item) -> Iterator[None]:
    """While a task works on items, they stay."""
    for item in items:
        item.tasks += 1
    try:
        yield
    finally:
        for item in items:
            item.tasks -= 1


@dataclass
class Session:
    folder: Path
    items: dict[str, Item] = field(default_factory=dict[str, Item])  # the one used last is last
    used: float = field(default_factory=time.monotonic)
    heard: float = -math.inf  # when its page last said that it is open

    @property
    def works(self) -> bool:
        return any(item.tasks for item in self.items.values())

    @property
    def stays(self) -> bool:
        """Whether a person or a task is at it, so that it gives way to no other."""
        return self.works or time.monotonic() - self.heard < OPEN

    def add(self, name: str, compared: bool = False) -> tuple[str, Item]:
        """A new picture or result with its folder, after room was made for it."""
        key = self._new_folder()
        item = self.items[key] = Item(self.folder / key, name, compared)
        return key, item

    def add_batch(self) -> tuple[str, Batch]:
        """A new batch with its folder, after room was made for it."""
        key = self._new_folder()
        batch = self.items[key] = Batch(self.folder / key, "pictures")
        return key, batch

    def _new_folder(self) -> str:
        self._make_room()
        key = secrets.token_hex(8)
        (self.folder / key).mkdir()
        return key

    def add_mask(self, item: Item) -> Path:
        """Where a new mask of an item is to lie, after room was made for it."""
        self._make_room()
        while len(item.masks) >= MASKS:
            (item.folder / item.masks.pop(0)).unlink(missing_ok=True)
        return item.folder / secrets.token_hex(8)

    def _make_room(self) -> None:
        """Results of comparisons give way first, then what was not used for longest; never what a task works on, and never what
        was used last, of which the new one is made."""
        while len(self.items) >= KEPT or sum(item.bytes for item in self.items.values()) > ROOM:
            free = [key for key, item in list(self.items.items())[:-1] if not item.tasks]
            if not free:
                if len(self.items) >= KEPT:
                    raise Busy("as many pictures as are kept are at work already. Wait for one, and try again.")
                break
            self.remove(min(free, key=lambda key: not self.items[key].compared))  # the first of those, as `min` has it

    def remove(self, key: str) -> None:
        if (item := self.items.pop(key, None)) is not None:
            shutil.rmtree(item.folder, ignore_errors=True)

    def item(self, key: str) -> Item:
        if key not in self.items:
            raise Gone("this picture is no longer open. Open it again.")
        self.items[key] = self.items.pop(key)
        return self.items[key]


@dataclass
class Link:
    """What a link shows: a picture whose folder holds a `mask`, the methods compared, and whether they were measured."""

    item: Item
    methods: list[str]
    score: bool


class Sessions:
    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        self.lock = FileLock(self.folder / "lock", thread_local=False)  # which a studio that dies lets go, however it dies
        self.lock.acquire(blocking=False)
        _remove_orphans(self.folder)
        self.open: dict[str, Session] = {}
        self.links: dict[str, Link] = {}

    def create(self) -> tuple[str, Session]:
        """A new session; when there are too many, the one unused longest goes, of those at which nobody is."""
        while len(self.open) >= SESSIONS:
            free = [token for token, session in self.open.items() if not session.stays]
            if not free:
                raise Busy(f"{SESSIONS} pages are open already. Close one, or try again in a few minutes.")
            self.close(min(free, key=lambda token: self.open[token].used))
        token = secrets.token_urlsafe(24)
        session = self.open[token] = Session(self.new_folder())
        return token, session

    def new_folder(self) -> Path:
        folder = self.folder / secrets.token_hex(8)
        folder.mkdir()
        return folder

    def find(self, token: str) -> Session:
        if token not in self.open:
            raise Gone("this session is over. Reload the page.")
        self.open[token].used = time.monotonic()
        return self.open[token]

    def expire(self) -> None:
        """Close what was not used for an hour."""
        for token, session in list(self.open.items()):
            if not session.works and time.monotonic() - session.used > IDLE:
                self.close(token)

    def close(self, token: str) -> None:
        if (session := self.open.pop(token, None)) is not None:
            shutil.rmtree(session.folder, ignore_errors=True)

    def link(self, item: Item, mask: Path, methods: list[str], score: bool) -> str:
        """The token of a link, which needs nothing of the session that gave it; those given out first give way to it."""
        while len(self.links) >= LINKS or sum(link.item.bytes for link in self.links.values()) > ROOM:
            shutil.rmtree(self.links.pop(next(iter(self.links))).item.folder, ignore_errors=True)
        token, folder = secrets.token_urlsafe(24), self.new_folder()
        item.copy_into(folder)
        os.link(mask, folder / "mask")
        self.links[token] = Link(Item(folder, item.name, facts=item.facts), methods, score)
        return token

    def end(self) -> None:
        self.lock.release()
        shutil.rmtree(self.folder, ignore_errors=True)


def _remove_orphans(ours: Path) -> None:
    """Remove the folders of studios of this user that were killed: those whose lock nobody holds."""
    for folder in ours.parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, Timeout):  # it is another user's, has ended meanwhile, or is in use
            if folder != ours and folder.lstat().st_uid == ours.lstat().st_uid and (folder / "lock").is_file():
                with FileLock(folder / "lock", blocking=False):
                    pass
                shutil.rmtree(folder, ignore_errors=True)
