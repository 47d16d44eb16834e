"""What several tests use: a folder of pictures, its mask sets, a run trained on them; and a process that is stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"
needs_signals = pytest.mark.skipif(os.name != "posix", reason="a process is stopped by signals, which Windows has not")
needs_shared = pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="../shared/data, the CIFAR-10 copy, is not here")


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(1)  # the tests run side by side; more threads would wait for each other


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing is read from or left in the user's cache, and no network is tried."""
    os.environ["MEND_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["TORCH_HOME"] = str(tmp_path_factory.mktemp("torch"))
    os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(autouse=True)
def the_same_numbers() -> None:
    """A test that fails for one network in ten fails always, or never."""
    torch.manual_seed(0)


Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes an array, a Pillow image, bytes or JSON, and returns the path."""

    def write(content: Any, name: str = "m.png", **how: Any) -> Path:
        path = tmp_path / name
        if isinstance(content, np.ndarray):
            content = Image.fromarray(content)
        if isinstance(content, Image.Image):
            content.save(path, **how)
        else:
            path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    return write


def smooth(height: int, width: int, seed: int) -> np.ndarray:
    """A smooth coloured uint8 (H, W, 3) picture with one disc on it."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    pixels = np.array(small.resize((width, height), Image.Resampling.BICUBIC))
    y, x = np.mgrid[:height, :width]
    cy, cx = rng.uniform(0.3, 0.7, 2)
    pixels[(y / height - cy) ** 2 + (x / width - cx) ** 2 < 0.04] = rng.integers(0, 256, 3)
    return pixels


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 training and 12 test pictures of 32×32, in the layout of a folder source."""
    root = tmp_path_factory.mktemp("pictures")
    for split, count, base in (("train", 40, 0), ("test", 12, 1000)):
        (root / split).mkdir()
        for i in range(count):
            Image.fromarray(smooth(32, 32, base + i)).save(root / split / f"{i:03d}.png")
    return root


@pytest.fixture(scope="session")
def masks(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mask sets for `folder`: strokes over a quarter of each picture."""
    from mend.data.sources import load_images
    from mend.segment.make import make_masks

    out = tmp_path_factory.mktemp("masks")
    for split, images in (("train", "all"), ("test", "test")):
        make_masks(load_images(str(folder), images), "strokes", out / split)
    return out


@pytest.fixture(scope="session")
def run(folder: Path, masks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a very small network."""
    from mend.train.config import TrainConfig
    from mend.train.run import train

    config = TrainConfig(str(folder), str(masks), "unet-aspp", width=4, epochs=2, batch_size=16, precision="fp32")
    return train(config, tmp_path_factory.mktemp("runs") / "tiny")


def stopped(
    arguments: list[str],
    ready: Callable[[], bool],
    how: signal.Signals = signal.SIGINT,
    says: str = "The same command goes on",
) -> None:
    """Run Python with these arguments and stop it by a signal as soon as it is `ready`; Ctrl-C must end it as promised."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=_interruptible
    )
    try:
        deadline = time.monotonic() + 120
        while not ready() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(how)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == (130 if how == signal.SIGINT else -how), said
    if how == signal.SIGINT:
        assert f"stopped. {says}" in said
        assert "Traceback" not in said


def _interruptible() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell starts its background jobs deaf to it


def mend(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Run the command line: its exit code, and what it printed to standard output and standard error."""
    from mend.cli import main

    try:
        main([str(word) for word in words])
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err


def inside(path: Path, *arguments: Any, **named: Any) -> np.ndarray:
    """What `understand_mask` takes for the hole, (H, W), bool."""
    from mend.masks.reading import understand_mask

    return understand_mask(path, *arguments, **named).hole[0, 0] > 0


def peak(arguments: list[str]) -> int:
    """The peak memory in bytes of a mend command in its own process."""
    # Not getrusage: its figure begins with what the parent had.
    code = (
        "import sys, mend.cli\n"
        "try:\n mend.cli.main(sys.argv[1:])\n"
        "finally:\n print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) * 1024
