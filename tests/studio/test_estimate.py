"""How many seconds a filling still takes, by a clock that the test turns."""

import math
from pathlib import Path

import pytest

from mend.studio import tasks
from mend.studio.estimate import TimeEstimate


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def watch(estimate: TimeEstimate, clock: Clock, steps: list[tuple[float, float]]) -> list[float | None]:
    """What is said at (seconds, share)."""
    start, said = clock.now, []
    estimate.begin()
    for seconds, share in steps:
        clock.now = start + seconds
        said.append(estimate.left(share))
    estimate.end()
    return said


def test_what_is_even_is_told_from_the_first_second_on():
    estimate = TimeEstimate(clock=(clock := Clock()))
    assert watch(estimate, clock, [(0.5, 0.05), (2, 0.2), (10, 1.0)]) == [None, pytest.approx(8), pytest.approx(0)]


def test_what_slows_down_is_told_right_the_second_time():
    estimate = TimeEstimate(clock=(clock := Clock()))
    steps = [(1, 0.5), (4, 0.6), (20, 1.0)]  # the first half takes a second, the second nineteen
    assert watch(estimate, clock, steps) == [None, pytest.approx(12), pytest.approx(0)]
    twice_as_slow = [(2 * seconds, share) for seconds, share in steps]
    assert watch(estimate, clock, twice_as_slow) == [pytest.approx(38), pytest.approx(32), pytest.approx(0)]


def test_what_comes_after_the_filling_is_told_by_what_came_before_it():
    estimate = TimeEstimate(after=2, clock=(clock := Clock()))
    steps = [(3, 0.0), (4, 0.25), (7, 1.0)]
    assert watch(estimate, clock, steps) == [None, pytest.approx(3 + 6), pytest.approx(6)]
    estimate.begin()
    start = clock.now
    for seconds, share in steps:
        clock.now = start + seconds
        estimate.left(share)
    clock.now = start + 19  # writing takes 12 seconds, four times as long as preparing
    estimate.end()
    twice_as_slow = [(2 * seconds, share) for seconds, share in steps]
    assert watch(estimate, clock, twice_as_slow) == [pytest.approx(8 + 24), pytest.approx(6 + 24), pytest.approx(24)]


def test_nothing_is_told_of_nothing():
    estimate = TimeEstimate(clock=(clock := Clock()))
    assert watch(estimate, clock, [(3, 0.0)]) == [None]


def test_a_slow_start_is_no_slow_filling():
    estimate = TimeEstimate(clock=(clock := Clock()))
    assert watch(estimate, clock, [(3, 0.01), (4, 0.11), (5, 0.21)]) == [None, pytest.approx(8.9), pytest.approx(7.9)]


def test_the_first_filling_is_told_as_an_earlier_session_ended_its_last(tmp_path: Path):
    steps = [(1, 0.5), (4, 0.6), (20, 1.0)]
    file = tmp_path / "cache" / "estimate.json"
    for expected in (12, 16):  # first by what is done, then by the last time
        estimate = TimeEstimate(file, clock=(clock := Clock()))
        assert watch(estimate, clock, steps)[1] == pytest.approx(expected)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1, 2]", b'[["half", 1]]', b"\xff", None])
def test_what_was_left_by_another_program_is_as_good_as_nothing(tmp_path: Path, content: bytes | None):
    file = tmp_path / "estimate.json"
    if content is None:
        file.mkdir()  # neither can be read nor written
    else:
        file.write_bytes(content)
    estimate = TimeEstimate(file, clock=(clock := Clock()))
    assert watch(estimate, clock, [(0.5, 0.05), (2, 0.2), (10, 1.0)])[1] == pytest.approx(8)


def test_pictures_of_about_one_size_share_what_was_learned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("MEND_CACHE", str(tmp_path))
    sizes = [int(math.log(megapixels * 1e6, 4)) for megapixels in (2.0, 2.1, 32)]
    one, alike, larger = (tasks._load_estimate("telea", size) for size in sizes)
    assert one is alike
    assert larger.file != one.file
