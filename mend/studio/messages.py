"""What a task says: how far it is, and in the end its facts, or what went wrong.

A process says it in lines of JSON, `Worker` reads these, and the page is told the same again.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """How far a task is.

    stage    what it is at, in words
    share    of this stage that is done, where that is known
    left     seconds until the end, where they are known
    preview  True as soon as the preview of what comes can be seen
    file     the `BatchFile` of a picture that is done
    """

    stage: str
    share: float | None = None
    left: float | None = None
    preview: bool | None = None
    file: Json | None = None


@dataclass(frozen=True)
class Done:
    """That a task has come to its end, with its facts."""

    done: Json


@dataclass(frozen=True)
class Failed:
    """What went wrong, in a sentence, and whether it is a `fault`: what was asked for was right."""

    error: str
    fault: bool = False


def read_message(line: bytes) -> Stage | Done | Failed:
    """What a process said in a line."""
    words = json.loads(line)
    kind = Stage if "stage" in words else Done if "done" in words else Failed
    return kind(**words)


def as_json(message: Any) -> Json:
    """A message, or the facts of a task, without what is not known."""
    words = message if isinstance(message, dict) else asdict(message)
    return {name: value for name, value in words.items() if value is not None}


# --- Facts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PictureFacts:
    """What is known of a picture that was read: its sides in pixels, its `kind` in words, and notes on how it was read."""

    width: int
    height: int
    kind: str
    notes: list[str]


@dataclass(frozen=True)
class FillFacts:
    """What is known of a picture that was filled.

    suffix      of the file
    seconds     that filling took
    coverage    the share of the picture that was filled
    notes       what to know about it, in sentences
    centre      of the hole, (x, y) in shares of the width and the height; for the page
    psnr, ssim  how close it is to the picture, in decibels and from 0 to 1, where that was asked for
    """

    suffix: str
    seconds: float
    coverage: float
    notes: list[str]
    centre: tuple[float, float] | None = None
    psnr: float | None = None
    ssim: float | None = None


@dataclass(frozen=True)
class BatchFile:
    """What became of a picture of a batch: its number, from 1, its name where it came from, and an error or notes."""

    number: int
    name: str
    error: str | None
    notes: list[str]


@dataclass(frozen=True)
class BatchFacts:
    """What became of the pictures of a batch, and how many were filled."""

    files: list[BatchFile]
    filled: int
