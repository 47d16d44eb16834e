import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT, mend, needs_signals, smooth, stopped
from PIL import Image

from mend.cli import main
from mend.images import read_image, write_image
from mend.inpaint.classical import CLASSICAL


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    write_image(tmp_path / "photo.png", smooth(45, 61, 0))
    mask = np.zeros((45, 61, 1), np.uint8)
    mask[10:20, 15:40] = 255
    write_image(tmp_path / "mask.png", mask)
    return tmp_path


def test_fill_from_the_command_line(photo: Path, run: Path, capsys: pytest.CaptureFixture[str]):
    code, out, _ = mend(
        capsys, "fill", photo / "photo.png", "--mask", photo / "mask.png", "-o", photo / "o.png", "--model", run
    )
    assert code == 0
    assert "9.1% of photo.png filled" in out
    before, after = read_image(photo / "photo.png").pixels, read_image(photo / "o.png").pixels
    changed = (before != after).any(-1)
    assert changed[10:20, 15:40].mean() > 0.9
    changed[10:20, 15:40] = False
    assert not changed.any()
    before, after = (cv2.imread(str(photo / name), cv2.IMREAD_UNCHANGED) for name in ("photo.png", "o.png"))
    changed = (before != after).any(-1)  # to a reader that is not ours
    assert changed[10:20, 15:40].mean() > 0.9
    changed[10:20, 15:40] = False
    assert not changed.any()


def test_a_lossy_output_is_said(photo: Path, capsys: pytest.CaptureFixture[str]):
    words = ("fill", photo / "photo.png", "--mask", photo / "mask.png", "-o", photo / "o.jpg", "--model", "telea")
    assert "o.jpg" in (said := mend(capsys, *words)[1])
    assert ".jpg is lossy" in said


def test_texture_that_does_nothing_is_said(photo: Path, capsys: pytest.CaptureFixture[str]):
    all_but_a_row = np.full((45, 61, 1), 255, np.uint8)
    all_but_a_row[0] = 0
    write_image(photo / "mask.png", all_but_a_row)
    words = ("fill", photo / "photo.png", "--mask", photo / "mask.png", "-o", photo / "o.png")
    words = (*words, "--hole", "white", "--model", "telea")  # else so large a one is asked about
    assert "\n  no texture was made: too little" in mend(capsys, *words, "--texture")[1]
    assert "no texture" not in mend(capsys, *words)[1]


def test_grow_and_feather_blend_in_the_ring_alone(photo: Path, capsys: pytest.CaptureFixture[str]):
    def pixels(name: str, *more: object) -> np.ndarray:
        words = ("fill", photo / "photo.png", "--mask", photo / "mask.png", "-o", photo / name, "--model", "mean-colour")
        assert mend(capsys, *words, *more)[0] == 0
        return read_image(photo / name).pixels.astype(int)

    before, grown = read_image(photo / "photo.png").pixels.astype(int), pixels("g.png", "--grow", 3)
    soft = pixels("f.png", "--grow", 3, "--feather", 3)
    assert np.array_equal(soft[10:20, 15:40], grown[10:20, 15:40]), "what was marked is replaced entirely"
    assert np.allclose(soft[7, 15:40], 0.75 * before[7, 15:40] + 0.25 * grown[7, 15:40], atol=1)
    soft[7:23, 12:43] = before[7:23, 12:43]
    assert np.array_equal(soft, before)
    words = ("fill", photo / "photo.png", "--mask", photo / "mask.png", "-o", photo / "o.png", "--model", "telea")
    code, _, err = mend(capsys, *words, "--feather", 2)
    assert "--feather 2 is more than --grow 0" in err
    assert (code, "--grow 2 or more" in err, (photo / "o.png").exists()) == (1, True, False)


