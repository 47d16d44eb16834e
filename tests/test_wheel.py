"""The wheel alone in a new environment, as `pip install mend-inpainting` brings it: it fills, and has no PyTorch."""

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import ROOT, smooth
from PIL import Image

pytestmark = pytest.mark.slow

MOST = 600  # MB, with bytecode, as pip installs it
Run = Callable[..., subprocess.CompletedProcess[str]]


def uv(*words: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "uv", *words], cwd=ROOT, check=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    uv("build", "--quiet", "--wheel", "--out-dir", folder)
    return next(folder.glob("*.whl"))


def install(wheel: Path, environment: Path, *which: str) -> Path:
    """A new environment with the wheel and the core dependencies in the versions that uv is told."""
    uv("venv", "--quiet", "--python", sys.executable, environment)
    uv("pip", "install", "--quiet", "--compile-bytecode", *which, "--python", environment, wheel)
    return environment


@pytest.fixture(scope="module")
def environment(wheel: Path) -> Path:
    return install(wheel, wheel.parent / "venv", "-c", "constraints.txt")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """p.png and p.jpg with their mask m.png, and photos/ and masks/ of two each."""
    pixels, mask = smooth(60, 80, 0), np.zeros((60, 80), np.uint8)
    mask[20:35, 30:50] = 255
    for folder in ("photos", "masks"):
        (tmp_path / folder).mkdir()
    for name in ("p.png", "p.jpg", "photos/a.png", "photos/b.jpg"):
        Image.fromarray(pixels).save(tmp_path / name)
    for name in ("m.png", "masks/a.png", "masks/b.png"):
        Image.fromarray(mask).save(tmp_path / name)
    return tmp_path


def runner(environment: Path, photos: Path) -> Run:
    """What runs `mend`, or Python with `code`, in an environment and beside the photos."""
    programs = environment / ("Scripts" if sys.platform == "win32" else "bin")

    def go(*words: str, code: str = "") -> subprocess.CompletedProcess[str]:
        command = [programs / "python", "-c", textwrap.dedent(code)] if code else [programs / "mend", *words]
        # Nothing of this checkout or environment is on the path.
        variables = {"PATH": "", "HOME": str(photos), "MEND_CACHE": str(photos / "cache")}
        return subprocess.run(command, cwd=photos, env=variables, capture_output=True, text=True)

    return go


@pytest.fixture
def run(environment: Path, photos: Path) -> Run:
    return runner(environment, photos)


def test_it_is_small_and_has_no_pytorch(environment: Path, run: Run):
    size = sum(file.lstat().st_size for file in environment.rglob("*") if not file.is_dir())
    assert size / 2**20 <= MOST
    assert "No module named 'torch'" in run(code="import torch").stderr


@pytest.mark.parametrize(
    "words",
    [
        "fill p.png --mask m.png -o out.png",
        "fill p.jpg --mask m.png -o out.jpg",
        "fill p.png --mask m.png --smooth -o out.png",
        "fill p.png --mask m.png --grow 4 --feather 3 -o out.png",
        "fill p.png --mask m.png --model telea -o out.png",
        "fill photos --masks masks -o out",
        "mask check m.png --photo p.png -o out.png",
    ],
)
def test_it_fills(words: str, run: Run, tmp_path: Path):
    done = run(*words.split())
    assert done.returncode == 0, done.stderr
    written = tmp_path / words.split()[-1]
    filled = [file for file in ([written] if written.is_file() else written.iterdir()) if file.suffix != ".json"]
    assert [Image.open(file).size for file in filled] == [(80, 60)] * (2 if words.startswith("fill photos") else 1)
    if words.startswith("fill p.png"):
        grown = ("--grow", "4") if "--grow 4" in words else ()
        assert run("verify", "p.png", "m.png", str(written), *grown).returncode == 0


def test_the_oldest_versions_that_are_declared_suffice(wheel: Path, photos: Path):
    oldest = runner(install(wheel, wheel.parent / "oldest", "--resolution", "lowest-direct"), photos)
    for words in ("fill p.png --mask m.png", "fill p.jpg --mask m.png", "verify p.png m.png p-filled.png", "mask check m.png"):
        done = oldest(*words.split())
        assert done.returncode == 0, done.stderr


