import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from conftest import mend as run_mend
from pictures import mask, picture

import mend
from mend.errors import InputError
from mend.filling.folder import fill_folder
from mend.filling.options import Options
from mend.filling.pairing import Pair, plan_folder
from mend.images import write_image


def masks_of(pairs: list[Pair], masks: Path) -> dict[str, str | None]:
    return {pair.name: pair.mask and pair.mask.relative_to(masks).as_posix() for pair in pairs}


def test_masks_are_found_by_relative_path_and_stem(tree: Path):
    (tree / "masks" / "b" / "a.png").rename(tree / "masks" / "b" / "a.gif")
    plan = plan_folder(tree / "photos", tree / "out", tree / "masks")
    assert masks_of(plan.pairs, tree / "masks") == {
        "a.png": "a.png",
        "b/a.png": "b/a.gif",
        "b/Ünïcode name.png": "b/Ünïcode name.png",
    }
    assert [pair.output for pair in plan.pairs] == [tree / "out" / pair.name for pair in plan.pairs]
    assert plan.notes == []
    assert not (tree / "out").exists()


@pytest.mark.parametrize("pattern", ["{stem}_mask", "{stem}_mask.png"])
def test_a_pattern_names_masks_that_lie_beside_their_pictures(tmp_path: Path, pattern: str):
    photos = tmp_path / "photos"
    for name in ("a", "b.c"):
        picture(photos / "x" / f"{name}.jpg")
        mask(photos / "x" / f"{name}_mask.png")
    plan = plan_folder(photos, tmp_path / "out", photos, pattern)
    assert masks_of(plan.pairs, photos) == {"x/a.jpg": "x/a_mask.png", "x/b.c.jpg": "x/b.c_mask.png"}
    mask(photos / "x" / "a_mask.tif")
    first = plan_folder(photos, tmp_path / "out", photos, pattern).pairs[0]
    assert (first.name, first.mask) == ("x/a.jpg", photos / "x" / "a_mask.png" if "." in pattern else None)
    with pytest.raises(InputError, match="say how masks are called"):
        plan_folder(photos, tmp_path / "out", photos)
    with pytest.raises(InputError, match=r"pattern is 'mask'; expected a name with \{stem\}"):
        plan_folder(photos, tmp_path / "out", photos, "mask")


def test_one_mask_for_all_is_no_picture_itself(tree: Path):
    one = mask(tree / "photos" / "mask.png")
    plan = plan_folder(tree / "photos", tree / "out", one)
    assert [pair.name for pair in plan.pairs] == ["a.png", "b/a.png", "b/Ünïcode name.png"]
    assert {pair.mask for pair in plan.pairs} == {one}
    assert plan.notes == []


def test_ambiguous_names(tmp_path: Path):
    photos, masks = tmp_path / "photos", tmp_path / "masks"
    for name in ("twin.jpg", "twin.png", "own.png", "own.jpg", "two.jpg", "CASE.JPG", "both.jpg", "alone.png"):
        picture(photos / name)
    decomposed = unicodedata.normalize("NFD", "café")
    picture(photos / "café.png")
    for name in ("twin.png", "own.png", "own.jpg", "two.png", "two.gif", "case.png", "both.png", "BOTH.png", "other.png"):
        mask(masks / name)
    mask(masks / f"{decomposed}.png")
    plan = plan_folder(photos, tmp_path / "out", masks)
    assert masks_of(plan.pairs, masks) == {
        "twin.jpg": "twin.png",
        "twin.png": "twin.png",
        "own.png": "own.png",
        "own.jpg": "own.jpg",
        "two.jpg": None,
        "CASE.JPG": "case.png",
        "both.jpg": "both.png",
        "alone.png": None,
        "café.png": f"{decomposed}.png",
    }
    problems = {pair.name: pair.problem for pair in plan.pairs if pair.problem}
    assert set(problems) == {"two.jpg", "alone.png"}
    assert problems["two.jpg"] == "it has 2 masks: two.gif, two.png. Keep one."
    assert "it has no mask: expected" in problems["alone.png"]
    assert any("twin.jpg and twin.png share the mask twin.png" in note for note in plan.notes)
    assert any("masks not used: BOTH.png, other.png, two.gif, two.png" in note for note in plan.notes)


def test_a_run_into_the_folder_of_the_pictures_goes_on_and_is_filled_no_second_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    photos = tmp_path / "photos"
    for name in ("a", "b"):
        picture(photos / f"{name}.png")
        mask(photos / f"{name}_mask.png")
    words = ("fill", photos, "--masks", photos, "--pattern", "{stem}_mask", "--model", "telea", "--skip-existing")
    flags = ("-o", photos / "out", "--keep-mask", photos / "kept")
    assert "2 filled" in run_mend(capsys, *words, *flags)[1]
    (photos / "out" / "b.png").write_bytes(b"")
    said = run_mend(capsys, *words, *flags)[1]
    assert "1 filled, 1 skipped" in said, "an empty file was taken for a filled picture"
    assert "earlier run" not in said, "it is the same run"
    one = mask(tmp_path / "one.png")
    for masks in (one, photos):
        plan = plan_folder(photos, photos / "other", masks, "{stem}_mask" if masks == photos else "{stem}")
        assert not any(pair.name.startswith(("out/", "kept/")) for pair in plan.pairs)
        assert "left alone, since it was filled by an earlier run: out, kept" in plan.notes
        assert not any("not used" in note for note in plan.notes)
    assert [pair.name for pair in plan_folder(photos / "out", tmp_path / "again", one).pairs] == ["a.png", "b.png"]


