import json
import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from statistics import stdev

import numpy as np
import pytest
from conftest import ROOT

from mend.errors import InputError
from mend.evaluate.metrics import METRICS
from mend.evaluate.protocol import Drawn, Protocol
from mend.evaluate.reproduction import Line, Reproduction, compare_results, find_alike
from mend.evaluate.result import Result, read_result, write_result
from mend.evaluate.run import evaluate
from mend.evaluate.trainings import group_trainings, keep_first_trainings, measure_spread
from mend.masks.store import MaskSet
from mend.report.tables import render_reproduction
from mend.train.config import TrainConfig
from mend.train.reproduce import reproduce
from mend.train.run import train


@pytest.fixture(scope="module")
def result(run: Path, folder: Path, masks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("result") / "tiny"
    protocol = Protocol("tiny-v1", "Tiny", str(folder), ("psnr", "mae"), str(masks))
    return evaluate([str(run), "telea"], protocol, out, device="cpu")


def changed(result: Path, to: Path, method: str, metric: str, by: float) -> Path:
    summary = json.loads(result.read_text())
    summary["methods"][method]["metrics"][metric]["mean"] += by
    to.write_text(json.dumps(summary))
    return to


def table(lines: list[Line]) -> str:
    return render_reproduction(Reproduction(lines, []))


def test_masks_training_and_evaluation_done_again_give_the_old_numbers(result: Path, tmp_path: Path):
    stages: list[str] = []

    def progress(stage: str):
        stages.append(stage)
        return lambda done, of: None

    lines = reproduce(result, tmp_path / "again", device="cpu", progress=progress).lines
    alone = [(m, n) for m in ("tiny", "telea") for n in ("psnr", "mae")]
    assert [(line.method, line.metric) for line in lines[:4]] == alone
    assert {line.metric for line in lines[4:]} == {"psnr", "mae"}, "and a difference for each"
    assert all(line.within for line in lines), table(lines)
    assert stages == ["train tiny", "evaluate"]
    assert (tmp_path / "again" / "runs" / "tiny" / "model" / "model.safetensors").exists(), "it was trained, not copied"
    assert read_result(tmp_path / "again" / "result").methods["tiny"].metrics_scored.keys() == {"psnr", "mae"}

    # Another record is not met: a filler must be exact, a network may be a little off.
    for method, by, met in (("tiny", 0.1, True), ("tiny", 1.0, False), ("telea", 0.01, True), ("telea", 0.1, False)):
        record = changed(result, tmp_path / "other.json", method, "psnr", by)
        lines = {(line.method, line.metric): line for line in reproduce(record, tmp_path / "again", device="cpu").lines}
        assert lines[method, "psnr"].within == met
        assert lines["tiny", "mae"].within
    assert "OUTSIDE" in table(list(lines.values()))
    assert "5 of 6 numbers within tolerance" in table(list(lines.values()))


def test_mask_sets_are_made_anew_from_their_archives(result: Path, tmp_path: Path, masks: Path):
    archives = tmp_path / "archives"
    archives.mkdir()
    for split in ("train", "test"):
        np.savez(archives / f"objects-{split}.npz", mask=np.array(MaskSet.open(masks / split).packed))
    lines = reproduce(result, tmp_path / "again", masks=str(archives), device="cpu").lines
    assert [line.new for line in lines] == [line.old for line in lines]
    assert MaskSet.open(tmp_path / "again" / "masks" / "test").done.all()


def test_drawn_masks_are_drawn_anew(result: Path, tmp_path: Path):
    lines = reproduce(result, tmp_path / "again", masks=str(tmp_path / "nothing"), device="cpu").lines
    assert [line.new for line in lines] == [line.old for line in lines]


def test_fillers_alone_need_their_masks_too(result: Path, tmp_path: Path, masks: Path):
    summary = json.loads(result.read_text())
    del summary["methods"]["tiny"]
    (tmp_path / "classical.json").write_text(json.dumps(summary))
    np.savez(tmp_path / "objects-train.npz", mask=np.array(MaskSet.open(masks / "train").packed))
    np.savez(tmp_path / "objects-test.npz", mask=np.array(MaskSet.open(masks / "test").packed))
    lines = reproduce(tmp_path / "classical.json", tmp_path / "again", masks=str(tmp_path), device="cpu").lines
    assert [(line.method, line.within) for line in lines] == [("telea", True)] * 2


EVERY = read_result(ROOT / "results" / "cifar10-object-v1")
COMMITTED = keep_first_trainings(EVERY)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [None, EVERY], ids=["by-the-metrics", "by-the-trainings"])
def test_two_methods_that_changed_places_are_seen_or_named(seeds: Result | None):
    alike = find_alike(COMMITTED, seeds)
    for one, two in combinations(COMMITTED.methods, 2):
        methods = dict(COMMITTED.methods)
        for name, other in ((one, two), (two, one)):
            methods[name] = replace(methods[name], metrics=COMMITTED.methods[other].metrics)
        found = Reproduction(compare_results(COMMITTED, replace(COMMITTED, methods=methods), seeds), alike)
        said = render_reproduction(found)
        if found.within:
            assert f"{one} and {two} cannot be told apart" in said
        else:
            assert f"{one} and {two}" not in said
            assert "OUTSIDE" in said or "ANOTHER ORDER" in said


