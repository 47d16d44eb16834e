from pathlib import Path

import pytest

from mend.errors import InputError
from mend.protocol import read_protocol
from mend.recipes import TrainConfig, read_recipe


def test_the_seed_recipe_is_the_seed():
    config = TrainConfig("cifar10", "masks", **read_recipe("seed"))
    assert (config.epochs, config.loss, config.ema, config.schedule) == (15, {"mse": 1.0}, 0.0, "constant")


def test_the_faithful_recipe_goes_on_from_the_sharp_one_without_the_pictures_set_aside():
    faithful, sharp = (TrainConfig("photos", "strokes", **read_recipe(name)) for name in ("structure", "structure-sharp"))
    assert all(getattr(faithful, key) == getattr(sharp, key) for key in ("model", "width", "crop", "set_aside", "grow"))
    assert set(sharp.loss) == {*faithful.loss, "features"}


def test_unknown_recipes_and_keys_offer_the_nearest(tmp_path: Path):
    with pytest.raises(InputError, match="unknown recipe 'sead'. Did you mean 'seed'"):
        read_recipe("sead")
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
        ({"width": 0}, "width is 0"),
        ({"lr": -1.0}, "lr is -1"),
        ({"ema": 1.0}, "ema is 1"),
        ({"size": 32, "crop": 32}, "exclude each other"),
        ({"precision": "fp16"}, "unknown precision 'fp16'. Did you mean 'bf16'"),
        ({"schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"loss": {}}, "at least one term"),
    ):
        with pytest.raises(InputError, match=said):
            TrainConfig("a", "b", **bad)
