"""Several trainings of a recipe: how they are told apart, and how results that were made elsewhere are added."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from mend.errors import InputError
from mend.evaluate.result import MethodResult, Result, find_rows_file, read_result, read_scores, write_result
from mend.evaluate.trainings import find_group, group_trainings, keep_first_trainings, name_group, pair_with_plain

SMOKE = ROOT / "results" / "smoke"


def training(model: str, width: int, seed: int, loss: str = "mse") -> MethodResult:
    """A network of the smoke record, as if it were another."""
    one = read_result(SMOKE).methods["unet-w8-seed0"]
    trained = one.model.trained
    assert trained is not None
    config = {**trained.config, "model": model, "width": width, "seed": seed, "loss": {loss: 1.0}, "data": "/somewhere/else"}
    made = replace(
        one.model, model=model, options={"width": width}, trained=replace(trained, config=config, data="/else/where")
    )
    return replace(one, model=made, weights=f"{model} {width} {seed} {loss}")


def result(**methods: MethodResult) -> Result:
    return replace(read_result(SMOKE), methods={name.replace("_", "-"): method for name, method in methods.items()})


def test_a_network_is_held_against_the_plain_one_of_its_width():
    of_16 = {f"unet-aspp-w16-seed{i}": training("unet-aspp", 16, i) for i in range(2)}
    several = result(
        **of_16,
        **{f"unet-w16-seed{i}": training("unet", 16, i) for i in range(3)},
        a=training("unet", 64, 0),
        b=training("x", 64, 0),
    )
    assert pair_with_plain(several, several.methods) == {
        16: [(["unet-w16-seed0", "unet-w16-seed1", "unet-w16-seed2"], list(of_16))],
        64: [(["a"], ["b"])],
    }
    one = replace(several, methods={**several.methods, "alone": training("alone", 16, 0)})
    pairs = pair_with_plain(one, one.methods)[16]
    assert pairs == [(["unet-w16-seed0"], ["unet-aspp-w16-seed0"]), (["unet-w16-seed0"], ["alone"])], "one of each"


def test_recipes_of_one_network_have_names_of_their_own():
    plain = {f"x-w16-seed{i}": training("x", 16, i) for i in range(2)}
    several = result(**plain)
    assert name_group(several, find_group("x*", several)) == "x-w16"
    both = result(**plain, **{f"x-w16-lpips-seed{i}": training("x", 16, i, "lpips-cifar") for i in range(2)})
    assert [name_group(both, group) for group in group_trainings(both, both.methods)] == ["x-w16", "x-w16-lpips"]
    assert list(keep_first_trainings(both).methods) == ["x-w16-seed0", "x-w16-lpips-seed0"]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import add_trainings

    return add_trainings


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """A copy of the smoke record that may be added to."""
    shutil.copytree(SMOKE, tmp_path / "smoke")
    shutil.copy(SMOKE.with_suffix(".json"), tmp_path)
    return tmp_path / "smoke"


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    """A result of another machine, with one more training of the smoke record's network."""
    out = tmp_path / "incoming" / "gpu" / "scored"
    out.mkdir(parents=True)
    shutil.copy(find_rows_file(SMOKE, "unet-w8-seed1"), find_rows_file(out, "unet-w8-seed2"))
    write_result(out, result(**{"unet-w8-seed2": training("unet", 8, 2), "telea": read_result(SMOKE).methods["telea"]}))
    return tmp_path / "incoming"


def test_trainings_made_elsewhere_are_added_and_kept_small(record: Path, incoming: Path, module: ModuleType):
    before, whole = read_result(record), find_rows_file(SMOKE, "unet-w8-seed1")
    assert module.add(incoming, record) == ["unet-w8-seed2"], "fillers that are no networks are not looked at"
    added = read_result(record)
    assert list(added.methods) == [*before.methods, "unet-w8-seed2"]
    assert not [value for value in added.methods["unet-w8-seed2"].model.trained.config.values() if "/" in str(value)]
    file = find_rows_file(record, "unet-w8-seed2")
    small, rows = read_scores(file), read_scores(whole)
    assert file.stat().st_size < 0.4 * whole.stat().st_size
    assert set(small) == set(rows)
    for column in rows:
        if rows[column].dtype.kind == "f":
            assert np.allclose(small[column], rows[column], rtol=2**-11, atol=0, equal_nan=True), column
        else:
            assert small[column].equals(rows[column]), column
    with pytest.raises(InputError, match="no network that is not there yet"):
        module.add(incoming, record)


def test_what_was_measured_otherwise_is_not_added(record: Path, incoming: Path, module: ModuleType):
    out, before = incoming / "gpu" / "scored", read_result(record)
    there = read_result(out)
    write_result(out, replace(there, mask_set="other"))
    with pytest.raises(InputError, match="measured on something else than .*: mask_set is other"):
        module.add(incoming, record)
    write_result(out, replace(there, methods={"unet-w8-seed1": training("unet", 8, 1)}))
    with pytest.raises(InputError, match="the unet-w8-seed1 of .* has other weights than one that is there"):
        module.add(incoming, record)
    write_result(out, there)
    rows = pd.read_parquet(find_rows_file(out, "unet-w8-seed2"))
    rows[::-1].reset_index(drop=True).to_parquet(find_rows_file(out, "unet-w8-seed2"))
    with pytest.raises(InputError, match="not of the images of .*, in their order"):
        module.add(incoming, record)
    assert read_result(record) == before
