from pathlib import Path

import numpy as np
import pytest

from mend.cli import demo
from mend.images import read_image


@pytest.mark.slow
def test_the_demo_runs_to_its_end_and_its_bar_tells_the_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """The demo itself, on fewer pictures, one epoch and a narrower network."""
    monkeypatch.setattr(demo, "EPOCHS", 1)
    monkeypatch.setattr(demo, "WIDTH", 2)
    monkeypatch.setenv("MEND_CACHE", str(tmp_path / "cache"))  # other tests want all the cuts
    monkeypatch.setattr("mend.data.photos.STEPS", {64: 128, 128: 128})
    seen: list[int] = []

    class Bar:
        def __enter__(self):
            return lambda done, of: seen.append(done)

        def __exit__(self, *args: object):
            return None

    monkeypatch.setattr(demo, "progress", lambda *args: Bar())
    demo.run(tmp_path, open_report=False)
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert seen[-1] == 100
    out = capsys.readouterr().out
    assert "report.html" in out
    assert (tmp_path / "report" / "report.html").exists()
    photo, mask, filled = (read_image(tmp_path / "large" / f"{n}.png").pixels for n in ("photo", "mask", "filled"))
    outside = mask[..., 0] == 0
    assert np.array_equal(photo[outside], filled[outside])
    assert not np.array_equal(photo[~outside], filled[~outside])
    assert 0.05 < 1 - outside.mean() < 0.3
