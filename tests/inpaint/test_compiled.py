"""Loops are compiled whatever becomes of numba's cache, and who has to wait for it is told."""

import linecache
import shutil
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numba import config
from numba.core.caching import CacheImpl

import mend.inpaint.compiled
from mend.inpaint.compiled import announcer, compile_loop, run

SOURCE = """
def double(start, stop, numbers):
    for i in range(start, stop):
        numbers[i] *= 2
"""


@pytest.fixture
def loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Callable[..., None]]]:
    """A loop in a file of its own, compiled as in another process each time that it is asked for, with a cache of its own."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    file = tmp_path / "loop.py"
    file.write_text(SOURCE)

    def make() -> Callable[..., None]:
        module = types.ModuleType("loop")
        exec(compile(SOURCE, str(file), "exec"), module.__dict__)
        announcer.done = False
        return compile_loop(module.double)

    yield make
    linecache.clearcache()


def doubles(loop: Callable[..., None]) -> bool:
    numbers = np.arange(5)
    run(loop, 5, numbers)
    return numbers.tolist() == [0, 2, 4, 6, 8]


def test_the_first_use_on_a_computer_is_announced_and_no_other(loop, caplog: pytest.LogCaptureFixture):
    first = loop()
    assert doubles(first)
    assert caplog.text.count("once on this computer") == 1
    run(first, 2, np.zeros(2, np.float32))  # compiled for another type
    assert caplog.text.count("once on this computer") == 1
    caplog.clear()
    assert doubles(loop())
    assert caplog.messages == []


def test_without_a_folder_to_write_to_it_works_and_says_what_to_do(loop, monkeypatch: pytest.MonkeyPatch, caplog):
    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    assert doubles(loop())
    assert "at every start. Name a folder to keep it in by NUMBA_CACHE_DIR." in caplog.text


def test_a_cache_that_can_be_written_no_more_does_no_harm(loop, tmp_path: Path):
    made = loop()
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("no folder")
    assert doubles(made)
    assert doubles(made)


@pytest.mark.parametrize("content", [b"", b"no pickle", b"\x80\x04."])
def test_a_damaged_cache_does_no_harm(loop, tmp_path: Path, content: bytes):
    assert doubles(loop())
    kept = [*tmp_path.glob("cache/*/*.nb?")]
    assert {file.suffix for file in kept} == {".nbi", ".nbc"}
    for file in kept:
        before = file.read_bytes()
        file.write_bytes(content)
        assert doubles(loop()), file.name
        file.write_bytes(before)


@pytest.mark.parametrize("count", [0, 1, 7, 100])
def test_work_is_divided_without_a_gap(count: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mend.inpaint.compiled, "count_cores", lambda: 3)
    seen: list[int] = []
    run(lambda start, stop: seen.extend(range(start, stop)), count, grain=3)
    assert sorted(seen) == list(range(count))
