"""A short form of benchmarks/disks.py: a command on a disk that is full, or can only be read."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, smooth

from mend.images import write_image


def can_mount(folder: Path) -> bool:
    if sys.platform != "linux" or os.geteuid():
        return False
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True).returncode == 0
    return mounted and subprocess.run(["umount", folder]).returncode == 0


@pytest.fixture
def disks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import disks

    return disks


def test_a_full_disk_and_one_that_can_only_be_read_keep_what_is_there(disks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if not can_mount(tmp_path):
        pytest.skip("a disk in memory is mounted, which takes root on Linux")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TMPDIR", os.environ.get("TMPDIR", ""))  # which `measure` sets, put back at the end
    (found,) = disks.measure(count=1, names=["fill"])
    assert found["fill"]["bad"] == []
    assert found["fill"]["full"]["refused"] == found["fill"]["read-only"]["refused"] == 1


def test_what_a_command_does_wrong_on_a_full_disk_is_found(disks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole, old = smooth(20, 30, 1), smooth(20, 30, 2)
    write_image(tmp_path / "whole.png", whole)
    expected = {"whole.png": disks.read(tmp_path / "whole.png")}

    def judge(code: int, said: str, content: np.ndarray | bytes, *others: str) -> str:
        """What is said of a command that ends so, and leaves this in the place of an older picture, and these files."""
        write_image(tmp_path / "whole.png", old)

        def end(*_: object) -> tuple[int, str]:
            if isinstance(content, bytes):
                (tmp_path / "whole.png").write_bytes(content)
            else:
                write_image(tmp_path / "whole.png", content)
            for name in others:
                (tmp_path / name).write_bytes(b"")
            return code, said

        monkeypatch.setattr(disks, "finish", end)
        outcome, *_ = disks.judge(disks.Work("fill"), tmp_path, expected, ["whole.png"])
        for name in others:
            (tmp_path / name).unlink()
        return str(outcome)

    full = "mend: no space left on the disk for whole.png. Free some and run the command again."
    assert judge(1, full, old) == "refused"
    assert judge(0, "", whole) == "done"
    assert judge(0, "", old) == "lost"
    assert judge(1, full, b"half") == judge(1, full, smooth(20, 30, 3)) == "damaged"
    assert judge(2, "mend: a fault of mend itself", old) == judge(1, "mend: no idea", old) == "unclear"
    assert judge(1, f"Traceback …\n{full}", old) == "unclear"
    assert judge(1, full, old, ".whole.png.7.part") == "left"
