"""How many seconds a filling still takes, by a clock that the test turns."""

import pytest

from mend.studio.pace import Pace


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def watch(pace: Pace, clock: Clock, steps: list[tuple[float, float]]) -> list[float | None]:
    """What is said at (seconds, share)."""
    start, said = clock.now, []
    pace.begin()
    for seconds, share in steps:
        clock.now = start + seconds
        said.append(pace.left(share))
    pace.end()
    return said


def test_what_is_even_is_told_from_the_first_second_on():
    pace = Pace(clock := Clock())
    assert watch(pace, clock, [(0.5, 0.05), (2, 0.2), (10, 1.0)]) == [None, pytest.approx(8), pytest.approx(0)]


def test_what_slows_down_is_told_right_the_second_time():
    pace = Pace(clock := Clock())
    steps = [(1, 0.5), (4, 0.6), (20, 1.0)]  # the first half takes a second, the second nineteen
    assert watch(pace, clock, steps)[1] == pytest.approx(12)
    twice_as_slow = [(2 * seconds, share) for seconds, share in steps]
    assert watch(pace, clock, twice_as_slow) == [pytest.approx(38), pytest.approx(32), pytest.approx(0)]


def test_nothing_is_told_of_nothing():
    pace = Pace(clock := Clock())
    assert watch(pace, clock, [(3, 0.0)]) == [None]


def test_a_slow_start_is_no_slow_filling():
    pace = Pace(clock := Clock())
    assert watch(pace, clock, [(3, 0.01), (4, 0.11), (5, 0.21)]) == [None, pytest.approx(8.9), pytest.approx(7.9)]
