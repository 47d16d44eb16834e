import hashlib
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SHARED, needs_shared, smooth
from PIL import Image

from mend.data import photos
from mend.data.loaders import Batches
from mend.data.sources import find_image_files, load_images, set_aside, split_rows
from mend.errors import InputError


def test_a_folder_is_decoded_once_in_order_of_names(folder: Path):
    images = load_images(str(folder), "all")
    assert (len(images), images.size) == (40, (32, 32))
    assert images.names[:2] == ["train/000.png", "train/001.png"]
    assert np.array_equal(images.pixels[7], np.asarray(Image.open(folder / "train" / "007.png")))
    assert images.pixels.filename is not None, "the second reading is memory-mapped"


def test_splits_are_fixed_disjoint_and_complete(folder: Path):
    train, val, whole = (load_images(str(folder), split) for split in ("train", "val", "all"))
    assert (len(train), len(val)) == (36, 4)
    assert sorted([*train.rows, *val.rows]) == list(whole.rows)
    assert train.fingerprint == val.fingerprint == whole.fingerprint
    assert np.array_equal(train.pixels[3], whole.pixels[train.rows[3]])
    test = load_images(str(folder), "test")
    assert test.fingerprint != whole.fingerprint
    assert len(test) == 12


def test_a_thousand_of_fifty_thousand_are_held_out():
    assert len(split_rows(50_000, "val")) == 1000
    assert len(np.intersect1d(split_rows(50_000, "val"), split_rows(50_000, "train"))) == 0


def test_a_changed_file_is_noticed(folder: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    before = load_images(str(copy), "all").fingerprint
    assert before == load_images(str(folder), "all").fingerprint, "the fingerprint is of the pixels, not the place"
    Image.fromarray(smooth(32, 32, 77)).save(copy / "train" / "000.png")
    assert load_images(str(copy), "all").fingerprint != before


def test_a_folder_without_splits_gives_one_file_in_ten_to_test_and_adding_one_moves_none(tmp_path: Path):
    for i in range(60):
        Image.fromarray(smooth(8, 8, i)).save(tmp_path / f"{i}.png")
    test, train = find_image_files(tmp_path, "test"), find_image_files(tmp_path, "train")
    assert not set(test) & set(train)
    assert len(test) + len(train) == 60
    assert 1 <= len(test) <= 15
    Image.fromarray(smooth(8, 8, 99)).save(tmp_path / "new.png")
    assert set(test) <= set(find_image_files(tmp_path, "test"))


def test_every_kind_of_picture_becomes_rgb(tmp_path: Path):
    rgb = Image.fromarray(smooth(16, 16, 0))
    for mode, name in (("L", "l.png"), ("RGBA", "a.png"), ("P", "p.gif"), ("CMYK", "c.jpg"), ("LA", "la.png"), ("1", "1.bmp")):
        rgb.convert(mode).save(tmp_path / name)
    Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257).save(tmp_path / "deep.png")
    (tmp_path / "sub dir é").mkdir()
    rgb.save(tmp_path / "sub dir é" / "w.webp")
    (tmp_path / "notes.txt").write_text("not a picture")
    count = sum(len(load_images(str(tmp_path), split)) for split in ("all", "test"))
    assert count == 8


def test_one_broken_file_in_many_is_skipped_by_name_and_more_stop(tmp_path: Path):
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    for i in range(150):
        Image.fromarray(smooth(8, 8, i)).save(tmp_path / "train" / f"{i:03d}.png")
    (tmp_path / "train" / "bad.png").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"1 of 151 pictures are unreadable and were skipped:\n  train/bad\.png"):
        assert len(load_images(str(tmp_path), "all")) == 150
    with pytest.warns(UserWarning, match=r"train/bad\.png"):  # from the cache too
        load_images(str(tmp_path), "all")
    (tmp_path / "train" / "worse.png").write_bytes(b"words")
    with pytest.raises(InputError, match="2 of 152 pictures are unreadable, more than 1%"):
        load_images(str(tmp_path), "all")


def test_a_cache_that_cannot_be_written_is_named_and_a_full_one_keeps_no_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pictures, cache = tmp_path / "pictures", tmp_path / "cache"
    pictures.mkdir()
    for i in range(5):
        Image.fromarray(smooth(8, 8, i)).save(pictures / f"{i}.png")
    monkeypatch.setenv("MEND_CACHE", str(cache))
    cache.write_bytes(b"")

    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    with pytest.raises(InputError, match=r"/cache, where .* cannot be written: .*MEND_CACHE"):
        load_images(str(pictures), "all")
    cache.unlink()
    (cache / "images").mkdir(parents=True)  # of an earlier run
    with monkeypatch.context() as patch:
        patch.setattr("mend.data.cache.FileLock.acquire", read_only)
        with pytest.raises(InputError, match=r"/cache, where .* cannot be written: Read-only file system.*MEND_CACHE"):
            load_images(str(pictures), "all")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mend.data.cache.np.save", full)  # after the pixels, before the labels
    with pytest.raises(OSError, match="No space"):
        load_images(str(pictures), "all")
    assert [file.suffix for file in (cache / "images").iterdir()] == [".lock"]


def test_crops_come_from_a_folder_alone():
    for source in ("cifar10", "hub:a/b", "no/such/folder"):
        with pytest.raises(InputError, match=f"there is no folder {source}"):
            find_image_files(Path(source), "train")


