import json
import pickle
from pathlib import Path

import pytest
import torch

from mend.errors import InputError
from mend.inpaint.folder import read_config
from mend.models import MODELS, build
from mend.models.checkpoint import load_model, save_model


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    network = build("unet-simple", width=4)
    save_model(tmp_path / "model", network, "unet-simple", {"width": 4, "hole_channel": False}, {"epoch": 1})
    return tmp_path


@pytest.mark.parametrize("name", MODELS)
def test_a_model_folder_rebuilds_its_network(name: str, tmp_path: Path):
    options = {"width": 3} | ({"hole_channel": True} if name not in ("pyramid", "structure") else {})
    network = build(name, **options).eval()
    save_model(tmp_path, network, name, options, {})
    again, config = load_model(tmp_path)
    masked, hole = torch.rand(1, 3, 16, 16), torch.ones(1, 1, 16, 16)
    # To rounding: the loaded network is channels-last, which sums in another order.
    assert torch.allclose(again(masked, hole), network(masked, hole), atol=1e-5)
    assert not again.training
    assert config.model == name


def test_a_run_folder_is_as_good(saved: Path):
    assert read_config(saved) == read_config(saved / "model")


def test_a_truncated_file_is_refused(saved: Path):
    file = saved / "model" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"model\.safetensors is no safetensors file, or is truncated"):
        load_model(saved)


def test_a_pickle_in_disguise_is_never_run(saved: Path, tmp_path: Path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    (saved / "model" / "model.safetensors").write_bytes(pickle.dumps({"weights": Trap()}))
    with pytest.raises(InputError, match="pickles above all"):
        load_model(saved)
    torch.save({"weights": Trap()}, saved / "model" / "model.safetensors")
    with pytest.raises(InputError, match="pickles above all"):
        load_model(saved)
    assert not (tmp_path / "ran").exists()


def test_weights_of_another_network_are_refused(saved: Path):
    config = json.loads((saved / "model" / "config.json").read_text())
    (saved / "model" / "config.json").write_text(json.dumps({**config, "model": "unet-aspp"}))
    with pytest.raises(InputError, match=r"do not fit its config\.json \(unet-aspp\)"):
        load_model(saved)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path):
    network = build("unet", width=2)
    torch.nn.init.constant_(network.head.bias, float("nan"))
    save_model(tmp_path, network, "unet", {"width": 2}, {})
    with pytest.raises(InputError, match="not finite"):
        load_model(tmp_path)


def test_missing_and_foreign_files_are_named(saved: Path, tmp_path: Path):
    with pytest.raises(InputError, match="no such folder"):
        load_model(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"expected config\.json in it"):
        load_model(tmp_path / "empty")
    (saved / "model" / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors is missing"):
        load_model(saved)
    config = saved / "model" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "options": {"width": "a"}}))
    with pytest.raises(InputError, match="is no model configuration .*whole numbers"):
        read_config(saved)
    (saved / "model" / "config.json").write_text('{"version": 99, "model": 1, "options": 1, "trained": 1}')
    with pytest.raises(InputError, match="is of version 99"):
        read_config(saved)
    (saved / "model" / "config.json").write_text("[]")
    with pytest.raises(InputError, match="is no model configuration"):
        read_config(saved)
