"""A folder of pictures filled into another, by a plan of `mend.filling.pairing`.

Reading and writing run in threads while the inpainter works, and few pictures are in memory at a time, however many there are:
one, where memory is limited.
"""

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TypeVar

from mend import distributed
from mend.errors import InputError, is_disk_full
from mend.filling.inpainter import Inpainter
from mend.filling.job import FilledWork, Job, Result, Work, fill_job, load_finder, read_job, write_job
from mend.filling.options import Options
from mend.filling.pairing import Pair, Plan
from mend.filling.summary import SUMMARY, Outcome, Summary, read_summary
from mend.images import check_quality, has_quality, make_folder

AHEAD = 4  # pictures read ahead, and as many being written behind; also the number of threads

OnFile = Callable[[str, Outcome, int, int], None]
Item = TypeVar("Item")
Read = TypeVar("Read")
Filled = TypeVar("Filled")


def fill_folder(plan: Plan, options: Options, inpainter: Inpainter, on_file: OnFile | None = None) -> Summary:
    """Fill the pictures of a plan. What goes wrong with one is its outcome; the others are filled all the same.

    `on_file(name, outcome, done, of)` is called after each picture. The summary is written as well, to mend-fill.json in the
    output folder. The processes of a job (see `mend.distributed`) share the pictures; the first has the whole summary, each
    other one that of its share.

    Files are written whole or not at all: after Ctrl-C, which goes on as a KeyboardInterrupt that says how far it got, those
    that are there are right. A full disk raises OSError at once.
    """
    begun = time.time()
    alone = options.most_memory is not None  # then one picture at a time is in memory: a plan counts no more
    _check_for_all(plan, options)
    before = read_summary(plan.output / SUMMARY)
    kept = {*before.masks_kept, *([os.path.relpath(plan.keep_mask, plan.output)] if plan.keep_mask else [])}
    skipped = {pair.name: _describe_skipped(pair, before) for pair in plan.pairs if pair.skip}
    summary = Summary(inpainter.name, inpainter.runtime, len(plan.pairs), plan.notes, sorted(kept))
    # With what earlier runs left: this one may be killed, and another process may read it only now.
    distributed.run_first(lambda: replace(summary, files=skipped).write(plan.output))

    def read(pair: Pair) -> Work:
        return read_job(_make_job(pair, options))

    def write(pair: Pair, work: FilledWork) -> None:
        # In the thread that writes, so that Ctrl-C cannot come between.
        summary.files[pair.name] = _describe_filled(pair, write_job(work))

    mine = plan.pairs[distributed.RANK :: distributed.WORLD]
    summary.files.update((pair.name, skipped[pair.name]) for pair in mine if pair.skip)
    settled = [(pair, InputError(pair.problem) if pair.problem else None) for pair in mine if pair.problem or pair.skip]
    todo = [pair for pair in mine if not (pair.problem or pair.skip)]
    try:
        with closing(run_pipeline(todo, read, partial(fill_job, inpainter=inpainter), write, AHEAD, alone)) as filled:
            done = 0  # not how many are in the summary: what is being written is there already
            for pair, error in chain(settled, filled):
                if is_disk_full(error):
                    raise error
                if error is not None:
                    summary.files[pair.name] = _describe_failed(pair, error)
                del error  # it knows where it was raised, and so the picture
                done += 1  # noqa: SIM113 (enumerate would hold on to the error)
                if on_file is not None:
                    on_file(pair.name, summary.files[pair.name], done, len(mine))
        for files in distributed.gather(summary.files):
            summary.files.update(files)
    except KeyboardInterrupt:
        # Of all processes; what an older run left is not counted.
        there = [pair for pair in plan.pairs if pair.output.exists()]
        count = sum(pair.skip or pair.output.stat().st_mtime >= begun - 1 for pair in there)
        raise KeyboardInterrupt(
            f"The same command goes on with `skip_existing=True`: {count} of {len(plan.pairs)} pictures are in {plan.output}."
        ) from None
    finally:
        if distributed.FIRST:
            summary.write(plan.output)
    return summary


def run_pipeline(
    items: Iterable[Item],
    read: Callable[[Item], Read],
    fill: Callable[[Read], Filled],
    write: Callable[[Item, Filled], None],
    ahead: int,
    alone: bool,
) -> Generator[tuple[Item, BaseException | None]]:
    """Take items through three steps, `read` and `write` in threads and `fill` here; yield each with its error, if any.

    While one is filled, up to `ahead` are read ahead, and as many are being written; if `alone`, no other is in memory. An
    error holds what failed: let go of it before you ask for the next. Closing the generator waits for what is being written.
    """
    todo = deque(items)
    reading: deque[tuple[Item, Future[Read]]] = deque()
    writing: deque[tuple[Item, Future[None]]] = deque()
    ahead = 1 if alone else ahead

    def fill_next() -> Future[None]:
        # A function of its own, whose frame ends, and without a name for what was read or failed: nothing goes on holding it.
        return pool.submit(write, reading[0][0], fill(reading.popleft()[1].result()))

    # Where PyTorch is, a thread that starts while a small scale is filled would keep to one core: see
    # `mend.models.network.limit_threads`.
    torch = sys.modules.get("torch")
    keep = partial(torch.set_num_threads, torch.get_num_threads()) if torch else None
    with ThreadPoolExecutor(ahead, initializer=keep) as pool:  # leaving it, by Ctrl-C too, waits for what is being written
        while todo or reading or writing:
            while todo and len(reading) < ahead and not (alone and writing):
                reading.append((todo[0], pool.submit(read, todo.popleft())))
            if len(writing) == ahead or not reading:
                yield writing[0][0], writing.popleft()[1].exception()
                continue
            item = reading[0][0]
            try:
                writing.append((item, fill_next()))
            except Exception as error:
                yield item, error


def _check_for_all(plan: Plan, options: Options) -> None:
    """What is wrong with all pictures is said before the first is filled."""
    if options.object:
        load_finder(options.object, options.segmenter, options.device)
    if options.quality is not None:
        outputs = [pair.output for pair in plan.pairs]
        check_quality(next(filter(has_quality, outputs), outputs[0]), options.quality)
    if plan.keep_mask is not None:
        make_folder(plan.keep_mask)


def _make_job(pair: Pair, options: Options) -> Job:
    quality = options.quality if has_quality(pair.output) else None
    return Job(pair.photo, pair.mask, pair.output, pair.kept, pair.photo_name, replace(options, quality=quality))


# --- Outcomes --------------------------------------------------------------------------------------------------------


def _describe_filled(pair: Pair, result: Result) -> Outcome:
    return Outcome(
        "filled",
        output=str(pair.output),
        mask=_to_text(pair.mask),
        kept=_to_text(pair.kept),
        coverage=round(result.coverage, 4),
        seconds=round(result.seconds, 3),
        plan=result.plan,
        notes=result.notes,
    )


def _describe_failed(pair: Pair, error: BaseException) -> Outcome:
    said = str(error) if isinstance(error, (InputError, OSError)) else f"{type(error).__name__}: {error}"
    return Outcome("failed", mask=_to_text(pair.mask), error=said)


def _describe_skipped(pair: Pair, before: Summary) -> Outcome:
    """What is known of a picture that was filled earlier."""
    known = before.files.get(pair.name)
    if known is None or not known.output or Path(known.output).name != pair.output.name:
        return Outcome("skipped", str(pair.output), _to_text(pair.mask))
    return replace(known, status="skipped", output=str(pair.output), error=None)


def _to_text(path: Path | None) -> str | None:
    return None if path is None else str(path)