def test_a_folder_says_how_many_jpegs_were_encoded_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name in ("a.jpg", "b.JPEG", "c.png"):
        picture(tmp_path / "photos" / name)
    words = ("fill", tmp_path / "photos", "--mask", mask(tmp_path / "m.png"), "-o", tmp_path / "out", "--model", "telea")
    assert "2 of them are JPEGs, which change a little around the hole; --format png keeps" in run_mend(capsys, *words)[1]
    assert "JPEGs" not in run_mend(capsys, *words, "--format", "png")[1]
    write_image(tmp_path / "m.png", np.zeros((24, 32, 1), np.uint8))
    assert "JPEGs" not in run_mend(capsys, *words)[1], "they were copied"


def test_what_is_no_picture_is_said_and_what_is_hidden_is_not(tree: Path):
    for name in ("a.svg", "b/notes.txt", ".hidden", ".thumbnails/a.txt"):
        (tree / "photos" / name).parent.mkdir(exist_ok=True)
        (tree / "photos" / name).write_text("x")
    assert plan_folder(tree / "photos", tree / "out", tree / "masks").notes == ["no pictures, left alone: a.svg, b/notes.txt"]


def test_folders_inside_each_other(tree: Path):
    inside, around = tree / "photos" / "masks", tree / "photos" / "out"
    (tree / "masks").rename(inside)
    picture(around / "a.png")
    names = ["a.png", "b/a.png", "b/Ünïcode name.png"]
    assert [pair.name for pair in plan_folder(tree / "photos", around, inside).pairs] == names
    assert [pair.name for pair in plan_folder(tree / "photos", tree, inside).pairs] == [*names, "out/a.png"]


def test_nothing_is_overwritten_or_written_twice(tree: Path):
    picture(tree / "photos" / "a.jpg")
    for out, suffix, said in (
        (tree / "photos", None, "is the folder of the pictures"),
        (tree / "masks", None, r"masks.a\.png is an input; filling a\.png would overwrite it"),
        (tree / "out", "docx", "'docx' is no format that can be written"),
        (tree / "out", "pdf", "'pdf' is no format that can be written"),
    ):
        with pytest.raises(InputError, match=said):
            plan_folder(tree / "photos", out, tree / "masks", suffix=suffix)
    for name in ("a.png", "x/a.png"):
        picture(tree / "out" / "x" / name)
    with pytest.raises(InputError, match=r"out.x.a\.png is an input; filling x/a\.png would overwrite it"):
        plan_folder(tree / "out" / "x", tree / "out", mask(tree / "m.png"))


def test_what_a_rare_format_becomes_is_the_same_as_alone_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    photos, one = tmp_path / "photos", mask(tmp_path / "mask.png")
    for name in ("a.gif", "b.bmp", "c.PNG", "d.jpg"):
        picture(photos / name)
    plan = plan_folder(photos, tmp_path / "out", one)
    assert [pair.output.name for pair in plan.pairs] == ["a.png", "b.png", "c.PNG", "d.jpg"]
    assert plan.notes == ["written as PNG, which keeps every value: a.gif, b.bmp"]
    assert plan_folder(photos, tmp_path / "out", one, suffix="bmp").notes == []
    (photos / "c.PNG").rename(photos / "c.jpg")
    (photos / "e.jpg").write_bytes(b"no picture")
    plan = plan_folder(photos, tmp_path / "out", one)
    assert [pair.output.name for pair in plan.pairs] == ["a.png", "b.png", "c.png", "d.jpg", "e.jpg"]
    code, said, _ = run_mend(capsys, "fill", photos / "b.bmp", "--mask", one, "--model", "mean-colour")
    assert code == 0
    assert said.startswith(f"{photos / 'b-filled.png'}: ")
    assert said.endswith("  written as PNG, which keeps every value\n")
    picture(photos / "a.png")