def test_unequal_sizes_name_both_and_the_way_out(tmp_path: Path):
    for i, side in enumerate((8, 8, 9, 8, 8, 8)):
        Image.fromarray(smooth(side, 8, i)).save(tmp_path / f"{i}.png")
    with pytest.raises(InputError, match=r"8×9.*8×8.*`size`.*`crop`"):
        load_images(str(tmp_path), "all")
    assert load_images(str(tmp_path), "all", size=16).size == (16, 16)


def test_bad_sources_say_what_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(InputError, match="unknown source 'cifar100'.*cifar10, photos"):
        load_images("cifar100", "all")
    with pytest.raises(InputError, match="no pictures in .*it is empty"):
        load_images(str(tmp_path), "all")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match=r"no pictures in .*it holds a\.txt"):
        load_images(str(tmp_path), "all")
    with pytest.raises(InputError, match="unknown split 'validation'"):
        load_images(str(tmp_path), "validation")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)  # else it is asked for again and again, 20 s long
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="the hub's dataset 'nobody/nothing' could not be loaded"):
        load_images("hub:nobody/nothing", "all")


def test_no_test_photograph_is_a_training_photograph():
    assert not set(photos.FILES["train"]) & set(photos.FILES["test"])
    assert photos.LARGE in photos.FILES["test"]
    images = load_images("photos", "test")
    assert images.size == (32, 32)
    assert len(images) > 500
    assert {name.split("-")[0] for name in images.names} == {Path(f).stem for f in photos.FILES["test"]}


def test_a_parquet_folder_in_the_hubs_layout(tmp_path: Path):
    import pandas as pd

    files = []
    for i in range(30):
        Image.fromarray(smooth(8, 8, i)).save(tmp_path / "one.png")
        files.append({"bytes": (tmp_path / "one.png").read_bytes(), "path": f"{i}.png"})
    source = tmp_path / "set"
    source.mkdir()
    pd.DataFrame({"img": files[:20], "label": range(20)}).to_parquet(source / "train-00000-of-00002.parquet")
    pd.DataFrame({"img": files[20:], "label": range(20, 30)}).to_parquet(source / "train-00001-of-00002.parquet")
    images = load_images(str(source), "all")
    assert images.labels.tolist() == list(range(30))
    assert images.names[21] == "21.png"
    assert np.array_equal(images.pixels[21], smooth(8, 8, 21))


@needs_shared
def test_cifar10_is_read_and_the_second_start_is_quick():
    images = load_images(str(SHARED / "data" / "cifar10"), "test")
    assert (len(images), images.size, images.classes[0]) == (10_000, (32, 32), "airplane")
    assert np.bincount(images.labels).tolist() == [1000] * 10
    start = time.perf_counter()
    again = load_images(str(SHARED / "data" / "cifar10"), "test")
    batch = next(iter(Batches(torch.from_numpy(np.array(again.pixels)), torch.zeros(10_000, 1, 32, 32), again.rows, 128)))
    assert len(batch[0]) == 128
    assert time.perf_counter() - start < 2


def test_pictures_are_set_aside_by_what_is_in_them(tmp_path: Path):
    for folder, prefix in (("a", ""), ("b/c", "other-")):
        (tmp_path / folder).mkdir(parents=True)
        for i in range(8):
            (tmp_path / folder / f"{prefix}{i}.jpg").write_bytes(bytes([i, len(folder)]))
    files = sorted(tmp_path.rglob("*.jpg"))
    aside = set_aside(files, 5)
    digests = sorted(hashlib.sha256(file.read_bytes()).digest() for file in files)
    assert [hashlib.sha256(file.read_bytes()).digest() for file in aside] == digests[:5]
    renamed = [file.rename(file.with_name(f"{99 - i}.jpg")) for i, file in enumerate(files)]
    assert [file.read_bytes() for file in set_aside(renamed[::-1], 5)] == [renamed[files.index(f)].read_bytes() for f in aside]
    with pytest.raises(InputError, match="16 pictures cannot be set aside: there are 16"):
        set_aside(renamed, 16)


def test_a_hub_dataset_with_names_and_without(monkeypatch: pytest.MonkeyPatch):
    """What the hub would return, made here: the download itself is the library's."""
    import datasets

    pictures = [Image.fromarray(smooth(8, 8, i)) for i in range(20)]
    kinds = datasets.Features({"picture": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    named = datasets.Dataset.from_dict({"picture": pictures, "label": [i % 2 for i in range(20)]}, features=kinds)
    words = datasets.Dataset.from_dict({"photo": pictures, "label": ["cat"] * 20}).cast_column("photo", datasets.Image())
    asked: list[tuple[str, str]] = []
    hub = {"someone/named": named, "someone/words": words}

    def load(name: str, split: str, cache_dir: str) -> datasets.Dataset:
        asked.append((name, split))
        return hub[name]

    monkeypatch.setattr(datasets, "load_dataset", load)
    images = load_images("hub:someone/named", "all")
    assert (images.classes, images.labels.tolist()[:3]) == (("cat", "dog"), [0, 1, 0])
    assert np.array_equal(images.pixels[5], smooth(8, 8, 5))
    assert load_images("hub:someone/words:photo", "test").labels.tolist() == [-1] * 20
    assert asked == [("someone/named", "train"), ("someone/words", "test")]
    with pytest.raises(InputError, match=r"no image column 'foto'.*image columns: \['photo'\]"):
        load_images("hub:someone/words:foto", "train")
