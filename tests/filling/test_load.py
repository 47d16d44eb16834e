import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, smooth

from mend.filling import load as module
from mend.filling.load import onnx_suffices
from mend.images import write_image
from mend.inpaint.onnx import DEFAULT


def test_it_is_chosen_on_the_cpu_and_where_no_gpu_is_to_be_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(module, "GPUS", (str(tmp_path / "gpu"),))
    assert [onnx_suffices(device) for device in ("cpu", "auto", "cuda", "mps")] == [True, True, False, False]
    (tmp_path / "gpu").touch()
    assert [onnx_suffices(device) for device in ("cpu", "auto")] == [True, False]


@pytest.mark.parametrize(
    ("more", "chosen"),
    [
        ([], "ONNX Runtime on cpu"),
        (["--feather", "2", "--grow", "3"], "ONNX Runtime on cpu"),
        (["--texture"], "ONNX Runtime on cpu"),
        (["--seam"], "ONNX Runtime on cpu"),
        (["--model", str(DEFAULT)], "PyTorch on cpu"),
        (["--model", "telea"], "no network"),
    ],
)
def test_torch_is_imported_only_where_it_is_needed(tmp_path: Path, more: list[str], chosen: str):
    write_image(tmp_path / "p.png", smooth(40, 50, 0))
    write_image(tmp_path / "m.png", np.eye(40, 50, dtype=np.uint8)[..., None] * 255)
    words = ["fill", str(tmp_path / "p.png"), "--mask", str(tmp_path / "m.png"), "-o", str(tmp_path / "o.png"), *more]
    call = f"mend.cli.main({[*words, '--device', 'cpu']!r})"
    code = f"import sys, mend.cli\ntry:\n {call}\nexcept SystemExit:\n print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stderr.splitlines()[0].endswith(f"; {chosen}")
    assert done.stdout.splitlines()[-1] == str(chosen == "PyTorch on cpu")
