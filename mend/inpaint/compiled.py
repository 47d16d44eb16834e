"""Loops as machine code, by numba, whose import takes half a second: import what uses them where it is used.

A loop is compiled at its first call, and the code is kept beside its file or in the user's cache, wherever numba may write;
NUMBA_CACHE_DIR names another folder. A warning, by Python's logging, tells a person who has to wait for it why.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from typing import Any, TypeVar

from numba import njit
from numba.core import event

from mend.inpaint.onnx import count_cores

GRAIN = 8192  # elements: what takes much longer than to start a thread
log = logging.getLogger(__name__)

Loop = Callable[..., Any]

Function = TypeVar("Function", bound=Callable[..., Any])


def inline_loop(function: Function) -> Function:
    """A function as a part of the loops that call it."""
    return njit(function, inline="always")


def compile_loop(function: Loop) -> Loop:
    """A loop as machine code, which lets other threads run meanwhile."""
    # Sums may be taken in any order, and so in vectors; infinity stays what it is.
    jit = partial(njit, nogil=True, fastmath={"reassoc", "contract", "nsz"})
    uncached = jit()(function)
    try:
        cached = jit(cache=True)(function)
    except RuntimeError:  # there is no folder that numba may write to
        announcer.wait[function] = "at every start. Name a folder to keep it in by NUMBA_CACHE_DIR."
        return uncached
    announcer.wait[function] = "once on this computer."

    @wraps(function)
    def call(*arguments: Any) -> Any:
        try:
            return cached(*arguments)
        except Exception:  # the cache is full, damaged, or somebody else's; what is wrong with the loop will show again
            return uncached(*arguments)

    return call


def run(loop: Loop, count: int, *arguments: Any, grain: int = GRAIN) -> None:
    """`loop` over `count` elements, divided among the cores, at least `grain` elements for each.

    It is called with `start`, `stop` and the arguments. What it does with one element depends on neither, so the result has the
    same bits for any number of cores.
    """
    parts = min(count_cores(), max(1, count // grain))
    if parts == 1:
        loop(0, count, *arguments)
        return
    edges = [count * part // parts for part in range(parts + 1)]
    with ThreadPoolExecutor(parts) as pool:
        list(pool.map(lambda start, stop: loop(start, stop, *arguments), edges, edges[1:]))


class Announcer(event.Listener):
    """Says at the first loop that has to be compiled, and at no other, how often one has to `wait` for it."""

    def __init__(self) -> None:
        self.wait: dict[Loop, str] = {}
        self.done = False

    def on_start(self, event: event.Event) -> None:
        """numba compiles something."""
        wait = self.wait.get(event.data["dispatcher"].py_func)
        if wait and not self.done:
            log.warning("compiling: some seconds, %s", wait)
            self.done = True

    def on_end(self, event: event.Event) -> None:
        """It has."""


announcer = Announcer()
event.register("numba:compile", announcer)
