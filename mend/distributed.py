"""One job in several processes, as `torchrun` starts them: which one this is, what its share is, and which one prints.

A process that was started by itself is the first of one. What the processes tell each other here goes over Gloo, GPUs or not:
it is small. Training's gradients go over NCCL where there are GPUs.
"""

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import chain
from typing import Any, TypeVar

from mend.errors import InputError

T = TypeVar("T")
R = TypeVar("R")

WORLD = int(os.environ.get("WORLD_SIZE", 1))
RANK = int(os.environ.get("RANK", 0)) if WORLD > 1 else 0
LOCAL = int(os.environ.get("LOCAL_RANK", 0)) if WORLD > 1 else 0
LOCAL_WORLD = int(os.environ.get("LOCAL_WORLD_SIZE", WORLD)) if WORLD > 1 else 1
TIMEOUT = timedelta(days=7)  # a process may work for hours while others wait for it; `_watch` notices one that is gone
HEARTBEAT = 10.0  # seconds between two heartbeats of a process
MISSED = 30  # heartbeats of another process that may be missed before it counts as dead
FIRST = RANK == 0
"""Whether this is the process that prints and writes for all."""

_ended: list[int] = []


def distribute(items: Sequence[T], work: Callable[[T], R]) -> Iterator[R]:
    """`work` done on every item, each by one process in turn: its results, in the order of the items, for the first process.

    The others get nothing, but have to iterate as well.
    """
    for i in range(0, len(items), WORLD):
        yield from chain.from_iterable(gather([work(item) for item in items[i + RANK : i + RANK + 1]]))


def gather(value: T) -> list[T]:
    """The value that each process has, in the order of their ranks, for the first process; for the others nothing."""
    if WORLD == 1:
        return [value]
    values: list[Any] | None = [None] * WORLD if FIRST else None
    _join_group().gather_object(value, values)
    return values or []


def broadcast(value: T) -> T:
    """The value that the first process has, for all of them; they wait for it."""
    if WORLD == 1:
        return value
    values = [value]
    _join_group().broadcast_object_list(values)
    return values[0]


def run_first(work: Callable[[], T]) -> T | None:
    """What the first process makes, for it alone. Where it cannot, InputError or OSError, none of them goes on."""
    made, problem = None, None
    if FIRST:
        try:
            made = work()
        except (InputError, OSError) as error:
            problem = error
    problem = broadcast(problem)
    if problem is not None:
        raise problem
    return made


def _join_group() -> Any:
    import torch.distributed as group

    if not group.is_initialized():
        import torch

        # Training takes over the group that it finds.
        on_gpus = torch.cuda.is_available() and group.is_nccl_available()
        group.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo", timeout=TIMEOUT)
        atexit.register(group.destroy_process_group)  # its threads would abort the process that ends
        _watch()
    return group


# --- How it ends -----------------------------------------------------------------------------------------------------


def handle_signals() -> None:
    """End by SIGTERM as by Ctrl-C, and by the first of them: `torchrun` sends either to those that are left, and may do so
    twice."""
    if WORLD > 1:
        signal.signal(signal.SIGINT, _stop)
        signal.signal(signal.SIGTERM, _stop)


def _stop(number: int, frame: object) -> None:
    if not _ended:
        _ended.append(number)
        raise KeyboardInterrupt


def describe_stop() -> str:
    """What to add to "stopped" where it was by SIGTERM."""
    return ": another process of this job was ended, or the whole job" if signal.SIGTERM in _ended else ""


def is_from_lost_process(error: Exception) -> bool:
    """Whether this error says no more than that another process of the job is gone, or that the job was told to end."""
    gone = ("connection closed by peer", "reset by peer", "broken pipe", "timed out")
    return WORLD > 1 and (
        bool(_ended) or (isinstance(error, RuntimeError) and any(said in str(error).lower() for said in gone))
    )


def claim_last_word() -> bool:
    """Whether this process is the first of the job to say why it ends: one says it for all, the one that knows it first."""
    if WORLD == 1:
        return True
    _ended.append(0)
    try:
        return _add(_open_store(), "ended") == 1
    except (KeyError, RuntimeError):
        return True


def _watch() -> None:
    """Send heartbeats, and end this process when those of the next one stop: `torchrun` then ends all others.

    A machine that loses its power closes no connection, and Gloo would wait for it as for one that works. Time is counted in
    own beats, so that a job that was suspended as a whole goes on.
    """
    other, leaving = (RANK + 1) % WORLD, threading.Event()

    def beat() -> None:
        store, seen, silent = None, 0, 0
        while not leaving.wait(HEARTBEAT):
            try:
                store = store or _open_store()
                _add(store, f"beats of {RANK}")
                beats = _add(store, f"beats of {other}", 0)
            except RuntimeError:  # once more; where the store itself is gone `torchrun` ends the job
                store = None
                continue
            # What has never been heard of is still starting.
            seen, silent = beats, 0 if beats != seen or beats <= 0 else silent + 1
            if silent == MISSED:
                _give_up_on(other)
        with suppress(RuntimeError):
            _add(store or _open_store(), f"beats of {RANK}", -(2**60))  # its part is done: nobody waits for it

    def leave() -> None:
        leaving.set()
        thread.join(timeout=5)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    atexit.register(leave)


def _give_up_on(other: int) -> None:
    if claim_last_word():
        print(
            f"mend: process {other} of this job has not answered for {HEARTBEAT * MISSED / 60:.0f} minutes; its machine may be "
            "down. Run the command again on the machines that are up: what was finished is kept.",
            file=sys.stderr,
            flush=True,
        )
    os._exit(1)  # the main thread waits in Gloo and hears nothing


def _open_store() -> Any:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    where = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return TCPStore(*where, is_master=False, timeout=timedelta(seconds=5), wait_for_workers=False)


def _add(store: Any, what: str, by: int = 1) -> int:
    """Count something of this attempt at the job up, for all processes; the count."""
    return int(store.add(f"mend {what} {os.environ.get('TORCHELASTIC_RESTART_COUNT')}", by))
