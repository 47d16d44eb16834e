"""A folder of pictures filled into another, by a plan of `mend.filling.pairing`.

Reading and writing run in threads while the inpainter works, and few pictures are in memory at a time, however many there are:
one, where memory is limited.
"""

import errno
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from mend import distributed
from mend.errors import InputError
from mend.filling.inpainter import Inpainter
from mend.filling.job import FilledWork, Job, Work, fill_job, load_finder, read_job, write_job
from mend.filling.options import Options
from mend.filling.pairing import Pair, Plan
from mend.filling.summary import SUMMARY, Outcome, Summary, read_summary
from mend.images import check_quality, has_quality, make_folder

AHEAD = 4  # pictures read ahead, and as many being written behind; also the number of threads

OnFile = Callable[[str, Outcome, int, int], None]


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
    ahead = 1 if alone else AHEAD
    before = _read_earlier(plan.output)
    kept = {*before.masks_kept, *([os.path.relpath(plan.keep_mask, plan.output)] if plan.keep_mask else [])}
    skipped = {pair.name: _skipped(pair, before) for pair in plan.pairs if pair.skip}
    summary = Summary(inpainter.name, inpainter.runtime, len(plan.pairs), plan.notes, sorted(kept))
    settled = 0
    mine = plan.pairs[distributed.RANK :: distributed.WORLD]
    # What is wrong with all is said before the first is filled.
    if options.object:
        load_finder(options.object, options.segmenter, options.device)
    if options.quality is not None:
        outputs = [pair.output for pair in plan.pairs]
        check_quality(next(filter(has_quality, outputs), outputs[0]), options.quality)
    if plan.keep_mask is not None:
        make_folder(plan.keep_mask)
    # With what earlier runs left: this one may be killed, and another process may read it only now.
    distributed.run_first(lambda: replace(summary, files=skipped).write(plan.output))

    def read(pair: Pair) -> Work:
        quality = options.quality if has_quality(pair.output) else None
        return read_job(Job(pair.photo, pair.mask, pair.output, pair.kept, options=replace(options, quality=quality)))

    def write(pair: Pair, work: FilledWork) -> None:
        result = write_job(work)
        # Here, in the thread, so that Ctrl-C cannot come between.
        summary.files[pair.name] = Outcome(
            "filled",
            output=str(pair.output),
            mask=_text(pair.mask),
            kept=_text(pair.kept),
            coverage=round(result.coverage, 4),
            seconds=round(result.seconds, 3),
            plan=result.plan,
            notes=result.notes,
        )

    def settle(pair: Pair, outcome: Outcome | BaseException | None = None) -> None:
        nonlocal settled
        if isinstance(outcome, OSError) and outcome.errno == errno.ENOSPC:
            raise outcome
        if isinstance(outcome, BaseException):
            said = str(outcome) if isinstance(outcome, (InputError, OSError)) else f"{type(outcome).__name__}: {outcome}"
            outcome = Outcome("failed", mask=_text(pair.mask), error=said)
        if outcome is not None:
            summary.files[pair.name] = outcome
        settled += 1  # not how many are in the summary: what is being written is there already
        if on_file is not None:
            on_file(pair.name, summary.files[pair.name], settled, len(mine))

    def fill(pair: Pair, future: Future[Work], pool: ThreadPoolExecutor) -> Future[None]:
        return pool.submit(write, pair, fill_job(future.result(), inpainter))

    def fill_all(pairs: deque[Pair], pool: ThreadPoolExecutor) -> None:
        reading: deque[tuple[Pair, Future[Work]]] = deque()
        writing: deque[tuple[Pair, Future[None]]] = deque()
        while pairs or reading or writing:
            while pairs and len(reading) < ahead and not (alone and writing):
                reading.append((pairs[0], pool.submit(read, pairs.popleft())))
            if len(writing) == ahead or not reading:
                pair, written = writing.popleft()
                settle(pair, written.exception())
                continue
            pair = reading[0][0]
            try:
                writing.append((pair, fill(*reading.popleft(), pool)))
            except Exception as error:
                settle(pair, error)

    # Where PyTorch is, a thread that starts while a small scale is filled would keep to one core: see
    # `mend.models.network.one_thread`.
    torch = sys.modules.get("torch")
    keep = partial(torch.set_num_threads, torch.get_num_threads()) if torch else None
    todo = deque[Pair]()
    for pair in mine:
        if pair.problem:
            settle(pair, InputError(pair.problem))
        elif pair.skip:
            settle(pair, skipped[pair.name])
        else:
            todo.append(pair)
    try:
        with ThreadPoolExecutor(ahead, initializer=keep) as pool:  # leaving it, by Ctrl-C too, waits for what is being written
            fill_all(todo, pool)
        for files in distributed.gather(summary.files):
            summary.files.update(files)
    except KeyboardInterrupt:
        # Of all processes; what an older run left is not counted.
        there = [pair for pair in plan.pairs if pair.output.exists()]
        done = sum(pair.skip or pair.output.stat().st_mtime >= begun - 1 for pair in there)
        raise KeyboardInterrupt(
            f"The same command goes on with `skip_existing=True`: {done} of {len(plan.pairs)} pictures are in {plan.output}."
        ) from None
    finally:
        if distributed.FIRST:
            summary.write(plan.output)
    return summary


def _read_earlier(output: Path) -> Summary:
    """What an earlier run left in the output folder: its kept masks are still ours, and it knows what is skipped now."""
    try:
        return read_summary(output / SUMMARY)
    except (InputError, OSError):
        return Summary("", "", 0, [])


def _skipped(pair: Pair, before: Summary) -> Outcome:
    """What is known of a picture that was filled earlier."""
    known = before.files.get(pair.name)
    if known is None or not known.output or Path(known.output).name != pair.output.name:
        return Outcome("skipped", str(pair.output), _text(pair.mask))
    return replace(known, status="skipped", output=str(pair.output), error=None)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