def test_the_studio_fills_without_pytorch(wheel: Path, photos: Path):
    environment = install(Path(f"{wheel}[studio]"), wheel.parent / "studio", "-c", "constraints.txt")
    run, programs = runner(environment, photos), environment / ("Scripts" if sys.platform == "win32" else "bin")
    assert "No module named 'torch'" in run(code="import torch").stderr
    command = [programs / "mend", "studio", "--port", "0", "--no-open-page"]
    server = subprocess.Popen(command, cwd=photos, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split()[2]
        for name in ("p.png", "p.jpg"):
            with (photos / name).open("rb") as image, (photos / "m.png").open("rb") as mask:
                answer = httpx.post(f"{address}/fill", files={"image": image, "mask": mask}, timeout=60)
            assert run("fill", name, "--mask", "m.png").returncode == 0
            assert answer.content == (photos / name.replace(".", "-filled.")).read_bytes()
    finally:
        server.kill()
        server.wait()


def test_python_fills_too(run: Run):
    done = run(
        code="""
        import mend, numpy
        from mend.filling import load
        from PIL import Image
        load.GPUS = (".",)  # there is a GPU, and nothing that could use it
        photo, mask = numpy.asarray(Image.open("p.png")), numpy.asarray(Image.open("m.png"))
        filled = mend.fill(photo, mask)
        assert (filled == photo)[mask == 0].all() and (filled != photo)[mask > 0].any()
        """
    )
    assert done.returncode == 0, done.stderr


RUN = '{"version": 1, "model": "unet", "options": {"width": 16}}'


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        ("train --data photos --masks strokes", "train"),
        ("fill p.png --mask m.png --model runs/mine -o out.png", "train"),
        ("fill p.png --object person -o out.png", "segment"),
        ("masks photos --out sets", "segment"),
        ("evaluate", "eval"),
        ("report", "eval"),
        ("duplicates photos --out list.csv", "eval"),
        ("studio", "studio"),
        ("export runs/mine -o out.onnx", "export"),
        ("reproduce results.json", "all"),
        ("demo", "all"),
    ],
)
def test_what_needs_more_says_how_to_get_it(words: str, extra: str, run: Run, tmp_path: Path):
    (tmp_path / "runs" / "mine").mkdir(parents=True, exist_ok=True)
    (tmp_path / "runs" / "mine" / "config.json").write_text(RUN)
    before = sorted(tmp_path.rglob("*"))
    done = run(*words.split())
    assert done.returncode == 1
    assert re.fullmatch(rf"mend: .+ pip install '.\[{extra}]'\.\n", done.stderr)
    assert sorted(tmp_path.rglob("*")) == before


def test_python_is_told_as_well(run: Run, tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text(RUN)
    assert run(code=f"import mend; mend.load({str(tmp_path / 'mine')!r})").stderr.endswith(
        "mend.errors.InputError: torch is not installed. Run in the folder of mend: pip install '.[train]'.\n"
    )


def test_the_notebooks_first_cell_installs_mend_where_there_is_nothing(tmp_path: Path):
    """As in Colab: from a Git address, here this repository's own folder, into an environment that has no mend; by uv, which is
    quicker than pip."""
    cells = json.loads((ROOT / "notebooks" / "inpainting.ipynb").read_text(encoding="utf-8"))["cells"]
    source = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    quick = f'{sys.executable!r}, "-m", "uv", "pip", "install", "--python", sys.executable'
    for old, new in (
        ('"https://github.com/mend-inpainting/mend"', repr(str(ROOT))),
        ('sys.executable, "-m", "pip", "install"', quick),
    ):
        assert source.count(old) == 1
        source = source.replace(old, new)
    uv("venv", "--quiet", "--python", sys.executable, tmp_path / "venv")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [
        tmp_path / "venv" / "bin" / "python",
        "-c",
        source + "\nimport mend.train.run, mend.report; print(mend.__file__)",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"; trains in (bf16|fp16|fp32)\n", done.stdout)
    assert str(tmp_path / "venv") in done.stdout.splitlines()[-1]
