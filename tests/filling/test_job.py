import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, mend, needs_signals, smooth
from pictures import mask, picture
from PIL import Image

from mend.cli import main
from mend.errors import InputError
from mend.filling.inpainter import load
from mend.filling.job import Job, fill_file, read_job
from mend.filling.options import Options
from mend.filling.summary import read_summary
from mend.images import Picture, read_image, write_image

Piped = Callable[..., tuple[int, bytes, str]]
TELEA = Options(model="telea")
FORMATS = ("png", "jpg", "webp", "tiff", "gif", "bmp", "avif", "ppm", "tga", "jp2")


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_its_bytes_and_a_folder_become_the_same_file(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    photo, one = tmp_path / "photos" / f"a.{suffix}", mask(tmp_path / "mask.png")
    photo.parent.mkdir()
    Image.fromarray(smooth(24, 32, 0)).save(photo)
    result = fill_file(Job(photo.read_bytes(), one.read_bytes(), name=photo.name, options=TELEA), load("telea"))
    assert result.data is not None
    assert mend(capsys, "fill", photo, "--mask", one, "--model", "telea")[0] == 0
    (alone,) = photo.parent.glob("a-filled.*")
    assert (alone.name, alone.read_bytes()) == (result.name, result.data)
    alone.unlink()
    assert mend(capsys, "fill", photo.parent, "--mask", one, "--model", "telea", "-o", tmp_path / "out")[0] == 0
    (of_folder,) = (tmp_path / "out").glob("a.*")
    assert of_folder.read_bytes() == result.data
    assert of_folder.suffix == (photo.suffix if suffix in FORMATS[:4] else ".png")
    assert ("written as PNG, which keeps every value" in result.notes) == (suffix not in FORMATS[:4])
    (outcome,) = read_summary(tmp_path / "out" / "mend-fill.json").files.values()
    assert outcome.notes == [note for note in result.notes if "as PNG" not in note], "said of the folder as a whole"


def test_a_picture_without_a_name_keeps_its_format(tmp_path: Path):
    for suffix, name in (("jpg", "photo-filled.jpeg"), ("webp", "photo-filled.webp"), ("gif", "photo-filled.png")):
        photo = io.BytesIO()
        Image.fromarray(smooth(24, 32, 0)).save(photo, Image.registered_extensions()[f".{suffix}"])
        assert fill_file(Job(photo.getvalue(), mask(tmp_path / "m.png"), options=TELEA)).name == name


def test_a_name_that_lies_is_said_as_of_a_file(tmp_path: Path):
    photo, one = picture(tmp_path / "a.png"), mask(tmp_path / "m.png")
    photo = photo.rename(tmp_path / "a.jpg")
    for job in (Job(photo, one, options=TELEA), Job(photo.read_bytes(), one, name="a.jpg", options=TELEA)):
        result = fill_file(job)
        assert result.name == "a-filled.png"
        assert "a.jpg is a PNG by its content" in result.notes


def test_a_picture_in_memory_is_filled(tmp_path: Path):
    photo = read_image(picture(tmp_path / "a.png"))
    photo.pixels = photo.pixels // 2
    result = fill_file(Job(photo, mask(tmp_path / "m.png"), name="a.png", options=TELEA))
    assert np.array_equal(read_image(result.data or b"").pixels, result.filled.pixels)
    outside = result.hole[0, 0] == 0
    assert np.array_equal(result.filled.pixels[outside], photo.pixels[outside])
    write_image(tmp_path / "none.png", np.zeros((24, 32, 1), np.uint8))
    empty = fill_file(Job(photo, tmp_path / "none.png", name="a.png", options=TELEA))
    assert np.array_equal(read_image(empty.data or b"").pixels, photo.pixels), "the file of before was copied"


def test_a_file_that_does_not_hold_its_promise_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wrong = smooth(24, 32, 0)
    wrong[0, 3] ^= 1
    data = io.BytesIO()
    Image.fromarray(wrong).save(data, "PNG")
    job = Job(Picture(smooth(24, 32, 0)), mask(tmp_path / "m.png"), tmp_path / "a.png", tmp_path / "k.png", options=TELEA)
    monkeypatch.setattr("mend.filling.verify.encode", lambda *_: (data.getvalue(), ""))
    with pytest.raises(InputError, match=r"a\.png was not written: read back, .* pixels .* differ"):
        fill_file(job)
    assert [file.name for file in tmp_path.iterdir()] == ["m.png"]


def test_jobs_that_cannot_be(tmp_path: Path):
    photo, one = picture(tmp_path / "a.png"), mask(tmp_path / "m.png")
    before = photo.read_bytes()
    with pytest.raises(InputError, match="either a `mask` or an `object`"):
        Job(photo)
    with pytest.raises(InputError, match="either a `mask` or an `object`"):
        Job(photo, one, options=Options(object="dog"))
    with pytest.raises(InputError, match="`hole` says what marks the hole in a mask, and does not fit `object`"):
        Job(photo, options=Options(object="dog", hole="black"))
    with pytest.raises(InputError, match="`feather=2` is more than `grow=1`.* give `grow=2` or more"):
        Job(photo, options=Options(object="dog", grow=1, feather=2))
    assert Job(photo, options=Options(object="dog", feather=2)).options.feather == 2, "which may be less than it is grown by"
    for options, said in (
        (Options(hole="blak"), "unknown mark of a hole 'blak'. Did you mean 'black'"),
        (Options(max_memory="2"), "`max_memory` is '2'; expected a number and a unit"),
        (Options(model="nowhere"), "no model"),
        (Options(quality=50), "`quality` is 50 for a-filled.png"),
    ):
        with pytest.raises(InputError, match=said):
            fill_file(Job(photo, one, options=options))
    for job, said in (
        (Job(photo, one, photo, options=TELEA), "is an input"),
        (Job(str(photo), str(one), str(photo), options=TELEA), "is an input"),  # type: ignore[arg-type]
        (Job(photo, one, keep_mask=one, options=TELEA), "is an input"),
        (Job(photo, one, tmp_path, options=TELEA), "is a folder"),
        (Job(photo, one, keep_mask=tmp_path / "k.jpg", options=TELEA), "`keep_mask` is .*kept as .png"),
        (Job(b"", one, options=TELEA), "the picture is empty"),
        (Job(b"", one, name="b.jpg", options=TELEA), "b.jpg is empty"),
        (Job(photo, b"no picture", options=TELEA), "the mask is not a picture"),
    ):
        with pytest.raises(InputError, match=said):
            fill_file(job)
    assert (photo.read_bytes(), len(list(tmp_path.iterdir()))) == (before, 2)


# --- Standard input and output ---------------------------------------------------------------------------------------


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Piped:
    """Runs `mend fill` with bytes on standard input: its exit code, and what went to standard output and standard error."""

    def run(given: bytes, *words: object) -> tuple[int, bytes, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        code = 0
        try:
            main(["fill", *map(str, words), "--model", "telea"])
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = capsysbinary.readouterr()
        return code, out, err.decode()

    return run


def test_a_photo_comes_from_standard_input_and_goes_to_standard_output(tmp_path: Path, piped: Piped):
    photo, one = picture(tmp_path / "a.jpg"), mask(tmp_path / "m.png")
    expected = fill_file(Job(photo, one, options=TELEA)).data
    for given, words in (
        (photo, ("-", "--mask", one, "-o", "-")),
        (one, (photo, "--mask", "-", "-o", "-")),
        (photo, (photo, "--mask", one, "--output=/dev/stdout")),
    ):
        code, out, err = piped(given.read_bytes(), *words)
        assert (code, out == expected) == (0, True), err
        assert "plan: " in err
        assert "12.5% of " in err


@needs_signals
def test_a_shells_pipes_and_files_that_begin_with_a_dash(tmp_path: Path):
    photo, one = tmp_path / "-a.png", mask(tmp_path / "-m.png", 256, 256)
    write_image(photo, np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8))  # more than a pipe has room for
    fill = f"'{sys.executable}' -m mend fill --model telea"
    script = f"""
        cat ./-a.png | {fill} - --mask <(cat ./-m.png) -o - | cat > piped.png
        {fill} -a.png --mask -m.png -o -o.png
        {fill} /dev/stdin --mask=-m.png -o /dev/stdout < ./-a.png > redirected.png
        {fill} -o - --mask -m.png -- -a.png | head -c 9 > /dev/null; echo "${{PIPESTATUS[0]}}"
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    expected = fill_file(Job(photo, one, options=TELEA)).data
    for name in ("-o.png", "piped.png", "redirected.png"):
        assert (tmp_path / name).read_bytes() == expected, (name, done.stderr)
    assert "% of -a.png filled" in done.stdout
    assert done.stdout.endswith("\n141\n"), "as of a program that SIGPIPE ended"


def test_annotations_come_from_standard_input(tmp_path: Path, piped: Piped):
    photo = picture(tmp_path / "a.png")
    boxes = json.dumps({"segmentation": [[2, 2, 10, 2, 10, 8, 2, 8]]}).encode()
    code, out, err = piped(boxes, photo, "--mask", "-", "-o", tmp_path / "o.png")
    assert (code, b"6.2% of a.png filled" in out) == (0, True), err
    code, out, err = piped(boxes[:20], photo, "--mask", "-", "-o", tmp_path / "p.png")
    assert (code, "the mask is not JSON" in err) == (1, True), err


def test_standard_input_that_cannot_be_used(tmp_path: Path, piped: Piped):
    one = mask(tmp_path / "m.png")
    for words, given, said in (
        (("-", "--mask", "-", "-o", "-"), b"x", "which holds one file. Name the other"),
        (("-", "--mask", one), b"x", "has no name from which to make another. Name a file"),
        (("-", "--mask", one, "-o", "-"), b"", "nothing came from standard input"),
        (("-", "--mask", one, "-o", "-"), b"no picture", "is not a picture"),
        (("-", "--mask", one, "-o", "-"), one.read_bytes()[:60], "is damaged"),
        (("-", "--mask", one, "-o", "-", "--keep-mask", one), one.read_bytes(), "is an input"),
        (("-", "--masks", tmp_path, "-o", "-"), b"", "- is no folder"),
    ):
        code, out, err = piped(given, *words)
        assert (code, out) == (1, b""), words
        assert said in err
    assert [file.name for file in tmp_path.iterdir()] == ["m.png"]


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
def test_of_several_frames_the_first_is_filled_where_that_is_asked_for(name: str, tmp_path: Path):
    frames = [Image.fromarray(smooth(24, 32, seed)) for seed in range(3)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
    one = mask(tmp_path / "m.png")
    for photo in (tmp_path / name, (tmp_path / name).read_bytes()):
        with pytest.raises(InputError, match="has 3 frames or pages, and one can be filled. Add `first_frame=True` to fill"):
            fill_file(Job(photo, one, name=name, options=TELEA))
    result = fill_file(Job(tmp_path / name, one, options=Options(model="telea", first_frame=True)))
    assert "pixels outside the hole are identical as read (" in result.notes[0]
    assert ": the first of 3 is taken)" in result.notes[0]
    assert not any("the first of 3" in note for note in result.notes[1:]), "said twice"
    assert read_image(result.data or b"").losses == []
    opened = read_image(tmp_path / name)  # by somebody who sees what was opened
    assert np.array_equal(fill_file(Job(opened, one, name=name, options=TELEA)).filled.pixels, result.filled.pixels)


@pytest.mark.parametrize("channels", [2, 4])
def test_a_transparent_hole_is_made_opaque_where_that_is_asked_for(channels: int, tmp_path: Path):
    pixels = np.dstack([smooth(24, 32, 0)[..., : channels - 1], np.full((24, 32), 200, np.uint8)])
    pixels[6:14, 8:20, -1] = 0
    write_image(tmp_path / "a.png", pixels)
    one, filled = mask(tmp_path / "m.png"), {}
    for opaque in (False, True):
        result = fill_file(Job(tmp_path / "a.png", one, options=Options(model="telea", opaque=opaque)))
        filled[opaque] = read_image(result.data or b"").pixels
        said = ["96 of the 96 pixels of the hole are not opaque, and stay so", "`opaque=True` makes what is filled opaque"]
        assert [note for note in said if note in result.notes] == ([] if opaque else said)
    inside = result.hole[0, 0] > 0
    assert not filled[False][inside, -1].any()
    assert (filled[True][inside, -1] == 255).all()
    assert (filled[True][~inside, -1] == 200).all()
    assert np.array_equal(filled[True][..., :-1], filled[False][..., :-1])


def test_what_may_not_be_written_is_said_before_anything_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Asked of the folder that is there: no file is tried out, and root may write where a disk can be written to."""
    photo, one = picture(tmp_path / "a.png"), mask(tmp_path / "m.png")
    asked: list[str] = []
    monkeypatch.setattr("os.access", lambda folder, how: asked.append(str(folder)))
    job = Job(photo, one, tmp_path / "new" / "folder" / "out.png", options=TELEA)
    with pytest.raises(InputError, match=r"out\.png may not be written: no permission"):
        read_job(job)
    assert asked == [str(tmp_path)]
    monkeypatch.setattr("os.statvfs", lambda folder: SimpleNamespace(f_flag=os.ST_RDONLY))
    with pytest.raises(InputError, match=r"out\.png cannot be written: its disk can only be read"):
        read_job(job)
    assert not (tmp_path / "new").exists()
