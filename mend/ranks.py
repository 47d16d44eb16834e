"""One job in several processes, as `torchrun` starts them: which one this is, what is its part, and who speaks for all.

A process that was started by itself is the first of one. What the processes tell each other goes over Gloo, GPUs or not: it is
small. Training has a group of its own, by Lightning.
"""

import atexit
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import chain
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

WORLD = int(os.environ.get("WORLD_SIZE", 1))
RANK = int(os.environ.get("RANK", 0)) if WORLD > 1 else 0
LOCAL = int(os.environ.get("LOCAL_RANK", 0)) if WORLD > 1 else 0
LOCAL_WORLD = int(os.environ.get("LOCAL_WORLD_SIZE", WORLD)) if WORLD > 1 else 1
PATIENCE = timedelta(days=7)  # one may well work for hours while others wait for it; one that dies is noticed at once
FIRST = RANK == 0
"""Whether this is the process that prints and writes for all."""

_ended: list[int] = []


def dealt(items: Sequence[T], work: Callable[[T], R]) -> Iterator[R]:
    """`work` done on every item, each by one process in turn: its results, in the order of the items, for the first process.

    The others get nothing, but have to iterate as well.
    """
    for i in range(0, len(items), WORLD):
        yield from chain.from_iterable(gathered([work(item) for item in items[i + RANK : i + RANK + 1]]))


def gathered(value: T) -> list[T]:
    """The value that each process has, in the order of their ranks, for the first process; for the others nothing."""
    if WORLD == 1:
        return [value]
    values: list[Any] | None = [None] * WORLD if FIRST else None
    _group().gather_object(value, values)
    return values or []


def agreed(value: T) -> T:
    """The value that the first process has, for all of them; they wait for it."""
    if WORLD == 1:
        return value
    values = [value]
    _group().broadcast_object_list(values)
    return values[0]


def _group() -> Any:
    import torch.distributed as group

    if not group.is_initialized():
        group.init_process_group("gloo", timeout=PATIENCE)
        atexit.register(group.destroy_process_group)  # its threads would abort the process that ends
    return group


# --- How it ends -----------------------------------------------------------------------------------------------------


def heed() -> None:
    """End by SIGTERM as by Ctrl-C, and by the first of them: `torchrun` sends either to those that are left, and may do so
    twice."""
    if WORLD > 1:
        signal.signal(signal.SIGINT, _end)
        signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: object) -> None:
    if not _ended:
        _ended.append(number)
        raise KeyboardInterrupt


def told() -> str:
    """What to add to "stopped" where it was by SIGTERM."""
    return ": another process of this job was ended, or the whole job" if signal.SIGTERM in _ended else ""


def lost_another(error: Exception) -> bool:
    """Whether this error says no more than that another process of the job is gone, or that the job was told to end."""
    gone = ("connection closed by peer", "reset by peer", "broken pipe", "timed out")
    return WORLD > 1 and (
        bool(_ended) or (isinstance(error, RuntimeError) and any(said in str(error).lower() for said in gone))
    )


def speaks() -> bool:
    """Whether this process is the first of the job to say why it ends: one says it for all, the one that knows it first."""
    if WORLD == 1:
        return True
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    _ended.append(0)
    try:
        where = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(*where, is_master=False, timeout=timedelta(seconds=5), wait_for_workers=False)
        return store.add(f"mend ended {os.environ.get('TORCHELASTIC_RESTART_COUNT')}", 1) == 1
    except (KeyError, RuntimeError):
        return True