def test_a_preview_fills_nothing(photo: Path, capsys: pytest.CaptureFixture[str]):
    words = ("fill", photo / "photo.png", "--mask", photo / "mask.png", "--model", "telea")
    code, out, _ = mend(capsys, *words, "-o", photo / "o.png", "--preview", photo / "p.png", "--hole", "black")
    assert code == 0
    assert "90.9% of photo.png to be filled" in out
    assert not (photo / "o.png").exists()
    before, shown = read_image(photo / "photo.png").pixels, read_image(photo / "p.png").pixels
    assert (shown[0] != before[0]).any(-1).all()
    assert np.array_equal(shown[14:16, 19:36], before[14:16, 19:36])
    code, _, err = mend(capsys, *words, "--preview", photo / "mask.png")
    assert (code, "mask.png is an input" in err) == (1, True)


def test_the_hole_is_kept_as_a_mask_that_verifies(photo: Path, capsys: pytest.CaptureFixture[str]):
    folder, photo = photo, photo / "photo.png"
    kept, out = folder / "kept.png", folder / "out.png"
    fill = ("fill", photo, "--object", "largest", "--segmenter", "felzenszwalb", "--model", "telea", "-o", out)
    code, said, _ = mend(capsys, *fill, "--keep-mask", kept)
    assert (code, f"its mask: {kept}" in said) == (0, True)
    assert mend(capsys, "verify", photo, kept, out)[0] == 0
    shown, filled = kept.read_bytes(), out.read_bytes()
    code, said, _ = mend(capsys, *fill[:-2], "--preview", folder / "look.png", "--keep-mask", kept)
    assert (code, kept.read_bytes() == shown, "to be filled" in said) == (0, True, True)
    (folder / "here").symlink_to(folder)
    for name in ("kept.jpg", "out.png", "OUT.png", "here/out.png", photo.name):
        code, _, errors = mend(capsys, *fill, "--keep-mask", folder / name)
        assert code == 1
        assert out.read_bytes() == filled
        assert ("is an input" if name == photo.name else "kept as .png, in a file of its own") in errors


def test_fill_says_what_it_decided_and_asks_for_the_rest(photo: Path, capsys: pytest.CaptureFixture[str]):
    mask = np.zeros((45, 61, 4), np.uint8)
    mask[10:20, 15:40] = (0, 200, 0, 255)
    write_image(photo / "layer.png", mask)
    write_image(photo / "paint.png", np.ascontiguousarray(mask[..., :3]))
    (photo / "coco.json").write_text(
        json.dumps(
            {
                "images": [{"id": i, "file_name": f"{n}.png", "width": 61, "height": 45} for i, n in enumerate(("x", "photo"))],
                "annotations": [{"image_id": 1, "segmentation": [[15, 10, 40, 10, 40, 20, 15, 20]]}],
            }
        ),
        encoding="utf-8",
    )
    words = ("fill", photo / "photo.png", "-o", photo / "o.png", "--model", "mean-colour", "--mask")
    code, _, err = mend(capsys, *words, photo / "layer.png")
    assert (code, "--hole opaque (9.1%)" in err) == (1, True)
    filled = []
    for more, said in (((photo / "layer.png", "--hole", "opaque"), ""), ((photo / "paint.png",), "colours on black"),
                       ((photo / "coco.json",), "")):  # fmt: skip
        code, out, err = mend(capsys, *words, *more)
        assert code == 0, err
        assert said in out
        filled.append(read_image(photo / "o.png").pixels)
    mend(capsys, *words, photo / "mask.png")
    for pixels in filled:
        assert np.array_equal(pixels, read_image(photo / "o.png").pixels)


def test_a_mask_is_checked(photo: Path, capsys: pytest.CaptureFixture[str]):
    code, out, _ = mend(capsys, "mask", "check", photo / "mask.png", "--photo", photo / "photo.png", "-o", photo / "p.png")
    assert code == 0
    for said in (
        "mask.png: 61×45, mode L: 90.9% black, 9.1% white",
        "hole: white, 9.1% of the picture, 1 part\n",
        "largest part: 25×10 at x 15, y 10, 250 pixels",
    ):
        assert said in out
    before, shown = read_image(photo / "photo.png").pixels, read_image(photo / "p.png").pixels
    assert np.array_equal((shown != before).any(-1)[12:18, 17:38], np.ones((6, 21)))
    assert np.array_equal(shown[30:], before[30:])
    assert mend(capsys, "mask", "check", photo / "mask.png", "-o", photo / "grey.png")[0] == 0
    assert (read_image(photo / "grey.png").pixels[0] == 153).all()
    code, out, err = mend(capsys, "mask", "check", photo / "photo.png")
    assert (code, out, "cannot tell" in err) == (1, "", True)
    code, _, err = mend(capsys, "mask", "check", photo / "mask.png", "-o", photo / "mask.png")
    assert (code, "is an input" in err) == (1, True)


