"""Loops as machine code, by numba, whose import takes half a second: import what uses them where it is used.

A loop is compiled at its first call, and the code is kept beside its file or in the user's cache, wherever numba may write;
NUMBA_CACHE_DIR names another folder.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from numba import njit

from mend.inpaint.onnx import count_cores

log = logging.getLogger(__name__)
GRAIN = 8192  # elements: what takes much longer than to start a thread

Loop = Callable[..., None]
"""Called with `start`, `stop` and its arguments; what it does with one element depends on neither."""

Function = TypeVar("Function", bound=Callable[..., Any])

_loops: list[Any] = []


def inlined(function: Function) -> Function:
    """A function as a part of the loops that call it."""
    return njit(function, inline="always")


def compiled(function: Loop) -> Loop:
    """A loop as machine code, which lets other threads run meanwhile."""
    # Sums may be taken in any order, and so in vectors; infinity stays what it is.
    options: dict[str, Any] = {"nogil": True, "fastmath": {"reassoc", "contract", "nsz"}}
    uncached = njit(**options)(function)
    try:
        cached = njit(cache=True, **options)(function)
    except RuntimeError:  # there is no folder that numba may write to
        _loops.append(uncached)
        return uncached
    _loops.append(cached)

    @wraps(function)
    def call(*arguments: Any) -> None:
        try:
            cached(*arguments)
        except Exception:  # the cache is full, damaged, or somebody else's; what is wrong with the loop will show again
            uncached(*arguments)

    return call


def run(loop: Loop, count: int, *arguments: Any, grain: int = GRAIN) -> None:
    """`loop` over `count` elements, divided among the cores, at least `grain` elements for each.

    The result has the same bits for any number of cores.
    """
    parts = min(count_cores(), max(1, count // grain))
    if parts == 1:
        loop(0, count, *arguments)
        return
    edges = [count * part // parts for part in range(parts + 1)]
    with ThreadPoolExecutor(parts) as pool:
        list(pool.map(lambda start, stop: loop(start, stop, *arguments), edges, edges[1:]))


def announce_compilation() -> None:
    """Logs why one has to wait, where loops imported so far are not machine code yet."""
    missing = [loop for loop in _loops if not loop.signatures and not _is_cached(loop)]
    if missing and missing[0].stats.cache_path is None:
        log.warning("compiling for texture: some seconds, at every start. Name a folder to keep it in by NUMBA_CACHE_DIR.")
    elif missing:
        log.warning("compiling for texture: some seconds, once on this computer.")


def _is_cached(loop: Any) -> bool:
    if loop.stats.cache_path is None:
        return False
    written = Path(loop.py_func.__code__.co_filename).stat().st_mtime
    code = Path(loop.stats.cache_path).glob(f"*.{loop.__name__}-*.nbi")
    return any(file.stat().st_mtime >= written for file in code)
