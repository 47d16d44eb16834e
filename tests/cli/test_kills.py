"""A short form of benchmarks/kills.py: a command killed in the middle and run again."""

import importlib.util
import sys
from pathlib import Path

import pytest
from conftest import ROOT, needs_signals, smooth

from mend.images import write_image

spec = importlib.util.spec_from_file_location("kills", ROOT / "benchmarks" / "kills.py")
assert spec is not None
assert spec.loader is not None
kills = importlib.util.module_from_spec(spec)
sys.modules["kills"] = kills  # where its dataclass looks for its own names
spec.loader.exec_module(kills)


@needs_signals
def test_a_folder_that_is_killed_is_filled_by_the_same_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (found,) = kills.measure(count=1, seed=1, names=["fill a folder"])  # in the middle of its time
    assert found["fill a folder"]["bad"] == []
    assert found["fill a folder"]["same"] == 1


def test_what_is_damaged_missing_or_too_many_is_found(tmp_path: Path):
    write_image(tmp_path / "whole.png", smooth(20, 30, 1))
    expected = {name: kills.read(file) for name, file in kills.files_of(tmp_path).items()}
    assert kills.find_damaged(tmp_path) == []
    assert kills.find_others(tmp_path, expected) == []
    content = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "half.png").write_bytes(content[: len(content) // 2])
    (tmp_path / ".hidden.png.7.part").write_bytes(b"")
    assert [said.split(":")[0] for said in kills.find_damaged(tmp_path)] == ["half.png"]
    (tmp_path / "half.png").unlink()
    (tmp_path / "more.txt").write_bytes(b"")
    write_image(tmp_path / "whole.png", smooth(20, 30, 2))
    assert kills.find_others(tmp_path, expected) == ["more.txt", "whole.png"]
    assert kills.find_others(tmp_path, {"lost.png": b""}) == ["lost.png", "more.txt", "whole.png"]