@pytest.mark.slow
def test_only_networks_that_lie_within_the_spread_of_trainings_cannot_be_told_apart():
    for one, two in find_alike(COMMITTED, EVERY):
        for name in (one, two):
            assert COMMITTED.methods[name].model.trained, "what is not trained is exact"
        for metric in COMMITTED.methods[one].metrics_scored:
            means = [COMMITTED.methods[name].mean(metric) for name in (one, two)]
            if None not in means:
                deviation, _ = measure_spread(EVERY, metric)
                assert abs(means[0] - means[1]) <= 3.5 * 2**0.5 * deviation
    several = {
        group[0]: EVERY.methods[group[0]].model.options["width"]
        for group in group_trainings(EVERY, EVERY.methods)
        if len(group) > 1
    }
    compared = [
        pair for pair in find_alike(COMMITTED, EVERY) if {*pair} <= {*several} and len({several[name] for name in pair}) == 1
    ]
    assert not compared, "trained several times each, at the same width"


@pytest.mark.parametrize("place", [1, 2, 3])
def test_another_training_of_each_is_within_the_tolerance(place: int):
    groups = [group for group in group_trainings(EVERY, EVERY.methods) if len(group) > place]
    again = {group[0]: replace(EVERY.methods[group[0]], metrics=EVERY.methods[group[place]].metrics) for group in groups}
    assert len(again) >= 4
    lines = compare_results(COMMITTED, replace(COMMITTED, methods={**COMMITTED.methods, **again}), EVERY)
    assert len([line for line in lines if not line.within]) <= len(lines) / 100, table(lines)


def test_a_change_of_place_within_the_tolerance_is_seen_by_the_order():
    names = ("unet-aspp-w16", "unet-simple-w16")
    change = {name: (sign * METRICS["psnr"].tolerance / 2) for name, sign in zip(names, (-1, 1), strict=True)}
    lines = compare_results(COMMITTED, moved(COMMITTED, change))
    assert all(line.within for line in lines if line.method in names), "each number alone is near enough"
    assert [line.method for line in lines if line.turned] == [" − ".join(names)]


def moved(result: Result, by: dict[str, float]) -> Result:
    """The result with the PSNR of some methods changed by so much."""
    methods = dict(result.methods)
    for name, change in by.items():
        scores = methods[name].metrics
        psnr = replace(scores["psnr"], mean=(scores["psnr"].mean or 0) + change)
        methods[name] = replace(methods[name], metrics={**scores, "psnr": psnr})
    return replace(result, methods=methods)


def several(result: Result, name: str, changes: list[float]) -> Result:
    """The result with more trainings of a network, their PSNR changed by so much, each by another seed."""
    method = result.methods[name]
    trained = method.model.trained
    assert trained
    names = [f"{name}-s{i + 1}" for i in range(len(changes))]
    others = {
        again: replace(
            method,
            weights=again,
            model=replace(
                method.model, trained=replace(trained, config={**trained.config, "seed": i + 1, "data": "elsewhere"})
            ),
        )
        for i, again in enumerate(names)
    }
    return moved(replace(result, methods={**result.methods, **others}), dict(zip(names, changes, strict=True)))


