"""Real jobs of two processes on this machine, over Gloo: the results that one gives, and nothing lost when they are stopped."""

import csv
import filecmp
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, smooth
from PIL import Image

from mend import distributed
from mend.data.sources import load_images
from mend.errors import InputError
from mend.models import build
from mend.models.checkpoint import load_model
from mend.models.device import find_device
from mend.segment.make import make_masks
from mend.train.config import TrainConfig
from mend.train.run import _build, train

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
MEND = ("-m", "mend")
PAGE = ROOT / "docs" / "scale.md"
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


@contextmanager
def started(*words: object, program: tuple[object, ...] = MEND, processes: int = 2) -> Iterator[subprocess.Popen[str]]:
    """A job of several processes, by `torchrun`, in a group of its own as a terminal has it."""
    process = subprocess.Popen(
        [*TORCHRUN, *map(str, (processes, *program, *words))],
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def done(*words: object, program: tuple[object, ...] = MEND, processes: int = 2) -> str:
    """What a job prints that comes to its end."""
    with started(*words, program=program, processes=processes) as process:
        out, said = process.communicate(timeout=300)
        assert process.returncode == 0, said[-3000:]
    return out


def ended(ready: Callable[[], bool], how: signal.Signals, *words: object, program: tuple[object, ...] = MEND) -> str:
    """What a job says of which one process is killed, or all are told to stop by Ctrl-C, as soon as it is `ready`."""
    with started(*words, program=program) as process:
        deadline = time.monotonic() + 300
        while not ready():
            assert process.poll() is None, process.communicate()[1][-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.01)
        if how == signal.SIGKILL:
            os.kill(processes_of(process)[1], signal.SIGKILL)
        else:
            os.killpg(process.pid, how)
        said = process.communicate(timeout=300)[1]
        assert process.returncode not in (0, None)
    return said


def processes_of(job: subprocess.Popen[str]) -> list[int]:
    return [int(child) for child in Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()]


def check_said(said: str, what: str = "The same command goes on") -> None:
    """One message for all processes, and no traceback but torchrun's."""
    assert said.count(what) == 1, said
    assert "mend/cli" not in said, said


linux = pytest.mark.skipif(sys.platform != "linux", reason="a job is started, stopped and looked into as Linux has it")


def test_one_process_is_the_first_of_one():
    assert (distributed.FIRST, distributed.WORLD, distributed.RANK) == (True, 1, 0)
    assert list(distributed.distribute([1, 2, 3], lambda x: 2 * x)) == [2, 4, 6]
    assert (
        distributed.gather("a"),
        distributed.broadcast("a"),
        distributed.claim_last_word(),
        distributed.describe_stop(),
    ) == (["a"], "a", True, "")


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(distributed, "WORLD", 64)
    monkeypatch.setattr(distributed, "LOCAL", 63)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name in ("auto", "cuda"):
        with pytest.raises(InputError, match=r"`device=\"cuda:63\"` is not to be had here .* no more processes than .* GPUs"):
            find_device(name)


def test_training_has_nccl_where_there_are_gpus(monkeypatch: pytest.MonkeyPatch):
    """Lightning takes over the group that it finds: with Gloo alone gradients would go by way of the CPU."""
    asked: list[str] = []
    group = torch.distributed
    monkeypatch.setattr(group, "init_process_group", lambda backend, **_: asked.append(backend))
    monkeypatch.setattr(group, "is_nccl_available", lambda: True)
    monkeypatch.setattr(distributed, "_watch", lambda: None)
    monkeypatch.setattr(distributed.atexit, "register", lambda *_: None)
    for there in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        distributed._join_group()
    assert asked == ["gloo", "cpu:gloo,cuda:nccl"]


SILENT = """
import sys
from mend import cli
from mend import distributed
distributed.HEARTBEAT, distributed.MISSED = 0.2, 10
cli.main(sys.argv[1:])
"""


@linux
def test_a_machine_that_falls_silent_is_not_waited_for(tmp_path: Path):
    """A stopped process is what is left of one whose machine lost its power: its connections stay open."""
    (tmp_path / "silent.py").write_text(SILENT)
    (tmp_path / "photos").mkdir()
    for i in range(24):
        Image.fromarray(smooth(176, 176, i)).save(tmp_path / "photos" / f"{i:02d}.png")
    Image.fromarray(np.tri(176, dtype=np.uint8) * 255).save(tmp_path / "mask.png")
    out = tmp_path / "filled"
    words = ["fill", tmp_path / "photos", "--mask", tmp_path / "mask.png", "--model", "biharmonic", "-o", out]
    with started(*words, program=(tmp_path / "silent.py",)) as job:
        deadline = time.monotonic() + 300
        while not list(out.glob("*.png")):
            assert job.poll() is None, job.communicate()[1][-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.01)
        here, other = processes_of(job)
        os.kill(other, signal.SIGSTOP)
        deadline = time.monotonic() + 60
        while here in processes_of(job):
            assert time.monotonic() < deadline, "it still waits"
            time.sleep(0.1)
        os.kill(other, signal.SIGCONT)
        said = job.communicate(timeout=60)[1]
    assert job.returncode == 1
    check_said(said, "mend: process 1 of this job has not answered for")


@linux
def test_a_process_that_has_done_its_part_is_not_missed(tmp_path: Path):
    (tmp_path / "early.py").write_text(
        "import time\nfrom mend import distributed\ndistributed.HEARTBEAT, distributed.MISSED = 0.1, 25\n"
        "distributed.broadcast(0)\ntime.sleep(6 * (distributed.RANK != 1))\nprint('to the end')"
    )
    assert done(program=(tmp_path / "early.py",), processes=3).count("to the end") == 3


@linux
def test_bad_input_is_said_once(tmp_path: Path):
    with started("masks", "photos", "--segmenter", "strook", "--out", tmp_path / "masks") as process:
        said = process.communicate(timeout=300)[1]
    assert process.returncode == 1
    check_said(said, "mend: unknown segmenter 'strook'. Did you mean 'strokes'?")


@linux
def test_what_only_the_first_finds_out_ends_all_at_once(tmp_path: Path):
    make_masks(load_images("photos", "test"), "boxes", tmp_path / "test")
    with started("masks", "photos", "--split", "test", "--segmenter", "strokes", "--out", tmp_path) as process:
        said = process.communicate(timeout=25)[1]  # `torchrun` itself would kill them after 30 more
    assert process.returncode == 1
    check_said(said, "holds another mask set")


SEALED = """
import sys
from pathlib import Path
from mend import cli
from mend import distributed
whole = distributed.broadcast


def agreed(value):
    assert distributed.FIRST or "done.npy" not in Path("/proc/self/maps").read_text()
    return whole(value)


distributed.broadcast = agreed
cli.main(sys.argv[1:])
"""


@pytest.mark.slow
@linux
def test_masks_are_those_of_one_process_after_one_of_two_was_killed(tmp_path: Path):
    """A set that is sealed is mapped by nobody else: Windows would refuse."""
    (tmp_path / "sealed.py").write_text(SEALED)
    out = tmp_path / "masks" / "test"
    words = ["masks", "photos", "--split", "test", "--segmenter", "felzenszwalb", "--out", out.parent]
    said = ended(lambda: (out / "done.npy").exists() and np.load(out / "done.npy").any(), signal.SIGKILL, *words)
    check_said(said)
    rows = np.load(out / "done.npy")
    assert 0 < rows.sum() < len(rows), "it was over before it was stopped"
    kept = np.load(out / "masks.npy")[rows]
    assert f"{out}: 1173 of 1173 masks" in done(*words, program=(tmp_path / "sealed.py",))
    assert np.array_equal(np.load(out / "masks.npy")[rows], kept)
    one = make_masks(load_images("photos", "test"), "felzenszwalb", tmp_path / "one")
    for name in ("masks.npy", "manifest.json"):
        assert (out / name).read_bytes() == (one.folder / name).read_bytes(), name


UNCHECKED = """
import sys
import mend.evaluate.run
from mend import cli
mend.evaluate.run.certify = lambda names, device: {}  # it takes seconds, of each process by itself
cli.main(sys.argv[1:])
"""


@pytest.mark.slow
@linux
def test_an_evaluation_is_that_of_one_process_after_one_of_two_was_killed(run: Path, tmp_path: Path):
    program = (tmp_path / "unchecked.py",)
    program[0].write_text(UNCHECKED)
    make_masks(load_images("photos", "test"), "strokes", tmp_path / "masks" / "test")
    words = ["evaluate", run, "mean-colour", "telea", "--no-classical", "--protocol", "photos-object-v1"]
    words += ["--masks", tmp_path / "masks", "--limit", "200", "--metrics", "psnr,fid-cifar", "--out"]
    two, one = tmp_path / "two", tmp_path / "one"
    check_said(ended((tmp_path / "two.json").exists, signal.SIGKILL, *words, two, program=program))
    first = json.loads((tmp_path / "two.json").read_text())["methods"]
    assert 0 < len(first) < 3, "it was over before it was stopped"
    out = done(*words, two, program=program)
    assert out.count("n = 200 images") == 1, "only the first process prints"
    command = [sys.executable, *map(str, (*program, *words, one))]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **ENVIRONMENT}, check=True, capture_output=True)
    summaries = [json.loads(file.with_suffix(".json").read_text()) for file in (one, two)]
    assert all(summaries[1]["methods"][name] == first[name] for name in first), "it was scored again"
    for summary in summaries:
        for method in summary["methods"].values():
            assert method.pop("seconds") > 0
            assert method.pop("device") in ("CPU, 1 thread", "2 × CPU, 1 thread")
    assert summaries[0] == summaries[1], "to the last digit"
    files = [{file.relative_to(folder) for file in folder.rglob("*") if file.is_file()} for folder in (one, two)]
    assert files[0] == files[1]
    assert all(filecmp.cmp(one / file, two / file, shallow=False) for file in files[0]), (
        "rows, features, pictures: the same bits"
    )
    assert len(pd.read_parquet(two / "tiny.parquet")) == 200


