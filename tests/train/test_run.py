import csv
import errno
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, needs_signals, smooth, stopped
from PIL import Image

from mend.data.sources import load_images, set_aside, split_rows
from mend.errors import InputError
from mend.images import find_pictures
from mend.masks.crops import make_hole_drawer
from mend.models.checkpoint import load_model, save_model
from mend.segment.make import make_masks
from mend.train.config import TrainConfig, check_run, write_config
from mend.train.module import CropData
from mend.train.run import _build, _choose_precision, train


@pytest.fixture(scope="module")
def config(folder: Path, masks: Path) -> TrainConfig:
    return TrainConfig(str(folder), str(masks), "unet-simple", width=4, epochs=3, batch_size=16, precision="fp32")


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def same(a: Path, b: Path) -> bool:
    one, two = weights(a), weights(b)
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


@pytest.fixture(scope="module")
def finished(config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(config, tmp_path_factory.mktemp("finished") / "run")


def test_a_run_leaves_what_the_design_promises(finished: Path):
    names = {p.relative_to(finished).as_posix() for p in finished.rglob("*") if p.is_file()}
    assert {"config.toml", "metrics.csv", "model/config.json", "model/model.safetensors"} <= names
    assert {"checkpoints/last.ckpt", "samples/epoch-001.png", "samples/epoch-003.png"} <= names
    assert any(name.startswith("tensorboard/events") for name in names)
    with (finished / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [row["step"] for row in rows] == ["3", "6", "9"], "36 images in batches of 16"
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    best = max(rows, key=lambda row: float(row["val_psnr"]))
    _, loaded = load_model(finished)
    assert loaded.trained is not None
    assert loaded.trained.epoch == int(best["epoch"])
    assert loaded.trained.images == 36
    assert len(loaded.trained.mask_set) == 64


def test_training_is_repeatable_and_the_seed_matters(config: TrainConfig, finished: Path, tmp_path: Path):
    assert same(train(config, tmp_path / "again"), finished)
    assert not same(train(replace(config, seed=1), tmp_path / "other"), finished)


def test_the_same_command_changes_nothing_when_all_is_done(config: TrainConfig, finished: Path):
    before = (finished / "metrics.csv").read_bytes()
    train(config, finished)
    assert (finished / "metrics.csv").read_bytes() == before


def flags(config: TrainConfig, out: Path) -> list[str]:
    names = ("data", "masks", "model", "width", "epochs", "batch_size", "precision")
    pairs = [(f"--{n.replace('_', '-')}", str(getattr(config, n))) for n in names]
    return [*(word for pair in pairs for word in pair), "--out", str(out)]


@pytest.mark.slow
@needs_signals
def test_a_run_that_was_killed_and_stopped_ends_as_if_it_had_not_been(config: TrainConfig, tmp_path: Path):
    longer = replace(config, epochs=40, ema=0.9, schedule="cosine")
    whole, run = train(longer, tmp_path / "whole"), tmp_path / "run"
    command = ["-m", "mend", "train", "--debug", *flags(longer, run), "--ema", "0.9", "--schedule", "cosine"]
    for how, epoch in ((signal.SIGKILL, 2), (signal.SIGINT, 8)):
        stopped(command, (run / "samples" / f"epoch-{epoch:03d}.png").exists, how)
        assert len(list((run / "samples").iterdir())) < 40, "it was over before it was stopped"
    train(longer, run)
    assert same(run, whole)
    tables = [[row[:-1] for row in csv.reader((folder / "metrics.csv").open())] for folder in (run, whole)]
    assert tables[0] == tables[1], "but for the seconds"


def test_a_run_folder_of_another_configuration_is_refused(config: TrainConfig, finished: Path):
    with pytest.raises(InputError, match="is a run of another configuration: lr is 0.001 there and 0.01 now"):
        train(replace(config, lr=0.01), finished)


def test_a_finished_run_goes_on_for_more_epochs_as_if_it_had_been_begun_so(config: TrainConfig, finished: Path, tmp_path: Path):
    train(replace(config, epochs=2), tmp_path / "run")
    assert same(train(config, tmp_path / "run"), finished)
    assert load_model(tmp_path / "run")[1].trained.config["epochs"] == 3
    with (tmp_path / "run" / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]
    with pytest.raises(InputError, match=r"epochs is 3 there and 2 now\. Choose another `out`"):
        train(replace(config, epochs=2), tmp_path / "run")


def test_more_epochs_are_put_into_the_record_of_the_model_as_it_was_written(config: TrainConfig, tmp_path: Path):
    write_config(config, tmp_path)
    model = tmp_path / "model"
    model.mkdir()
    save_model(model, torch.nn.Linear(1, 1), "unet", {"width": 4}, {"config": {"epochs": 3}})
    expected = (model / "config.json").read_bytes().replace(b'"epochs": 3', b'"epochs": 99')
    write_config(replace(config, epochs=99), tmp_path)
    assert (model / "config.json").read_bytes() == expected


def test_a_run_that_ended_at_a_rate_of_zero_does_not_go_on(config: TrainConfig, tmp_path: Path):
    ended = replace(config, schedule="cosine", epochs=1)
    write_config(ended, tmp_path)
    with pytest.raises(
        InputError, match="a run of 1 epochs by the schedule cosine, which ends at a learning rate of zero: 5 epochs"
    ):
        check_run(replace(ended, epochs=5), tmp_path)


def test_another_configuration_is_said_before_pytorch_is_imported_or_data_read(config: TrainConfig, tmp_path: Path):
    write_config(replace(config, data="nowhere"), tmp_path)
    words = ["train", "--data", "nowhere", "--masks", "none", "--out", str(tmp_path)]
    loaded = "print([m for m in ('torch', 'lightning') if m in sys.modules])"
    code = f"import sys, mend.cli\ntry:\n mend.cli.main({words})\nfinally:\n {loaded}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert "is a run of another configuration: batch_size is 16 there and 128 now" in done.stderr
    assert (done.returncode, done.stdout.strip()) == (1, "[]")


def test_a_validation_that_is_not_a_number_ends_the_training(config: TrainConfig, tmp_path: Path):
    """The loss of the only step is finite: it is the step itself that ruins the weights."""
    with pytest.raises(InputError, match=r"the loss on the validation pictures is nan.* epoch 1\. Try a smaller learning rate"):
        train(replace(config, lr=1e30, epochs=1, batch_size=64), tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()


def test_a_damaged_configuration_is_named(config: TrainConfig, tmp_path: Path):
    (tmp_path / "config.toml").write_text("epochs = [")
    with pytest.raises(InputError, match=r"config\.toml is damaged: .*Restore it, or choose another `out`"):
        train(config, tmp_path)


def test_a_damaged_checkpoint_is_named(config: TrainConfig, tmp_path: Path):
    run = train(replace(config, epochs=1), tmp_path / "run")
    file = run / "checkpoints" / "last.ckpt"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"last\.ckpt is damaged .*Delete it"):
        train(replace(config, epochs=1), run)


def test_a_loss_that_is_not_finite_stops_with_step_and_batch(config: TrainConfig, tmp_path: Path):
    with pytest.raises(
        InputError, match=r"the loss is (nan|inf) at batch \d+ of epoch \d+ \(step \d+\).*smaller learning rate"
    ):
        train(replace(config, lr=1e30, epochs=9), tmp_path / "run")


def test_training_may_start_from_the_weights_of_another_run(config: TrainConfig, finished: Path, tmp_path: Path):
    still = replace(config, start=str(finished), lr=1e-12, epochs=1)
    (run, _), (there, _) = load_model(train(still, tmp_path / "run")), load_model(finished)
    pairs = zip(run.parameters(), there.parameters(), strict=True)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in pairs)
    with pytest.raises(
        InputError, match="which holds unet-simple with {'width': 4}; unet-simple with {'width': 8} is to be trained. Name"
    ):
        train(replace(still, width=8), tmp_path / "other")


def test_a_run_of_a_version_that_knew_fewer_keys_goes_on(config: TrainConfig, finished: Path, tmp_path: Path):
    run = shutil.copytree(finished, tmp_path / "run")
    lines = (run / "config.toml").read_text().splitlines(keepends=True)
    shorter = [line for line in lines if not line.startswith(("set_aside", "ramp", "grow"))]
    assert len(shorter) == len(lines) - 3
    (run / "config.toml").write_text("".join(shorter))
    train(config, run)
    with pytest.raises(InputError, match="of another configuration: ramp is 0 there and 2 now"):
        train(replace(config, ramp=2), run)


def test_unknown_losses_models_and_foreign_masks_are_refused_before_anything_is_written(
    config: TrainConfig, folder: Path, masks: Path, tmp_path: Path
):
    for changed, said in (
        ({"loss": {"mes": 1.0}}, "Did you mean 'mse'"),
        ({"model": "unet-asp"}, "Did you mean 'unet-aspp'"),
        ({"size": 16}, "holds 32×32 masks, the images of"),
        ({"masks": str(tmp_path / "nowhere")}, "no mask set in"),
        ({"masks": str(masks / "test")}, "is for .*not for"),
    ):
        with pytest.raises(InputError, match=said):
            train(replace(config, **changed), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_average_of_the_weights_is_what_is_saved(config: TrainConfig, tmp_path: Path):
    run = train(replace(config, ema=0.5, epochs=1), tmp_path / "run")
    state = weights(run)
    network, _ = load_model(run)
    name = "head.weight"
    assert torch.equal(network.state_dict()[name], state[f"average.module.{name}"])
    assert not torch.equal(network.state_dict()[name], state[f"network.{name}"])


def test_fp16_is_for_gpus_where_the_loss_is_scaled(config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="precision fp16 is for GPUs, and there is none here"):
            train(replace(config, precision="fp16"), tmp_path / "run")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert _choose_precision(replace(config, precision="fp16")) == "16-mixed"


@pytest.mark.slow
def test_bf16_and_compiled_training_run(config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = train(replace(config, precision="bf16", epochs=1), tmp_path / "bf16")
    assert all(v.dtype == torch.float32 for v in load_model(run)[0].state_dict().values() if v.is_floating_point())
    # Traced as ever, but without a minute of code generation.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    compiled = train(replace(config, model="unet", compile=True, epochs=3), tmp_path / "compiled")
    plain = train(replace(config, model="unet", epochs=3), tmp_path / "plain")
    one, two = weights(compiled), weights(plain)
    assert all(torch.allclose(one[k].float(), two[k].float(), atol=1e-3) for k in one)


def test_large_pictures_are_streamed_as_crops(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    for i in range(24):
        Image.fromarray(smooth(70 + i, 90, i)).save(tmp_path / "photos" / f"{i}.jpg")
    config = TrainConfig(
        str(tmp_path / "photos"), "strokes", "unet", width=4, epochs=2, batch_size=8, crop=36, workers=1, precision="fp32"
    )
    config = replace(
        config, schedule="cosine"
    )  # a side that is no multiple of 8, and a schedule that needs the number of steps
    steps: list[tuple[int, int]] = []
    one = train(config, tmp_path / "one", lambda *step: steps.append(step))
    two = train(replace(config, workers=2), tmp_path / "two")
    assert steps[-1] == (6, 6), "20 training pictures in batches of 8, twice"
    assert same(one, two), "the number of workers changes nothing"
    with pytest.raises(InputError, match="unknown masks 'strook'"):
        train(replace(config, masks="strook"), tmp_path / "three")


def test_a_pyramid_learns_at_every_scale_from_holes_of_several_kinds(tmp_path: Path, masks: Path):
    (tmp_path / "photos").mkdir()
    for i in range(24):
        Image.fromarray(smooth(70, 90, i)).save(tmp_path / "photos" / f"{i}.jpg")
    config = TrainConfig(
        str(tmp_path / "photos"), f"strokes,boxes,{masks}", "pyramid", width=4, epochs=2, batch_size=8, crop=48, zoom=1.4,
        crops=2, workers=1, precision="fp32", loss={"hole_l1": 1.0},
    )  # fmt: skip
    run = train(config, tmp_path / "run")
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    pictures = len(split_rows(24, "train"))
    assert [int(row["step"]) for row in rows] == [-(-2 * pictures // 8), 2 * -(-2 * pictures // 8)], "two crops of each picture"
    assert float(rows[-1]["loss"]) > 1.5 * float(rows[-1]["val_loss"]), "coarser scales count as well"
    network, _ = load_model(run)
    before = _build(config).state_dict()
    assert not any(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    holes = [make_hole_drawer(config.masks, 48, 0)[0](1, i) for i in range(60)]
    assert all(hole.shape == (1, 48, 48) and set(np.unique(hole)) == {0.0, 1.0} for hole in holes)
    one_kind = [make_hole_drawer("boxes", 48, 0)[0](1, i) for i in range(60)]
    alike = sum(np.array_equal(a, b) for a, b in zip(holes, one_kind, strict=True))
    assert 8 < alike < 35, "a third of them are boxes"


def test_pictures_set_aside_are_neither_trained_nor_validated_on(tmp_path: Path):
    for i in range(24):
        (tmp_path / "photos" / str(i % 3)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(smooth(40, 50, i)).save(tmp_path / "photos" / str(i % 3) / f"{i}.jpg")
    config = TrainConfig(str(tmp_path / "photos"), "boxes", "unet", width=4, crop=32, set_aside=6)
    data = CropData(config)
    aside = set_aside(find_pictures(tmp_path / "photos"), 6)
    assert len(data.files) == data.counts["train"] + data.counts["val"] == 18
    assert not {*aside} & {*data.files}
    assert {file.parent.name for file in data.files} == {"0", "1", "2"}


def test_a_network_for_features_that_is_not_there_is_said_before_anything_is_written(config: TrainConfig, tmp_path: Path):
    for network, said in ((None, "name its folder by `feature_network`"), (str(tmp_path), "no network for the loss term")):
        with pytest.raises(InputError, match=said):
            train(replace(config, loss={"mse": 1.0, "features": 0.1}, feature_network=network), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_masks_under_the_same_name_are_noticed(config: TrainConfig, tmp_path: Path, folder: Path):
    masks = tmp_path / "masks"
    for split, part in (("train", "all"), ("test", "test")):
        make_masks(load_images(str(folder), part), "boxes", masks / split)
    mine = replace(config, masks=str(masks), epochs=1)
    train(mine, tmp_path / "run")
    shutil.rmtree(masks / "train")
    make_masks(load_images(str(folder), "all"), "boxes", masks / "train", seed=1)
    with pytest.raises(InputError, match="begun with other masks than are there now"):
        train(mine, tmp_path / "run")


def test_a_full_disk_is_said_and_leaves_nothing_half(config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if ".ckpt" in path.name:
            written(path, data[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return written(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        train(replace(config, epochs=1), tmp_path / "run")
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_numbers_that_no_run_can_have_are_refused(config: TrainConfig):
    for name, value in (("seed", -1), ("workers", -1), ("epochs", 0), ("ema", 1)):
        with pytest.raises(InputError, match=f"`{name}` is {value}"):
            replace(config, **{name: value})
