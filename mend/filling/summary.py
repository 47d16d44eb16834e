"""What became of the pictures of a folder: mend-fill.json, written and read."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from mend.data.assets import VERSION
from mend.images import write_bytes

SUMMARY = "mend-fill.json"
STATUSES = ("filled", "skipped", "failed")


@dataclass(frozen=True)
class Outcome:
    """What became of one picture. `kept` is where its hole was written as a mask; `coverage` is the share filled; `seconds` is
    the time in the filler alone, by `plan`."""

    status: Literal["filled", "skipped", "failed"]
    output: str | None = None
    mask: str | None = None
    kept: str | None = None
    coverage: float | None = None
    seconds: float | None = None
    plan: str | None = None
    notes: list[str] = field(default_factory=list[str])
    error: str | None = None


@dataclass
class Summary:
    """What became of each of so many `pictures`, by its name. `masks_kept` are the folders of kept masks, of earlier runs
    too, as seen from that of the summary."""

    model: str
    runtime: str
    pictures: int
    notes: list[str]
    masks_kept: list[str] = field(default_factory=list[str])
    files: dict[str, Outcome] = field(default_factory=dict[str, Outcome])

    def count(self, status: str) -> int:
        return sum(outcome.status == status for outcome in self.files.values())

    def write(self, folder: Path) -> None:
        record = {
            "mend": VERSION,  # which wrote it
            "version": 1,  # of the file's format
            "model": self.model,
            "runtime": self.runtime,
            "pictures": self.pictures,
            **{status: self.count(status) for status in STATUSES},
            "notes": self.notes,
            **({"masks_kept": self.masks_kept} if self.masks_kept else {}),
            "files": {
                name: {key: value for key, value in asdict(outcome).items() if value not in (None, [])}
                for name, outcome in sorted(self.files.items())
            },
        }
        write_bytes(folder / SUMMARY, json.dumps(record, indent=2, ensure_ascii=False).encode() + b"\n")


def read_summary(file: Path) -> Summary:
    """The summary in a file, of this release or an earlier one; an empty one where there is none, or something else."""
    try:
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        known = {key: record[key] for key in (f.name for f in fields(Summary)) if key in record}
        kept = known.get("masks_kept", [])
        kept = [kept] if isinstance(kept, str) else kept  # earlier versions wrote one folder
        known["masks_kept"] = list(map(str, kept))
        return Summary(**{**known, "files": {name: Outcome(**outcome) for name, outcome in record["files"].items()}})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Summary("", "", 0, [])
