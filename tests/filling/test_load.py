import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, smooth

from mend.errors import InputError
from mend.filling import load as module
from mend.filling.load import can_use_onnx, load_filler
from mend.filling.options import Options
from mend.images import write_image
from mend.inpaint.onnx import DEFAULT


def test_it_is_chosen_on_the_cpu_and_where_no_gpu_is_to_be_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(module, "GPUS", (str(tmp_path / "gpu"),))
    assert [can_use_onnx(device) for device in ("cpu", "auto", "cuda", "mps")] == [True, True, False, False]
    (tmp_path / "gpu").touch()
    assert [can_use_onnx(device) for device in ("cpu", "auto")] == [True, False]


@pytest.mark.parametrize(
    ("more", "chosen"),
    [
        ([], "ONNX Runtime on cpu"),
        (["--feather", "2", "--grow", "3"], "ONNX Runtime on cpu"),
        (["--smooth"], "ONNX Runtime on cpu"),
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


def test_a_name_that_is_none_offers_the_nearest_without_pytorch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "mend.models.filler", None)  # an import of it fails
    for name, nearest in (("lamma", "lama"), ("telae", "telea")):
        with pytest.raises(InputError, match=f"there is no model in {name}: no such folder. Did you mean '{nearest}'"):
            load_filler(name)


def test_options_that_do_not_fit_a_network_of_other_people_are_refused():
    with pytest.raises(InputError, match="run on the CPU; the `device` is cuda"):
        load_filler("lama", "cuda")


@pytest.mark.parametrize("model", ["telea", None, str(DEFAULT)])
def test_a_device_that_is_not_there_is_refused_for_every_model(model: str | None):
    with pytest.raises(InputError, match='`device="cud"` is not to be had here.*Use auto, cpu, cuda or mps'):
        load_filler(model, "cud")


@pytest.mark.parametrize("model", [None, "lama"])
def test_a_seam_is_refused_where_there_is_none(model: str | None):
    with pytest.raises(InputError, match="does not. Leave `seam` out"):
        load_filler(model, seam=True)


def test_an_exported_run_is_filled_without_pytorch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """`mend export RUN -o RUN/model/model.onnx` makes it so."""
    shutil.copytree(DEFAULT, tmp_path / "run" / "model")
    masked, hole = np.zeros((1, 3, 20, 20), np.float32), np.zeros((1, 1, 20, 20), np.float32)
    hole[..., 5:9, 5:9] = 1
    expected = load_filler(tmp_path / "run")(masked + 0.4 * (1 - hole), hole)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    filler = load_filler(tmp_path / "run")
    assert filler.runtime == "ONNX Runtime on cpu"
    assert np.abs(filler(masked + 0.4 * (1 - hole), hole) - expected).max() < 1e-5


def test_the_network_that_comes_with_mend_has_texture_unless_smooth_and_others_where_it_is_asked():
    fillers = [load_filler(), load_filler(smooth=True), load_filler("telea"), load_filler("telea", texture=True)]
    assert [filler.name for filler in fillers] == ["structure, texture", "structure", "telea", "telea, texture"]


@pytest.mark.parametrize(
    ("more", "why"), [({"texture": True}, "Leave one"), ({"model": "telea"}, "for the network that comes with mend")]
)
def test_smooth_beside_what_it_does_not_fit(more: dict[str, Any], why: str):
    with pytest.raises(InputError, match=why):
        Options(smooth=True, **more).check()


def test_a_device_is_asked_for_in_vain_without_pytorch(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    for device in ("cuda", "nonsense"):
        with pytest.raises(
            InputError, match=f"`device` is '{device}', and without PyTorch there is only the CPU.* '.\\[train\\]'"
        ):
            load_filler(device=device)
    assert load_filler(device="cpu").runtime
