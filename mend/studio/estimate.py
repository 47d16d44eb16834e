"""How many seconds a filling still takes."""

import json
import time
from bisect import bisect_left
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mend.errors import InputError
from mend.images import write_bytes

SURE = 1.0  # seconds that have to pass before anything is said
Times = list[tuple[float, float]]  # shares done, and the seconds from the start after which each was


class TimeEstimate:
    """Estimates how many seconds a filling still takes, from the share that is done.

    `begin` starts the clock, `end` stops it; in between, `left` is asked whenever a further share is done. So a filling has
    three parts: until `left` is asked first it is prepared, until `left` is asked last it is filled, and until `end` it is
    written. The last filling says how long each part takes:

    - what is still to be filled takes as long as it took then, times how much slower or faster filling goes now. Without a
      last filling, each share takes as long as those that are done.
    - writing takes as long as preparing took now, times their ratio then. Without a last filling, that is `after`.

    The last filling is kept in `file`, if one is given, for the next session.
    """

    def __init__(self, file: Path | None = None, after: float = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.file, self.after, self.clock = file, after, clock
        self.start = clock()
        self.times: Times = []
        self.last: Times = []  # the last filling; with its end, of share 1
        if file is not None:
            with suppress(OSError, ValueError, TypeError):  # there is none, or it is another program's
                self.last = [(float(share), float(seconds)) for share, seconds in json.loads(file.read_bytes())]

    def begin(self) -> None:
        self.start, self.times = self.clock(), []

    def left(self, share: float) -> float | None:
        """Seconds until a filling ends of which this share is done; None as long as nothing is known."""
        passed = self.clock() - self.start
        self.times.append((share, passed))
        if passed < SURE:
            return None
        first, begun = self.times[0]
        if len(self.last) < 2:
            filling = (passed - begun) * (1 - share) / (share - first) if share > first else None
            return None if filling is None else filling + self.after * begun
        (_, prepared), (_, filled), (_, ended) = self.last[0], self.last[-2], self.last[-1]
        slower = begun / prepared if prepared else 1.0
        then = self._look_up(share)
        filling = (passed - begun) * (filled - then) / (then - prepared) if then > prepared else slower * (filled - prepared)
        return filling + slower * (ended - filled)

    def end(self) -> None:
        total = self.clock() - self.start
        if total >= SURE and self.times:  # of less there is nothing to learn
            self.last = [*self.times, (1.0, total)]
            if self.file is not None:
                with suppress(InputError, OSError):  # a cache that cannot be written to
                    write_bytes(self.file, json.dumps(self.last).encode())

    def _look_up(self, share: float) -> float:
        """The seconds after which this share was filled the last time."""
        told = self.last[:-1]
        i = bisect_left(told, share, key=lambda one: one[0])
        if i == 0 or i == len(told):
            return told[min(i, len(told) - 1)][1]
        (before, earlier), (after, later) = told[i - 1], told[i]
        return earlier + (later - earlier) * (share - before) / (after - before)