@pytest.mark.slow
@linux
def test_a_folder_is_filled_as_by_one_process_after_one_of_two_was_killed(tmp_path: Path):
    photos, two, one = (tmp_path / name for name in ("photos", "two", "one"))
    photos.mkdir()
    for i in range(16):
        Image.fromarray(smooth(176, 176, i)).save(photos / f"{i:02d}.png")
    (photos / "15.png").write_bytes(b"words")
    hole = np.zeros((176, 176), np.uint8)
    hole[8:168, 8:168] = 255  # biharmonic works on it for 0.15 s: all of them are not done before one is stopped
    Image.fromarray(hole).save(tmp_path / "mask.png")
    words = ["fill", photos, "--mask", tmp_path / "mask.png", "--model", "biharmonic", "-o"]
    check_said(ended(lambda: len(list(two.glob("*.png"))) >= 3, signal.SIGKILL, *words, two), "goes on with --skip-existing")
    kept = {file: file.stat().st_mtime_ns for file in two.glob("*.png")}
    assert 3 <= len(kept) < 15, "it was over before it was stopped"
    assert not list(two.glob(".*"))
    with started(*words, two, "--skip-existing") as process:
        out, said = process.communicate(timeout=300)
    assert process.returncode == 1, "one cannot be filled"
    assert said.count("15.png: ") == 1
    assert f"{15 - len(kept)} filled, {len(kept)} skipped, 1 failed of 16 pictures" in out
    assert all(file.stat().st_mtime_ns == before for file, before in kept.items())
    assert len(json.loads((two / "mend-fill.json").read_text())["files"]) == 16
    subprocess.run([sys.executable, "-m", "mend", *map(str, words), str(one)], cwd=ROOT, capture_output=True)
    assert len(list(one.glob("*.png"))) == 15
    assert all(file.read_bytes() == (two / file.name).read_bytes() for file in one.glob("*.png"))


