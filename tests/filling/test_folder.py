import json
import re
import shutil
import time
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import inside, peak, stopped
from conftest import mend as run_mend
from pictures import mask, picture

import mend
from mend.errors import InputError
from mend.filling.folder import AHEAD, fill_folder, run_pipeline
from mend.filling.job import FilledWork, Job, Result, Work, read_job, write_job
from mend.filling.options import Options
from mend.filling.pairing import Plan, plan_folder
from mend.filling.summary import Outcome, Summary, read_summary
from mend.images import Picture, read_image
from mend.inpaint.onnx import DEFAULT

# --- Doing it --------------------------------------------------------------------------------------------------------


def test_a_folder_is_filled_as_its_pictures_are_one_by_one(tree: Path):
    telea = mend.load("telea")
    told: list[tuple[str, int, int]] = []
    plan = plan_folder(tree / "photos", tree / "out", tree / "masks")
    summary = fill_folder(plan, Options(), telea, on_file=lambda name, result, done, of: told.append((name, done, of)))
    assert summary.count("filled") == 3
    assert sorted(name for name, _, _ in told) == sorted(pair.name for pair in plan.pairs)
    assert (told[-1][1], {of for _, _, of in told}) == (3, {3})
    for pair in plan.pairs:
        alone = np.asarray(telea(pair.photo, pair.mask))
        assert np.array_equal(read_image(pair.output).pixels, alone)
    record = json.loads((tree / "out" / "mend-fill.json").read_text(encoding="utf-8"))
    assert (record["mend"], record["model"], record["pictures"]) == (mend.__version__, "telea", 3)
    assert (record["filled"], record["skipped"], record["failed"]) == (3, 0, 0)
    one = record["files"]["b/Ünïcode name.png"]
    assert (one["status"], one["coverage"], one["output"]) == ("filled", 0.125, str(tree / "out" / "b" / "Ünïcode name.png"))
    assert one["seconds"] >= 0
    assert {file.name for file in (tree / "out").rglob("*") if file.is_file()} == {
        "a.png",
        "Ünïcode name.png",
        "mend-fill.json",
    }


def test_a_bad_file_is_named_and_the_others_are_filled(tree: Path):
    photos, masks = tree / "photos", tree / "masks"
    for name in ("empty", "cut", "text", "small", "blind", "depth"):
        picture(photos / f"{name}.png")
        mask(masks / f"{name}.png")
    (photos / "empty.png").write_bytes(b"")
    (photos / "cut.png").write_bytes((photos / "a.png").read_bytes()[:200])
    (photos / "text.png").write_text("no picture")
    mask(masks / "small.png", 20, 20)
    (masks / "blind.png").unlink()
    (masks / "depth.png").write_bytes(b"")
    summary = fill_folder(plan_folder(photos, tree / "out", masks), Options(), mend.load("telea"))
    assert summary.count("filled") == 3
    errors = {name: result.error or "" for name, result in summary.files.items() if result.status == "failed"}
    for name, said in (
        ("empty", "is empty (0 bytes)"),
        ("cut", "is damaged"),
        ("text", "is not a picture"),
        ("small", "is 20×20, its picture 32×24"),
        ("blind", "no mask: expected"),
        ("depth", "depth.png is empty"),
    ):
        assert said in errors.pop(f"{name}.png"), name
    assert not errors
    assert not (tree / "out" / "cut.png").exists()


def test_faults_and_full_disks(tree: Path, monkeypatch: pytest.MonkeyPatch):
    plan = plan_folder(tree / "photos", tree / "out", tree / "masks")

    def faulty(job: Job) -> Work:
        if job.mask == tree / "masks" / "a.png":
            raise RuntimeError("odd")
        return read_job(job)

    monkeypatch.setattr("mend.filling.folder.read_job", faulty)
    summary = fill_folder(plan, Options(), mend.load("telea"))
    assert summary.count("filled") == 2
    assert summary.files["a.png"].error == "RuntimeError: odd"

    def full(work: FilledWork) -> None:
        raise OSError(28, "No space left on device", str(work.work.target))

    monkeypatch.setattr("mend.filling.folder.write_job", full)
    with pytest.raises(OSError, match="No space"):
        fill_folder(plan, Options(), mend.load("telea"))