def test_pictures_that_would_become_one_file_fail_and_the_others_are_filled(tmp_path: Path):
    photos, one, out = tmp_path / "photos", mask(tmp_path / "mask.png"), tmp_path / "out"
    for name in ("a.gif", "a.png", "a.jpg", "b/a.gif", "c.png"):
        picture(photos / name)
    picture(out / "a.png")
    for skip_existing in (False, True):
        summary = fill_folder(plan_folder(photos, out, one, skip_existing=skip_existing), Options(), mend.load("telea"))
        failed = {name: result.error for name, result in summary.files.items() if result.status == "failed"}
        assert set(failed) == {"a.gif", "a.png"}
        assert set(failed.values()) == {f"a.gif and a.png would all become {out / 'a.png'}. Rename them, or move them apart."}
        assert summary.count("skipped" if skip_existing else "filled") == 3
    assert [pair.name for pair in plan_folder(photos, out, one, suffix="png").pairs if pair.problem] == [
        "a.gif",
        "a.jpg",
        "a.png",
    ]
    mask(tmp_path / "masks" / "a.gif")
    problems = {pair.name: pair.problem for pair in plan_folder(photos, out, tmp_path / "masks").pairs}
    assert "would all become" in problems["a.png"]
    (photos / "a.png").rename(photos / "A.png")
    mask(tmp_path / "masks" / "b" / "a.png")
    assert plan_folder(photos, out, tmp_path / "masks").pairs[0].problem == ""


def test_names_that_differ_in_case_are_one_where_the_disk_takes_them_for_one(tmp_path: Path):
    photos, one = tmp_path / "photos", mask(tmp_path / "mask.png")
    for name in ("A.jpg", "a.bmp"):
        picture(photos / name)
    assert [pair.problem for pair in plan_folder(photos, tmp_path / "disk" / "out", one, suffix="png").pairs] == ["", ""]
    (tmp_path / "disk").mkdir()
    (tmp_path / "DISK").symlink_to(tmp_path / "disk")  # as if disk and DISK were one name
    out = tmp_path / "disk" / "out"
    said = f"A.jpg and a.bmp would all become {out / 'A.png'}. Rename them, or move them apart."
    assert plan_folder(photos, out, one, suffix="png").pairs[0].problem == said
    (out / "2024").mkdir(parents=True)
    (tmp_path / "disk" / "OUT").symlink_to(out)
    assert "would all become" in plan_folder(photos, out / "2024", one, suffix="png").pairs[0].problem, "2024 has no letters"
    assert [pair.problem for pair in plan_folder(photos, out, one).pairs] == ["", ""]


def test_an_output_that_is_an_input_by_another_name_is_refused(tree: Path, capsys: pytest.CaptureFixture[str]):
    (tree / "out").mkdir()
    (tree / "out" / "a.png").hardlink_to(tree / "photos" / "a.png")
    with pytest.raises(InputError, match=r"out.a\.png is an input; filling a\.png would overwrite it"):
        plan_folder(tree / "photos", tree / "out", tree / "masks")
    words = ("fill", tree / "photos" / "a.png", "--mask", tree / "masks" / "a.png", "-o", tree / "out" / "a.png")
    code, _, errors = run_mend(capsys, *words)
    assert (code, "out/a.png is an input; it would be overwritten" in errors) == (1, True)


def test_a_folder_where_nothing_fits_is_refused(tree: Path):
    (tree / "empty").mkdir()
    for photos, masks, pattern, said in (
        (tree / "nowhere", tree / "masks", "{stem}", "there is no folder"),
        (tree / "photos", tree / "nowhere", "{stem}", "there is no mask or folder"),
        (tree / "empty", tree / "masks", "{stem}", "no pictures in .*empty"),
        (
            tree / "photos",
            tree / "masks",
            "{stem}-m",
            r"none of the 3 pictures of .* has a mask.* needs a-m\.png or the like, and",
        ),
    ):
        with pytest.raises(InputError, match=said):
            plan_folder(photos, tree / "out", masks, pattern)


def test_a_folder_of_masks_may_hold_annotations(tree: Path):
    (tree / "masks" / "b" / "a.png").unlink()
    box = {"size": [24, 32], "counts": [24 * 8 + 6, 8, 24 * 24 - 14]}
    for name in ("a", "b/a"):
        (tree / "masks" / f"{name}.json").write_text(json.dumps(box))
    (tree / "masks" / "mend-fill.json").write_text("{}")
    plan = plan_folder(tree / "photos", tree / "out", tree / "masks")
    assert masks_of(plan.pairs, tree / "masks") == {
        "a.png": "a.png",
        "b/a.png": "b/a.json",
        "b/Ünïcode name.png": "b/Ünïcode name.png",
    }
    assert plan.notes == ["masks not used: a.json"]
    beside = plan_folder(picture(tree / "beside" / "a.png").parent, tree / "out2", tree / "masks")
    assert beside.pairs[0].mask == tree / "masks" / "a.png"
    (tree / "beside" / "a.json").write_text(json.dumps(box))
    assert plan_folder(tree / "beside", tree / "out2", tree / "beside").pairs[0].mask == tree / "beside" / "a.json"
    (tree / "alone").mkdir()
    (tree / "alone" / "mend-fill.json").write_text("{}")
    with pytest.raises(InputError, match=r"no masks in .*alone: it holds no pictures or COCO"):
        plan_folder(tree / "photos", tree / "out2", tree / "alone")
    summary = fill_folder(plan, Options(), mend.load("telea"))
    assert [result.coverage for _, result in sorted(summary.files.items())] == [0.125, round(8 / 768, 4), 0.125]
