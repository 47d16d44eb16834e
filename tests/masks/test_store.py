import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mend.data.sources import load_images
from mend.errors import InputError
from mend.masks.store import MaskSet, ObjectPolicy, find_set, from_npz, make_manifest
from mend.segment.make import make_masks


# --- The set on disk -------------------------------------------------------------------------------------------------
def test_a_mask_set_gives_back_what_was_written(folder: Path, tmp_path: Path):
    images = load_images(str(folder), "all")
    masks = MaskSet.create(tmp_path, make_manifest(images, "by hand", ""))
    wanted = np.random.default_rng(0).random((40, 32, 32)) > 0.7
    masks.write(np.arange(40), wanted)
    read = MaskSet.open(masks.finish().folder)
    assert np.array_equal(read.read(np.arange(40)), wanted)
    assert np.allclose(read.coverage(), wanted.mean((1, 2)))
    assert read.manifest.done == 40
    assert not (tmp_path / "done.npy").exists()


def test_an_unfinished_set_goes_on_and_does_nothing_twice(folder: Path, tmp_path: Path):
    images = load_images(str(folder), "all")
    make_masks(images, "strokes", tmp_path, stop=25)
    with pytest.raises(InputError, match="lacks 15 of 40 masks"):
        MaskSet.open(tmp_path)
    made: list[tuple[int, int]] = []
    make_masks(images, "strokes", tmp_path, on_batch=lambda done, of: made.append((done, of)))
    assert made == [(25, 40), (40, 40)]
    whole = make_masks(images, "strokes", tmp_path / "whole")
    assert MaskSet.open(tmp_path).manifest.sha256 == whole.manifest.sha256