def test_bad_input_is_one_line_and_exit_1(photo: Path, run: Path, capsys: pytest.CaptureFixture[str]):
    write_image(photo / "small.png", smooth(5, 6, 0))
    fill = ("fill", photo / "photo.png", "--model", run, "-o", photo / "o.png", "--mask")
    for words, said in (
        ((*fill, photo / "small.png"), "is 6×5, its picture 61×45"),
        ((*fill, photo / "nothing.png"), "there is no file"),
        (("fill", photo / "photo.png", "--mask", photo / "mask.png", "-o", photo / "o.png", "--model", "nowhere"), "no model"),
        (("fill", photo / "photo.png", "--mask", photo / "mask.png", "-o", photo / "photo.png", "--model", run), "is an input"),
        (("masks", photo, "--out", photo / "m", "--segmenter", "stroke"), "Did you mean 'strokes'"),
        (("masks", photo, "--out", photo / "m", "--segmenter", "strokes", "--range", "a:b"), "expected START:STOP"),
        (("evaluate", run, "--protocol", "cifar"), "unknown protocol 'cifar'"),
        (
            ("train", "--data", "x", "--masks", "y", "--recipe", "referenc"),
            "unknown recipe 'referenc'. Did you mean 'reference'",
        ),
        (("train", "--data", "x", "--masks", "y", "--lr", "-1"), "--lr is -1"),
    ):
        code, _, err = mend(capsys, *words)
        assert code == 1, words
        assert said in err
        assert "Traceback" not in err
    assert not (photo / "o.png").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("fill", 2, "'mend fill' needs PHOTO; 'mend fill --help' says"),
        ("train", 2, "'mend train' needs --data; "),
        ("fill photo.png --mask", 2, "--mask needs a value after it; 'mend fill --help' says"),
        ("fill photo.png --mask=", 2, "the name of a file is empty"),
        (f"fill photo.png --mask mask.png -o {300 * 'x'}.png", 1, ".png: file name too long."),
        ("fill photo.png mask.png", 2, "what is mask.png? If it is the mask, write --mask mask.png."),
        ("fill photo.png b.png --mask mask.png", 2, "what is b.png? To fill many, put them into a folder"),
        ("fill photo.png --mask mask.png --texture yes", 2, "what is yes?"),
        ("fill photo.png --mask mask.png --outptu o.png", 2, "Unknown option: --outptu. Did you mean --output?"),
        ("fill https://example.org/a.png --mask mask.png", 2, "https://example.org/a.png is an address; mend reads files of"),
        ("fill photo.png --mask https://example.org/a.png", 2, "is an address"),
        ("mask check photo.png --mask mask.png", 2, "what is photo.png? 'mend mask check --help' says what it takes."),
        (
            "verify photo.png b.png --mask mask.png",
            2,
            "what is b.png? Name each file by its flag, or all without, in the order",
        ),
        ("fill photo.png", 1, "what is to be filled? Add --mask FILE"),
        ("fill photo.png --mask mask.png --object dog", 1, "--mask and --object both say what is to be filled"),
        (
            "fill photo.png --mask mask.png -o new/",
            1,
            "new does not name a picture file. Name one, such as new/photo-filled.png",
        ),
        ("fill photo.png --mask mask.png -o there", 1, "there does not name a picture file. Name one, such as there/photo-fil"),
        ("fill photo.png --mask mask.png --seam", 1, "The network that comes with mend does not. Leave --seam out."),
        ("fill photo.png --mask mask.png --max-memory 1MB", 1, "--max-memory is 1 MB, which is too little: 61×45 pixels take "),
        ("fill photo.png --mask eps.eps", 1, "eps.eps is EPS, which is a program: to draw it takes Ghostscript."),
        ("fill there --mask mask.png", 1, "there is a folder. Name another one for the results: --output FOLDER"),
        ("fill there --mask mask.png -o photo.png", 1, "photo.png is a file; --output is to be a folder, since there is one."),
    ],
)
def test_what_a_newcomer_gets_wrong_is_said_with_what_to_do(
    words: str, code: int, said: str, photo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(photo)
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", False)
    Path("there").mkdir()
    Image.new("RGB", (9, 9)).save("eps.eps")
    before = sorted(photo.rglob("*"))
    found, out, errors = mend(capsys, *words.split())
    assert (found, out, said in errors) == (code, "", True), errors
    assert errors.count("\n") == 1, "one line"
    assert sorted(photo.rglob("*")) == before


def test_an_error_of_the_system_is_a_sentence(photo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def refuse(*given: object) -> None:
        raise PermissionError(13, "Permission denied", "/proc/1/cwd")

    monkeypatch.setattr("mend.filling.pairing.plan_folder", refuse)
    words = ("fill", photo, "--mask", photo / "mask.png", "-o", photo / "out")
    assert mend(capsys, *words) == (1, "", "mend: /proc/1/cwd: permission denied.\n")


def test_a_picture_on_standard_output_is_called_so(photo: Path):
    fill = [sys.executable, "-m", "mend", "fill", "photo.png", "--mask", "mask.png", "--model", "telea"]
    for target in ("-", "/dev/stdout") if os.name == "posix" else ("-",):
        done = subprocess.run([*fill, "-o", target], cwd=photo, capture_output=True, check=True)
        assert b"standard output: 9.1% of photo.png filled" in done.stderr
        assert done.stdout.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("number", "system", "said"),
    [
        (28, "No space left on device", "no space left on the disk"),
        (30, "Read-only file system", "o.png cannot be written: its disk can only be read. Write to another folder"),
    ],
)
def test_a_disk_that_takes_nothing_is_said(
    number: int, system: str, said: str, photo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def refuse(self: Path, data: bytes) -> int:
        raise OSError(number, system, str(self))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    code, _, err = mend(
        capsys, "fill", photo / "photo.png", "--mask", photo / "mask.png", "-o", photo / "o.png", "--model", "telea"
    )
    assert (code, said in err) == (1, True), err
    assert not (photo / "o.png").exists()


def test_ctrl_c_and_faults(capsys: pytest.CaptureFixture[str], photo: Path, monkeypatch: pytest.MonkeyPatch):
    for raised, code, said in (
        (KeyboardInterrupt(), 130, "stopped. Nothing was written."),
        (MemoryError(), 1, "out of memory. Try a smaller picture, or --max-memory"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
            1,
            "out of memory. Try a smaller picture, or --max",
        ),
        (RuntimeError("odd"), 2, "RuntimeError: odd"),
    ):

        def fail(*args: object, raised: BaseException = raised) -> None:
            raise raised

        monkeypatch.setattr("mend.filling.job.read_image", fail)
        words = ("fill", photo / "photo.png", "--mask", photo / "mask.png", "-o", photo / "o.png", "--model", "telea")
        assert mend(capsys, *words)[0] == code
        try:
            main([str(w) for w in words])
        except SystemExit:
            assert said in capsys.readouterr().err
    with pytest.raises(RuntimeError, match="odd"):
        main([*(str(w) for w in words), "--debug"])
    monkeypatch.setattr("mend.filling.verify.verify", lambda *_: bytearray(1 << 60))
    code, _, err = mend(capsys, "verify", photo / "photo.png", photo / "mask.png", photo / "photo.png")
    assert (code, err) == (1, "mend: out of memory. Try smaller pictures.\n")


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What a command run here reports as done, and of how much."""
    reports: list[tuple[int, int]] = []

    @contextmanager
    def progress(label: str, unit: str) -> Iterator[Callable[[int, int], None]]:
        yield lambda done, of: reports.append((done, of))

    monkeypatch.setattr("mend.cli.experiment.progress", progress)
    return reports


def test_masks_go_on_after_ctrl_c(tmp_path: Path, capsys: pytest.CaptureFixture[str], reported: list[tuple[int, int]]):
    out = tmp_path / "masks" / "test"
    words = ["masks", "photos", "--split", "test", "--size", "48", "--segmenter", "felzenszwalb", "--out", str(out.parent)]
    stopped(["-m", "mend", *words], lambda: (out / "done.npy").exists() and np.load(out / "done.npy").any())
    done = np.load(out / "done.npy")
    kept = np.load(out / "masks.npy")[done]
    assert 0 < done.sum() < len(done), "it was over before it was stopped"
    assert mend(capsys, *words)[0] == 0
    assert (reported[0], reported[-1]) == ((done.sum(), len(done)), (len(done), len(done)))
    assert np.array_equal(np.load(out / "masks.npy")[done], kept)


@pytest.mark.slow
def test_an_evaluation_goes_on_after_ctrl_c(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    masks, result = tmp_path / "masks", tmp_path / "result.json"
    assert mend(capsys, "masks", "photos", "--split", "test", "--segmenter", "strokes", "--out", masks)[0] == 0
    words = ["evaluate", "mean-colour", "--protocol", "photos-object-v1", "--masks", str(masks), "--metrics", "psnr"]
    words += ["--limit", "120", "--device", "cpu", "--out", str(tmp_path / "result")]
    stopped(["-m", "mend", *words], result.exists)
    before = json.loads(result.read_text(encoding="utf-8"))["methods"]
    written = {name: (tmp_path / "result" / f"{name}.parquet").stat().st_mtime_ns for name in before}
    assert "mean-colour" in before
    assert "biharmonic" not in before, "it was over before it was stopped"
    assert mend(capsys, *words)[0] == 0
    after = json.loads(result.read_text(encoding="utf-8"))["methods"]
    assert set(after) == set(CLASSICAL)
    for name in before:
        assert after[name] == before[name]
        assert (tmp_path / "result" / f"{name}.parquet").stat().st_mtime_ns == written[name], "it was scored again"


FILL = """
import sys
from pathlib import Path
from skimage.restoration import inpaint_biharmonic  # before: what is stopped is the filling, not an import
from mend import cli
from mend.inpaint import classical
biharmonic = classical.CLASSICAL["biharmonic"]


def marked(masked, hole):
    Path(sys.argv[1]).touch()
    return biharmonic(masked, hole)


classical.CLASSICAL["biharmonic"] = marked
cli.main(sys.argv[2:])
"""


def test_ctrl_c_while_filling_leaves_no_file(tmp_path: Path):
    photo, mask, out, filling = (tmp_path / name for name in ("photo.png", "mask.png", "out.png", "filling"))
    y, x = np.mgrid[:2000, :2000]
    write_image(photo, np.full((2000, 2000, 3), 90, np.uint8))
    write_image(mask, ((y % 12 < 6) & (x % 12 < 6)).astype(np.uint8)[..., None] * 255)  # 27,889 holes: some seconds of work
    words = ["fill", str(photo), "--mask", str(mask), "-o", str(out), "--model", "biharmonic"]
    stopped(["-c", FILL, str(filling), *words], filling.exists, says="Nothing was written.")
    assert {file.name for file in tmp_path.iterdir()} == {"photo.png", "mask.png", "filling"}


def test_the_recipe_stands_below_the_flags(folder: Path, masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "r.toml").write_text('epochs = 1\nwidth = 2\nmodel = "unet"\n[loss]\nhole_l1 = 2.0\n')
    words = (
        "train",
        "--data",
        folder,
        "--masks",
        masks,
        "--recipe",
        tmp_path / "r.toml",
        "--width",
        3,
        "--out",
        tmp_path / "run",
    )
    code, _, err = mend(capsys, *words)
    assert code == 0, err
    import tomllib

    config = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert (config["epochs"], config["width"], config["model"], config["loss"]) == (1, 3, "unet", {"hole_l1": 2.0})


@pytest.mark.slow
def test_the_whole_way_from_masks_to_report(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    masks, run, result = tmp_path / "masks", tmp_path / "runs" / "a", tmp_path / "result"
    (tmp_path / "p.toml").write_text(
        f'name = "p"\ntitle = "P"\ndata = "{folder.as_posix()}"\nmasks = "{masks.as_posix()}"\nmetrics = ["psnr", "mae"]\n'
    )
    for words in (
        ("masks", folder, "--segmenter", "strokes", "--out", masks),
        ("masks", "show", masks / "train"),
        ("train", "--data", folder, "--masks", masks, "--model", "autoencoder", "--width", 2, "--epochs", 1, "--out", run),
        ("evaluate", run, "--protocol", tmp_path / "p.toml", "--out", result),
        ("report", run, "--results", f"{result}.json", "--out", tmp_path / "report"),
        ("export", run, "-o", tmp_path / "a.onnx"),
    ):
        code, out, err = mend(capsys, *words)
        assert code == 0, (words, err)
        assert out.strip()
    assert (masks / "train" / "contact-sheet.png").exists()
    assert "biharmonic" in (tmp_path / "report" / "report.html").read_text()
    assert re.search(r"a\.onnx: differs from PyTorch by at most \de-\d\d, where white is 1", out)


@needs_signals
def test_a_reader_that_stops_early_is_no_fault(photo: Path):
    run = "from mend.cli import main; main(); import sys; sys.stdout.flush()"
    mask = str(photo / "mask.png")
    fill = ["fill", str(photo / "photo.png"), "--mask", mask, "-o", "-", "--model", "mean-colour"]
    for words, code in (["--help"], 1), (["mask", "check", mask], 141), (fill, 141):  # help is Rich's
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run([sys.executable, "-c", run, *words], stdout=writing, stderr=subprocess.PIPE, text=True)
        os.close(writing)
        assert (done.returncode, done.stderr.removeprefix("plan: whole; no network\n")) == (code, "")
    closed = f"exec '{sys.executable}' -m mend mask check '{photo / 'mask.png'}' >&-"
    assert subprocess.run(["sh", "-c", closed], check=False).returncode == 0


def test_pixels_are_whole_numbers(photo: Path, capsys: pytest.CaptureFixture[str]):
    words = ("fill", photo / "photo.png", "--mask", photo / "mask.png", "--model", "telea", "-o", photo / "out.png")
    with pytest.raises(SystemExit):
        main([*map(str, words), "--grow", "1.5"])
    assert "1.5" in "".join(capsys.readouterr())
    assert not (photo / "out.png").exists()


def test_a_warning_is_a_sentence_without_a_line_of_code(tmp_path: Path):
    pixels = smooth(16, 24, 0)
    write_image(tmp_path / "truth" / "0.png", pixels)
    write_image(tmp_path / "filled" / "0.png", np.dstack([pixels, np.full((16, 24), 128, np.uint8)]))
    write_image(tmp_path / "masks" / "0.png", np.pad(np.full((4, 4, 1), 255, np.uint8), ((6, 6), (10, 10), (0, 0))))
    folders = ["--truth", "truth", "--filled", "filled", "--masks", "masks"]
    command = [sys.executable, "-m", "mend", "evaluate", *folders, "--metrics", "psnr", "--no-classical"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    said = [line for line in ran.stderr.splitlines() if "transparency" in line]
    assert said == ["mend: filled/0.png, and perhaps others: its transparency is not scored, only the colours under it"], ran


def test_help_imports_nothing_heavy():
    code = "import sys; sys.argv = ['mend', '--help']\ntry:\n import mend.cli; mend.cli.main()\nexcept SystemExit: pass\n"
    heavy = "print([m for m in ('torch', 'numpy', 'lightning', 'torchmetrics', 'cv2', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + heavy], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip().endswith("[]")


def test_fill_imports_no_training_or_metrics(photo: Path, run: Path):
    words = ["fill", photo / "photo.png", "--mask", photo / "mask.png", "-o", photo / "o.png", "--model", run]
    code = f"import sys, mend.cli\ntry:\n mend.cli.main({[str(w) for w in words]!r})\nexcept SystemExit: pass\n"
    names = ("lightning", "torchmetrics", "torchvision", "datasets", "transformers", "pandas")
    heavy = f"print([m for m in {names} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + heavy], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip().endswith("[]"), done.stdout
