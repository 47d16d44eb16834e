import pytest

from mend import progress as module
from mend.progress import progress, sum_reports


def test_a_log_gets_lines_with_rate_and_time_left(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    with progress("masks", "images") as report:
        report(100, 400)  # done before this start
        for second in range(1, 31):
            clock[0] = float(second)
            report(100 + 10 * second, 400)
    assert capsys.readouterr().err.splitlines() == [
        "masks: 200/400 images, 10.0 images/s, 20 s left",
        "masks: 300/400 images, 10.0 images/s, 10 s left",
        "masks: 400/400 images, 10.0 images/s",
    ]


def test_parts_are_counted_as_one():
    seen: list[tuple[int, int]] = []
    count = sum_reports(lambda done, of: seen.append((done, of)), 3)
    for part, done in (("a", 4), ("a", 10), ("b", 5)):
        count(part, done, 10)
    assert seen == [(4, 30), (10, 30), (15, 30)]