def test_the_tolerance_is_that_of_the_spread_over_seeds_where_there_are_enough():
    changes = [0.02, -0.01, 0.015, -0.03]
    lines = compare_results(COMMITTED, COMMITTED, several(COMMITTED, "unet-w16", changes))
    (line,) = [line for line in lines if (line.method, line.metric) == ("unet-simple-w16", "psnr")]
    assert line.tolerance == pytest.approx(3.5 * 2**0.5 * stdev([0, *changes]), rel=1e-3), "of all networks"
    few = compare_results(COMMITTED, COMMITTED, several(COMMITTED, "unet-w16", changes[:2]))
    assert {line.tolerance for line in few if (line.method, line.metric) == ("unet-simple-w16", "psnr")} == {
        METRICS["psnr"].tolerance
    }
    (classical,) = [line for line in lines if (line.method, line.metric) == ("telea", "psnr")]
    assert classical.tolerance < 0.05, "what is not trained is exact"


def test_several_seeds_are_found_in_the_result_or_beside_it(result: Path, tmp_path: Path):
    mine = read_result(result)
    changes = [0.01, -0.01, 0.02, 0.0]
    shutil.copy(result, tmp_path / "tiny.json")
    write_result(tmp_path / "tiny-seeds", several(mine, "tiny", changes))
    (line, *_) = reproduce(tmp_path / "tiny.json", tmp_path / "again", device="cpu").lines
    assert line.tolerance == pytest.approx(3.5 * 2**0.5 * stdev([0, *changes]), rel=1e-3)


def test_a_network_trained_on_crops_is_trained_again(folder: Path, tmp_path: Path):
    config = TrainConfig(str(folder), "strokes", "pyramid", width=4, crop=16, epochs=1, batch_size=8, workers=0)
    run = train(config, tmp_path / "small")
    protocol = Protocol("tiny-v1", "Tiny", str(folder), ("psnr",), drawn=Drawn(("boxes",), ((0.1, 0.3),)))
    result = evaluate([str(run)], protocol, tmp_path / "crops", device="cpu")
    (line,) = reproduce(result, tmp_path / "again", device="cpu").lines  # and no difference: it is alone
    assert line.new == line.old
    assert (tmp_path / "again" / "runs" / "small" / "metrics.csv").exists()


def test_a_drawn_protocol_needs_the_masks_of_the_training_alone(run: Path, folder: Path, masks: Path, tmp_path: Path):
    protocol = Protocol("tiny-v1", "Tiny", str(folder), ("psnr",), drawn=Drawn(("boxes",), ((0.1, 0.3),)))
    result = evaluate([str(run)], protocol, tmp_path / "drawn", device="cpu")
    np.savez(tmp_path / "objects-train.npz", mask=np.array(MaskSet.open(masks / "train").packed))
    (line,) = reproduce(result, tmp_path / "again", masks=str(tmp_path), device="cpu").lines
    assert line.new == line.old
    assert not (tmp_path / "again" / "masks" / "test").exists()


def test_what_cannot_be_made_again_is_said(result: Path, tmp_path: Path, masks: Path):
    summary = json.loads(result.read_text())
    summary["methods"]["tiny"]["model"]["trained"]["masks"] = "a hand"
    (tmp_path / "hand.json").write_text(json.dumps(summary))
    with pytest.raises(InputError, match="made by a hand, which mend cannot run.*`masks`"):
        reproduce(tmp_path / "hand.json", tmp_path / "out", masks=str(tmp_path / "nothing"), device="cpu")
    summary["methods"]["tiny"]["model"]["trained"]["mask_set"] = "0" * 64
    (tmp_path / "masks.json").write_text(json.dumps(summary))
    with pytest.raises(InputError, match="holds other masks .* than tiny was trained with"):
        reproduce(tmp_path / "masks.json", tmp_path / "out", device="cpu")
    del summary["methods"]["tiny"]["model"]["trained"]
    (tmp_path / "untrained.json").write_text(json.dumps(summary))
    with pytest.raises(InputError, match="tiny was not trained by mend"):
        reproduce(tmp_path / "untrained.json", tmp_path / "out", device="cpu")


def test_a_line_is_within_up_to_its_tolerance():
    line = Line("tiny", "psnr", old=20.0, new=20.0, tolerance=0.25)
    assert replace(line, new=line.old + line.tolerance * 0.99).within
    assert not replace(line, new=line.old - line.tolerance * 1.01).within