@linux
def test_one_picture_is_filled_once(tmp_path: Path):
    Image.fromarray(smooth(64, 64, 0)).save(tmp_path / "photo.png")
    Image.fromarray(np.eye(64, dtype=np.uint8) * 255).save(tmp_path / "mask.png")
    words = ["fill", tmp_path / "photo.png", "--mask", tmp_path / "mask.png", "--model", "telea"]
    assert done(*words).count("of photo.png filled") == 1


# --- Training --------------------------------------------------------------------------------------------------------


def flags(config: TrainConfig, out: Path) -> list[str]:
    given = {
        name: value for name, value in asdict(config).items() if getattr(TrainConfig, name, None) != value and name != "loss"
    }
    return [
        "train",
        *(word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))),
        "--out",
        str(out),
    ]


def moved(run: Path, start: dict[str, torch.Tensor], other: Path | None = None) -> float:
    """How far the weights of a run went from `start`; or how far they are from those of another."""
    here = load_model(run)[0].state_dict()
    there = start if other is None else load_model(other)[0].state_dict()
    return sum(float((here[name] - there[name]).float().norm()) ** 2 for name in start) ** 0.5


def rows_of(run: Path) -> list[dict[str, float]]:
    with (run / "metrics.csv").open() as file:
        return [{name: float(value) for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.slow
@linux
def test_two_processes_train_as_one_does_after_one_was_killed_and_both_were_stopped(tmp_path: Path):
    """Without batch norm the gradients are the same sums up to rounding: 22 images, in steps of 4 + 3 and a last of 1 + 0."""
    (tmp_path / "photos").mkdir()
    for i in range(27):
        Image.fromarray(smooth(40, 50, i)).save(tmp_path / "photos" / f"{i}.jpg")
    # Without workers: one that is forked beside Gloo's threads sometimes hangs (CPython 3.11). `tests/train` has them.
    config = TrainConfig(
        str(tmp_path / "photos"), "strokes", "pyramid", width=4, epochs=12, batch_size=7, crop=32, workers=0, precision="fp32"
    )
    one, two = tmp_path / "one", tmp_path / "two"
    train(config, one)
    assert rows_of(one)[0]["step"] == 4, "22 images"
    check_said(ended((two / "samples" / "epoch-001.png").exists, signal.SIGKILL, *flags(config, two)))
    assert 1 <= len(rows_of(two)) < 12, "it was over before it was stopped"
    check_said(ended((two / "samples" / "epoch-003.png").exists, signal.SIGINT, *flags(config, two)))
    assert 3 <= len(rows_of(two)) < 12, "it was over before it was stopped"
    train(config, two)  # on one process now
    start = _build(config).state_dict()
    assert moved(two, start, one) < 1e-4 * moved(one, start)
    for a, b in zip(rows_of(one), rows_of(two), strict=True):
        assert a == pytest.approx(b, rel=1e-5)


@pytest.mark.slow
@linux
def test_batch_norm_of_two_processes_sees_half_a_batch(folder: Path, masks: Path, tmp_path: Path):
    """So on CPUs a U-Net trains a little differently: with other images in its batches its losses are 1 to 2 % off."""
    config = TrainConfig(str(folder), str(masks), "unet", width=4, epochs=3, batch_size=16, precision="fp32")
    one, two = train(config, tmp_path / "one"), tmp_path / "two"
    assert done(*flags(config, two)).count("trained") == 1, "only the first process prints"
    for a, b in zip(rows_of(one), rows_of(two), strict=True):
        assert a == pytest.approx(b, rel=0.004)


def test_the_page_on_scale_counts_the_weights_that_there_are():
    rows = re.findall(
        r"`(\S+)`, width (\d+) \| ([\d,]+) \| ([\d.]+) MB \| ([\d.]+) MB \| ([\d.]+) MB", PAGE.read_text(encoding="utf-8")
    )
    assert len(rows) == 5
    for name, width, *said in rows:
        weights = sum(value.numel() for value in build(name, width=int(width)).parameters())
        sent = [4e-6 * weights, *(2 * (n - 1) / n * 4e-6 * weights for n in (8, 64))]
        assert said == [f"{weights:,}", *(f"{size:.1f}" for size in sent)]
