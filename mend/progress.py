"""Progress of long work: a bar on a terminal; in a log, a line every ten seconds."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate

from mend.distributed import FIRST

Report = Callable[[int, int], None]
"""Called with how much is done, and of how much."""


def ignore(done: int, of: int) -> None:
    """The `Report` of work that nobody watches."""


@contextmanager
def progress(label: str, unit: str) -> Iterator[Report]:
    """A `Report` that shows `label`, the share done, the rate in `unit` a second and the time left, on standard error."""
    if not (sys.stderr.isatty() and FIRST):  # a terminal has room for one bar
        yield _report_lines(label, unit)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0:.{0 if (task.speed or 0) >= 10 else 1}f} {unit}/s", style="cyan")

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"))
    with Progress(*columns, Rate(), TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task: list[TaskID] = []

        def report(done: int, of: int) -> None:
            if not task:  # what was done before does not count into the rate
                task.append(bar.add_task(label, total=of, completed=done))
            bar.update(task[0], completed=done, total=of)

        yield report


def sum_reports(report: Report, parts: int) -> Callable[[str, int, int], None]:
    """One count over `parts` equal parts, from calls with the part's name, how much of it is done, and of how much."""
    counted: dict[str, int] = {}

    def count(part: str, done: int, of: int) -> None:
        counted[part] = done
        report(sum(counted.values()), parts * of)

    return count


def split_report(report: Report, shares: Sequence[int]) -> list[Report]:
    """A report for each part of one work: what it counts is scaled to its share, behind the shares of the parts before it."""
    of = sum(shares)

    def part(before: int, share: int) -> Report:
        return lambda done, n: report(before + round(share * done / max(n, 1)), of)

    return [part(*one) for one in zip(accumulate(shares, initial=0), shares, strict=False)]


def _report_lines(label: str, unit: str) -> Report:
    start: list[float] = []
    last = [0.0]

    def report(done: int, of: int) -> None:
        now = time.monotonic()
        if not start:
            start.extend((now, done))
            last[0] = now
        elif now - last[0] >= 10 or (done == of and now - start[0] >= 2):
            last[0] = now
            rate = (done - start[1]) / max(now - start[0], 1e-9)
            left = f", {(of - done) / rate:.0f} s left" if rate and done < of else ""
            print(f"{label}: {done}/{of} {unit}, {rate:.1f} {unit}/s{left}", file=sys.stderr, flush=True)

    return report