@pytest.mark.skipif(sys.platform != "linux", reason="what is mapped is read in /proc")
def test_a_set_is_sealed_by_whoever_lets_go_of_it_last(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Windows removes no file that is mapped."""
    unlink = Path.unlink

    def as_windows_has_it(path: Path, missing_ok: bool = False) -> None:
        if str(path) in Path("/proc/self/maps").read_text():
            raise PermissionError(path)
        unlink(path, missing_ok)

    manifest = make_manifest(load_images(str(folder), "all"), "two ranges", "")
    one, other = MaskSet.create(tmp_path, manifest), MaskSet.create(tmp_path, manifest)
    one.write(np.arange(20), np.ones((20, 32, 32), np.bool_))
    other.write(np.arange(20, 40), np.ones((20, 32, 32), np.bool_))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", as_windows_has_it)
        assert other.finish().manifest.sha256
        assert (tmp_path / "done.npy").exists()
        assert one.finish().manifest == other.manifest
    assert not (tmp_path / "done.npy").exists()
    assert MaskSet.open(tmp_path).done.all()


def test_a_set_made_for_something_else_is_refused(folder: Path, masks: Path, tmp_path: Path):
    test = load_images(str(folder), "test")
    with pytest.raises(InputError, match="is for .*train.*not for"):
        MaskSet.open(masks / "train").check(test)
    with pytest.raises(InputError, match=r"holds 32×32 masks, the images of .* are 16×16"):
        find_set(masks, load_images(str(folder), "train", size=16))
    with pytest.raises(InputError, match="holds another mask set .*segmenter: 'strokes coverage 0.25 seed 0' there, 'boxes"):
        make_masks(test, "boxes", masks / "test")
    with pytest.raises(InputError, match=r"no mask set in .*manifest\.json is missing"):
        MaskSet.open(tmp_path)


def test_a_full_disk_is_an_error_before_anything_is_made(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    images = load_images(str(folder), "test")
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space .*set"):  # the file is named
        make_masks(images, "boxes", tmp_path / "set")
    assert [file.name for file in (tmp_path / "set").iterdir()] == [".lock"], "no half array"
    monkeypatch.undo()
    assert len(MaskSet.open(make_masks(images, "boxes", tmp_path / "set").folder)) == 12


def test_a_damaged_set_is_named(folder: Path, tmp_path: Path):
    make_masks(load_images(str(folder), "test"), "boxes", tmp_path)
    whole = (tmp_path / "masks.npy").read_bytes()
    (tmp_path / "masks.npy").write_bytes(whole[:200])
    with pytest.raises(InputError, match="is damaged"):
        MaskSet.open(tmp_path)
    manifest = (tmp_path / "manifest.json").read_text()
    (tmp_path / "manifest.json").write_text(manifest.replace('"count": 12', '"count": "12"'))
    with pytest.raises(InputError, match="is no manifest .*whole numbers"):
        MaskSet.open(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="is no manifest"):
        MaskSet.open(tmp_path)


def test_the_object_policy_keeps_fitting_masks_and_borrows_for_the_others(folder: Path, tmp_path: Path):
    images = load_images(str(folder), "test")
    masks = MaskSet.create(tmp_path / "a", make_manifest(images, "by hand", ""))
    wanted = np.zeros((12, 32, 32), np.bool_)
    for i, covered in enumerate((0, 300, 900, 11, 614, 5, 1024, 100, 200, 0, 400, 620)):
        wanted[i].flat[:covered] = True
    masks.write(np.arange(12), wanted)
    holes = masks.finish().holes(images, ObjectPolicy())[:, 0].astype(np.bool_)
    fitting = [1, 3, 4, 7, 8, 10]
    assert np.array_equal(holes[fitting], wanted[fitting])
    for i in set(range(12)) - set(fitting):
        assert any(np.array_equal(holes[i], wanted[j]) for j in fitting)
    assert np.array_equal(holes[:3], masks.holes(images.part(np.arange(3)), ObjectPolicy())[:, 0])
    with pytest.raises(InputError, match="nothing to borrow"):
        masks.holes(images, ObjectPolicy(0.9, 0.95))


def test_the_order_of_the_rows_changes_no_hole(folder: Path, tmp_path: Path):
    images = load_images(str(folder), "test")
    order = np.random.default_rng(0).permutation(12)
    shuffled = replace(images.part(order), rows=np.arange(12))
    wanted = np.random.default_rng(1).random((12, 32, 32)) < np.linspace(0, 1, 12)[:, None, None]
    holes = []
    for name, there, masks in (("a", images, wanted), ("b", shuffled, wanted[order])):
        made = MaskSet.create(tmp_path / name, make_manifest(there, "by hand", ""))
        made.write(np.arange(12), masks)
        holes.append(made.finish().holes(there, ObjectPolicy()))
    assert np.array_equal(holes[0][order], holes[1])


def test_conversion_from_an_archive(folder: Path, tmp_path: Path):
    images = load_images(str(folder), "test")
    wanted = np.random.default_rng(1).random((12, 32, 32)) > 0.5
    np.savez(tmp_path / "m.npz", mask=np.packbits(wanted.reshape(12, -1), axis=1))
    masks = from_npz(tmp_path / "m.npz", images, "given", tmp_path / "set")
    assert np.array_equal(masks.read(np.arange(12)), wanted)
    np.savez(tmp_path / "short.npz", mask=np.zeros((3, 128), np.uint8))
    with pytest.raises(InputError, match=r"holds \(3, 128\)"):
        from_npz(tmp_path / "short.npz", images, "given", tmp_path / "set2")
    (tmp_path / "words.npz").write_text("words")
    with pytest.raises(InputError, match="is no mask archive"):
        from_npz(tmp_path / "words.npz", images, "given", tmp_path / "set3")


def test_fifty_thousand_masks_are_read_in_no_noticeable_time(tmp_path: Path):
    np.save(tmp_path / "masks.npy", np.full((50_000, 128), 0x0F, np.uint8))
    from mend.masks.store import Manifest, _write_manifest

    _write_manifest(tmp_path, Manifest("x", "train", "f", "s", "", 50_000, 32, 32, 50_000))
    start = time.perf_counter()
    assert MaskSet.open(tmp_path).coverage().mean() == 0.5
    assert time.perf_counter() - start < 0.5
