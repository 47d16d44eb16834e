from pathlib import Path

import pytest

from mend.errors import InputError
from mend.evaluate.protocol import read_protocol
from mend.train.config import TrainConfig, read_recipe


def test_the_reference_recipe_is_as_published():
    config = TrainConfig("cifar10", "masks", **read_recipe("reference"))
    assert (config.epochs, config.loss, config.ema, config.schedule) == (15, {"mse": 1.0}, 0.0, "constant")
    assert read_recipe("seed") == read_recipe("reference"), "its name in version 0.1"


def test_the_network_that_comes_with_mend_learns_from_the_hole_alone_without_the_pictures_set_aside():
    config = TrainConfig("photos", "strokes", **read_recipe("structure"))
    assert config.model == "structure"
    assert config.set_aside == 100
    assert all(name.startswith("hole_") for name in config.loss)


def test_unknown_recipes_and_keys_offer_the_nearest(tmp_path: Path):
    with pytest.raises(InputError, match="unknown recipe 'referense'. Did you mean 'reference'"):
        read_recipe("referense")
    (tmp_path / "r.toml").write_text("epoch = 3\n")
    with pytest.raises(InputError, match=r"unknown key 'epoch' in r\.toml\. Did you mean 'epochs'"):
        read_recipe(tmp_path / "r.toml")
    (tmp_path / "r.toml").write_text("epochs = = 3\n")
    with pytest.raises(InputError, match="is no TOML"):
        read_recipe(tmp_path / "r.toml")
    with pytest.raises(InputError, match="unknown protocol 'cifar10-objects-v1'. Did you mean 'cifar10-object-v1'"):
        read_protocol("cifar10-objects-v1")


def test_values_that_no_run_can_have():
    for bad, said in (
        ({"width": 0}, "`width` is 0"),
        ({"lr": -1.0}, "`lr` is -1"),
        ({"ema": 1.0}, "`ema` is 1"),
        ({"grow": 1.0}, "`grow` is 1"),
        ({"grow": -0.1}, "`grow` is -0.1"),
        ({"set_aside": -1}, "`set_aside` is -1"),
        ({"ramp": -1}, "`ramp` is -1"),
        ({"size": 32, "crop": 32}, "`size` and `crop` exclude each other"),
        ({"precision": "fp17"}, "unknown precision 'fp17'. Did you mean 'fp16'"),
        ({"schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"loss": {}}, "one of them above 0"),
        ({"loss": {"mse": 0.0}}, "one of them above 0"),
        ({"loss": {"mse": float("inf")}}, "expected weights of 0 or more"),
    ):
        with pytest.raises(InputError, match=said):
            TrainConfig("a", "b", **bad)