def test_existing_outputs_are_skipped_when_asked(tree: Path):
    telea = mend.load("telea")
    (tree / "out").mkdir()
    (tree / "out" / "a.png").write_text("here before")
    summary = fill_folder(plan_folder(tree / "photos", tree / "out", tree / "masks", skip_existing=True), Options(), telea)
    assert (summary.count("skipped"), summary.count("filled")) == (1, 2)
    assert (tree / "out" / "a.png").read_text() == "here before"
    plan = plan_folder(tree / "photos", tree / "out", tree / "masks")
    assert fill_folder(plan, Options(), telea).count("filled") == 3


def test_few_pictures_are_in_memory_however_many_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Reading runs ahead, and writing behind, of a network that is faster than both."""
    alive: set[int] = set()
    most = read_so_far = 0
    for i in range(200):
        picture(tmp_path / "photos" / f"{i:03d}.png", i, 12, 12)

    def counted(file: Path, name: str) -> Picture:
        nonlocal most, read_so_far
        read_so_far += 1
        read = read_image(file)
        key = int(file.stem)
        alive.add(key)
        weakref.finalize(read, alive.discard, key)
        most = max(most, len(alive))
        return read

    def write(work: FilledWork) -> Result:
        time.sleep(0.004)
        return write_job(work)

    monkeypatch.setattr("mend.filling.job.read_image", counted)
    monkeypatch.setattr("mend.filling.folder.write_job", write)
    plan = plan_folder(tmp_path / "photos", tmp_path / "out", mask(tmp_path / "mask.png", 12, 12))
    told: list[int] = []
    fill_folder(plan, Options(), mend.load("mean-colour"), lambda name, result, done, of: told.append(read_so_far))
    assert len(told) == 200
    assert told[100] < 200, "half of them are told before the last is read"
    assert 1 < most <= 2 * AHEAD + 2


def test_memory_is_limited_for_a_folder_too(tmp_path: Path):
    """The peak of each runtime, reading and writing included, is what the plan of the largest picture says."""
    one = tmp_path / "mask.png"
    mask(one, 1500, 2000)
    for i in range(2):
        picture(tmp_path / "photos" / f"{i}.jpg", i, 1500, 2000)
    hole = inside(one)[None, None]
    for inpainter, words in ((mend.load(), []), (mend.load(DEFAULT, device="cpu"), ["--model", str(DEFAULT)])):
        plan = inpainter.plan(hole)
        most = f"{plan.memory / 2**20:.0f}MB"
        words = [*words, "--max-memory", most, "--device", "cpu"]
        assert peak(["fill", str(tmp_path / "photos"), "--mask", str(one), "-o", str(tmp_path / "out"), *words]) <= plan.memory


def test_one_picture_at_a_time_is_in_memory_where_that_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    alive: set[str] = set()
    for i in range(5):
        picture(tmp_path / "photos" / f"{i}.png", i)

    def counted(file: Path, name: str) -> Picture:
        assert not alive
        read = read_image(file)
        alive.add(file.name)
        weakref.finalize(read, alive.discard, file.name)
        return read

    monkeypatch.setattr("mend.filling.job.read_image", counted)
    plan = plan_folder(tmp_path / "photos", tmp_path / "out", mask(tmp_path / "mask.png"))
    summary = fill_folder(plan, Options(max_memory="1GB"), mend.load())
    assert summary.count("filled") == 5, summary.files


class Thing:
    """What can be looked after: whether anything holds it still."""


@pytest.mark.parametrize("step", ["read", "fill", "write"])
def test_what_failed_is_let_go_before_the_next_is_looked_at(step: str):
    """An error knows the frames that it went through, and so what they held."""
    alive: set[int] = set()

    def make(item: int) -> Thing:
        assert not alive
        thing = Thing()
        alive.add(item)
        weakref.finalize(thing, alive.discard, item)
        if step == "read":
            raise InputError(f"{item} {thing}")
        return thing

    def fill(thing: Thing) -> Thing:
        if step == "fill":
            raise InputError(f"{thing}")
        return thing

    def write(item: int, thing: Thing) -> None:
        if step == "write":
            raise InputError(f"{item} {thing}")

    items = []
    for item, error in run_pipeline(range(4), make, fill, write, AHEAD, alone=True):
        assert isinstance(error, InputError), error
        del error
        items.append(item)
    assert items == [0, 1, 2, 3]


SLOW = """
import sys, time
from mend import cli
from mend.inpaint import classical
telea = classical.CLASSICAL["telea"]
classical.CLASSICAL["telea"] = lambda masked, hole: (time.sleep(0.05), telea(masked, hole))[1]
cli.main(sys.argv[1:])
"""


def test_ctrl_c_keeps_what_was_written_and_the_run_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    photos, out, one = tmp_path / "photos", tmp_path / "out", mask(tmp_path / "mask.png")
    for i in range(40):
        picture(photos / f"{i:02d}.png", i)
    words = ["fill", str(photos), "--mask", str(one), "-o", str(out), "--model", "telea"]
    stopped(["-c", SLOW, *words], lambda: len(list(out.glob("*.png"))) >= 5)
    kept = {file: file.stat().st_mtime_ns for file in out.glob("*.png")}
    assert 5 <= len(kept) < 40
    assert not list(out.glob(".*"))
    record = json.loads((out / "mend-fill.json").read_text(encoding="utf-8"))
    assert record["filled"] == len(kept)
    for file in kept:
        read_image(file)
    code, said, _ = run_mend(capsys, *words, "--skip-existing")
    assert code == 0
    assert f"{40 - len(kept)} filled, {len(kept)} skipped, 0 failed of 40 pictures" in said
    assert all(file.stat().st_mtime_ns == before for file, before in kept.items())


# --- The command -----------------------------------------------------------------------------------------------------


def test_the_command_counts_and_exits_with_1_where_something_failed(tree: Path, capsys: pytest.CaptureFixture[str]):
    words = ("fill", tree / "photos", "--masks", tree / "masks", "-o", tree / "out", "--model", "telea")
    code, said, _ = run_mend(capsys, *words)
    assert code == 0
    assert "out: 3 filled, 0 skipped, 0 failed of 3 pictures" in said
    (tree / "photos" / "a.png").write_bytes(b"")
    code, said, errors = run_mend(capsys, *words)
    assert code == 1
    assert "2 filled, 0 skipped, 1 failed" in said
    assert "a.png: " in errors
    assert "is empty (0 bytes)" in errors
    assert "Traceback" not in errors


def test_coco_annotations_of_a_whole_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for i, name in enumerate(("a.png", "b.png", "c.png")):
        picture(tmp_path / "photos" / name, i)
    images = [{"id": i, "file_name": f"{name}.png", "width": 32, "height": 24} for i, name in enumerate("ab")]
    boxes = ([2, 2, 10, 2, 10, 8, 2, 8], [20, 10, 30, 10, 30, 20, 20, 20])
    annotations = [{"image_id": i, "segmentation": [box]} for i, box in enumerate(boxes)]
    (tmp_path / "all.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    words = ["fill", tmp_path / "photos", "--mask", tmp_path / "all.json", "-o", tmp_path / "out", "--model", "telea"]
    code, said, err = run_mend(capsys, *map(str, words))
    assert (code, "2 filled, 0 skipped, 1 failed of 3" in said) == (1, True)
    assert "has no picture called 'c.png'" in err
    for name, (left, top, right, bottom) in (("a.png", (2, 2, 10, 8)), ("b.png", (20, 10, 30, 20))):
        before, after = (read_image(tmp_path / folder / name).pixels.copy() for folder in ("photos", "out"))
        assert (before != after).any(-1)[top:bottom, left:right].mean() > 0.8
        after[top:bottom, left:right] = before[top:bottom, left:right]
        assert np.array_equal(before, after)


def test_coco_annotations_tell_pictures_of_one_name_apart_by_their_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    names = ("a/1.png", "b/1.png", "2.png")
    for name in names:
        picture(tmp_path / "photos" / name)
    images = [{"id": i, "file_name": f"train/{name}", "width": 32, "height": 24} for i, name in enumerate(names)]
    annotations = [{"image_id": i, "segmentation": [[0, 0, i + 1, 0, i + 1, 1, 0, 1]]} for i in range(3)]
    (tmp_path / "all.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    parsed, loads = [], json.loads
    monkeypatch.setattr("json.loads", lambda text: (parsed.append(1), time.sleep(0.05), loads(text))[2])
    plan = plan_folder(tmp_path / "photos", tmp_path / "out", tmp_path / "all.json", keep_mask=tmp_path / "kept")
    assert fill_folder(plan, Options(), mend.load("telea")).count("filled") == 3
    assert [int(inside(tmp_path / "kept" / name).sum()) for name in names] == [1, 2, 3]
    assert len(parsed) == 1, "the file is read anew for each picture"
    (tmp_path / "one.json").write_text(
        json.dumps({"images": [images[0] | {"file_name": "a/1.png"}], "annotations": annotations})
    )
    plan = plan_folder(tmp_path / "photos", tmp_path / "out", tmp_path / "one.json")
    files = fill_folder(plan, Options(), mend.load("telea")).files
    assert (files["a/1.png"].status, files["b/1.png"].status) == ("filled", "failed")
    assert "its a/1.png is another picture, which is there" in (files["b/1.png"].error or "")
    plan = plan_folder(tmp_path / "photos" / "b", tmp_path / "out", tmp_path / "all.json", keep_mask=tmp_path / "kept")
    assert fill_folder(plan, Options(), mend.load("telea")).count("filled") == 1
    assert inside(tmp_path / "kept" / "1.png").sum() == 2, "the folder of the pictures counts, too"


def test_holes_are_kept_as_masks_by_which_the_folder_is_verified(tree: Path, capsys: pytest.CaptureFixture[str]):
    words = ("fill", tree / "photos", "--masks", tree / "masks", "-o", tree / "out", "--model", "telea", "--grow", "2")
    assert run_mend(capsys, *words, "--keep-mask", tree / "photos" / "kept")[0] == 0
    for name in ("a.png", "b/a.png", "b/Ünïcode name.png"):
        kept, given = tree / "photos" / "kept" / name, tree / "masks" / name
        assert run_mend(capsys, "verify", tree / "photos" / name, kept, tree / "out" / name)[0] == 0
        assert run_mend(capsys, "verify", tree / "photos" / name, given, tree / "out" / name)[0] == 1
    assert len(plan_folder(tree / "photos", tree / "out", tree / "masks", keep_mask=tree / "photos" / "kept").pairs) == 3
    with pytest.raises(InputError, match=r"masks.a\.png is an input; .* Choose another `keep_mask`"):
        plan_folder(tree / "photos", tree / "out", tree / "masks", keep_mask=tree / "masks")
    with pytest.raises(InputError, match=r"photos is the folder of the pictures; a mask there would be one"):
        plan_folder(tree / "photos", tree / "out", tree / "masks", keep_mask=tree / "photos")
    with pytest.raises(InputError, match=r"out is the `output`, where a picture has the name of its mask"):
        plan_folder(tree / "photos", tree / "out", tree / "masks", keep_mask=tree / "out")
    picture(tree / "photos" / "a.jpg")
    plan = plan_folder(tree / "photos", tree / "out", tree / "masks", keep_mask=tree / "photos" / "kept")
    assert [pair.problem for pair in plan.pairs if pair.problem] == [
        f"a.jpg and a.png would all become {tree / 'photos' / 'kept' / 'a.png'}. Rename them, or move them apart."
    ] * 2


def test_kept_masks_are_told_of_and_made_up_for(tree: Path, capsys: pytest.CaptureFixture[str]):
    words = ("fill", tree / "photos", "--masks", tree / "masks", "-o", tree / "out", "--model", "telea", "--skip-existing")
    kept = ("--keep-mask", tree / "kept")
    said = run_mend(capsys, *words, *kept, "--dry-run")[1]
    assert f"b/a.png → {tree / 'out' / 'b' / 'a.png'} (is new), its mask → {tree / 'kept' / 'b' / 'a.png'}\n" in said
    assert not (tree / "kept").exists()
    assert f"their masks: {tree / 'kept'}" in run_mend(capsys, *words, *kept)[1]
    record = json.loads((tree / "out" / "mend-fill.json").read_text())
    assert record["files"]["a.png"]["kept"] == str(tree / "kept" / "a.png")
    assert "3 skipped" in run_mend(capsys, *words, *kept)[1]
    (tree / "kept" / "a.png").unlink()
    assert "1 filled, 2 skipped" in run_mend(capsys, *words, *kept)[1]
    assert (tree / "kept" / "a.png").exists()
    (tree / "file").write_text("")
    shutil.rmtree(tree / "out")
    code, _, errors = run_mend(capsys, *words, "--keep-mask", tree / "file" / "masks")
    assert (code, "cannot be written: Not a directory" in errors) == (1, True)
    assert not (tree / "out").exists(), "filled before it was seen"


def test_a_damaged_picture_and_a_loop_of_links_hinder_no_other(tree: Path, capsys: pytest.CaptureFixture[str]):
    done, data = cv2.imencode(".avif", np.zeros((16, 16, 3), np.uint8))
    assert done
    (tree / "photos" / "c.avif").write_bytes(data[: len(data) - 20].tobytes() + b"\xff" * 20)
    mask(tree / "masks" / "c.png")
    (tree / "photos" / ".loop").symlink_to(tree / "photos" / ".loop")
    words = ("fill", tree / "photos", "--masks", tree / "masks", "-o", tree / "out", "--model", "telea")
    code, said, errors = run_mend(capsys, *words)
    assert (code, "3 filled, 0 skipped, 1 failed" in said) == (1, True), errors
    assert "c.avif: " in errors
    assert "is damaged: " in errors


def test_a_quality_is_for_the_formats_that_have_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name in ("a.jpg", "b.png", "c.tif"):
        picture(tmp_path / "photos" / name)
    words = ("fill", tmp_path / "photos", "--mask", mask(tmp_path / "m.png"), "-o", tmp_path / "out", "--model", "telea")
    assert run_mend(capsys, *words, "--quality", "40")[0] == 0
    assert (tmp_path / "out" / "a.jpg").stat().st_size < (tmp_path / "photos" / "a.jpg").stat().st_size
    for flags in (("--quality", "101"), ("--quality", "90", "--format", "png")):
        code, _, errors = run_mend(capsys, *words[:4], "-o", tmp_path / "none", *flags, "--model", "telea")
        assert (code, "it is 1 to 100, and for .jpg, .webp and .avif only" in errors) == (1, True)
        assert not (tmp_path / "none").exists()


def test_the_plan_is_printed_and_stands_in_the_summary(tree: Path, capsys: pytest.CaptureFixture[str]):
    words = ("fill", tree / "photos", "--masks", tree / "masks", "-o", tree / "out")
    for flags, said in (
        ((), "up to 4 read ahead"),
        (("--max-memory", "1GB"), "one at a time, each in at most 1.0 GB of memory"),
    ):
        assert f"plan: 3 of 3 pictures, {said}; " in run_mend(capsys, *words, *flags)[2]
    record = json.loads((tree / "out" / "mend-fill.json").read_text())
    plan = r"tiles of at most 512 pixels, at most [45]\d\d MB of memory"
    assert all(re.fullmatch(plan, file["plan"]) for file in record["files"].values()), record


def test_a_dry_run_tells_and_writes_nothing(tree: Path, capsys: pytest.CaptureFixture[str]):
    words = ["fill", tree / "photos", "--masks", tree / "masks", "-o", tree / "out", "--model", "nowhere", "--dry-run"]
    code, said, _ = run_mend(capsys, *words)
    assert code == 0
    assert f"b/a.png + {tree / 'masks' / 'b' / 'a.png'} → {tree / 'out' / 'b' / 'a.png'} (is new)" in said
    assert "3 to fill, 0 skipped, 0 that cannot be filled; nothing was done" in said
    assert not (tree / "out").exists()
    picture(tree / "out" / "a.png")
    (tree / "masks" / "b" / "a.png").unlink()
    code, said, _ = run_mend(capsys, *words, "--skip-existing")
    assert code == 1
    assert "a.png (is there already, skipped)" in said
    assert "b/a.png: it has no mask" in said
    assert "(is overwritten)" in run_mend(capsys, *words)[1]
    (tree / "masks" / "a.png").unlink()
    code, said, _ = run_mend(capsys, *words, "--skip-existing")
    assert "1 to fill, 0 skipped, 2 that cannot be filled; nothing was done" in said, "a.png is there, and has no mask"


def test_flags_that_do_not_fit(tree: Path, capsys: pytest.CaptureFixture[str]):
    end = ("-o", tree / "out", "--model", "telea")
    for words, said in (
        ((tree / "photos", "--masks", tree / "masks", "-o", "-"), "Name another one for the results: --output FOLDER"),
        ((tree / "photos", *end), "Add --mask FILE, a picture that is white there, or --object NAME. For a folder"),
        (
            (tree / "photos", "--mask", tree / "m.png", "--masks", tree / "masks", *end),
            "--mask and --masks both say what is to be filled",
        ),
        ((tree / "photos", "--masks", tree / "masks", "--preview", tree / "p.png", *end), "--preview shows one picture"),
        (
            (tree / "photos", "--masks", tree / "masks", "-o", tree / "masks" / "a.png"),
            "a.png is a file; --output is to be a folder",
        ),
        ((tree / "photos", "--masks", tree / "masks", *end, "--max-memory", "2"), "expected a number and a unit"),
        (
            (tree / "photos" / "a.png", "--masks", tree / "masks", *end),
            "is no folder; --masks is for a folder of pictures. Name its mask by --mask",
        ),
        (
            (tree / "photos" / "a.png", "--mask", tree / "masks" / "a.png", "--dry-run", *end),
            "--dry-run is for a folder of pictures. Leave it out",
        ),
        (
            (tree / "photos", "--object", "dog", "--hole", "black", *end),
            "--hole says what marks the hole in a mask, and does not",
        ),
        ((tree / "photos" / "a.png", "--mask", tree / "masks" / "a.png", "--pattern", "{stem}_m", *end), "with --masks FOLDER"),
        ((tree / "photos", "--object", "dog", "--pattern", "{stem}_m", *end), "with --masks FOLDER"),
        ((tree / "photos" / "a.png", "--object", "dog", "--max-memory", "2GB", *end), "does not count what finds an object"),
        ((tree / "photos", "--masks", tree / "masks", "--grow", 1, "--feather", 3, *end), "--feather 3 is more than --grow 1"),
    ):
        code, _, errors = run_mend(capsys, "fill", *words)
        assert (code, errors.count(said)) == (1, 1), errors
    assert not (tree / "out").exists()


def test_what_earlier_runs_left_is_known_to_later_ones(tree: Path):
    """Kept masks among the pictures are no pictures, also after a run that keeps none; what is skipped keeps its record."""

    def run(**named: Any) -> Summary:
        return fill_folder(plan_folder(tree / "photos", tree / "out", tree / "masks", **named), Options(), mend.load("telea"))

    first = run(keep_mask=tree / "photos" / "kept").files["a.png"]
    again = run(skip_existing=True).files["a.png"]
    assert again == replace(first, status="skipped")
    assert again.coverage
    assert {pair.name for pair in plan_folder(tree / "photos", tree / "out", tree / "masks").pairs} == {
        "a.png",
        "b/a.png",
        "b/Ünïcode name.png",
    }


def test_progress_counts_what_is_over(tree: Path):
    for i in range(8):
        picture(tree / "photos" / f"{i}.png", i)
        mask(tree / "masks" / f"{i}.png")
    counts: list[int] = []

    def count(name: str, result: Outcome, done: int, of: int) -> None:
        counts.append(done)
        time.sleep(0.1)  # what is being written is then written before it is settled

    plan = plan_folder(tree / "photos", tree / "out", tree / "masks")
    fill_folder(plan, Options(), mend.load("telea"), on_file=count)
    assert counts == list(range(1, 12))


def test_what_earlier_runs_left_survives_a_kill(tree: Path, monkeypatch: pytest.MonkeyPatch):
    """The summary is written before the first picture is filled, with what is known of those that are skipped."""

    def plan() -> Plan:
        return plan_folder(tree / "photos", tree / "out", tree / "masks", skip_existing=True)

    fill_folder(plan(), Options(), mend.load("telea"))
    (tree / "out" / "a.png").unlink()
    (tree / "out").rename(tree / "moved")
    (tree / "moved").rename(tree / "out")
    monkeypatch.setattr("mend.filling.folder.ThreadPoolExecutor", None)
    with pytest.raises(TypeError):
        fill_folder(plan(), Options(), mend.load("telea"))
    monkeypatch.undo()
    kept = read_summary(tree / "out" / "mend-fill.json").files["b/a.png"]
    assert kept.coverage
    assert kept.output == str(tree / "out" / "b" / "a.png")
