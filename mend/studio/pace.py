"""How many seconds a filling still takes."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mend.errors import InputError
from mend.images import write_bytes

SURE = 1.0  # seconds that have to pass before anything is said


class Pace:
    """Tells the seconds left from the share done.

    What is still to come is taken to need as long as it did the last time, in proportion to what is done; before there was a
    last time, as long as what is done. The last time may have been in an earlier session, which left it in a `file`.
    """

    def __init__(self, file: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.file, self.clock = file, clock
        self.start = clock()
        self.times: dict[float, float] = {}  # seconds from the start by the share then done
        self.last: list[tuple[float, float]] = []  # shares of the last filling, and the parts of its time in which they came
        if file is not None:
            with suppress(OSError, ValueError, TypeError):  # there is none, or it is another program's
                self.last = [(float(share), float(part)) for share, part in json.loads(file.read_bytes())]

    def begin(self) -> None:
        self.start, self.times = self.clock(), {}

    def left(self, share: float) -> float | None:
        """Seconds until a filling ends of which this share is done; None as long as nothing is known."""
        passed = self.times[share] = self.clock() - self.start
        if self.last:
            part = self._part(share)
            return passed * (1 - part) / part if part and passed >= SURE else None
        begun, first = next(iter(self.times.items()))  # what comes before the first share says nothing of the others
        return (passed - first) * (1 - share) / (share - begun) if share > begun and passed >= SURE else None

    def end(self) -> None:
        total = self.clock() - self.start
        if total >= SURE and self.times:  # of less there is nothing to learn
            self.last = [(share, passed / total) for share, passed in sorted(self.times.items())]
            if self.file is not None:
                with suppress(InputError, OSError):  # a cache that cannot be written to
                    write_bytes(self.file, json.dumps(self.last).encode())

    def _part(self, share: float) -> float:
        """The part of the time that has passed when this share is done."""
        before = (0.0, 0.0)
        for after in [*self.last, (1.0, 1.0)]:
            if share <= after[0]:
                across = (share - before[0]) / (after[0] - before[0]) if after[0] > before[0] else 1.0
                return before[1] + across * (after[1] - before[1])
            before = after
        return 1.0
