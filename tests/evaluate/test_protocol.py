from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SHARED, needs_shared
from PIL import Image

from mend.data.sources import load_images
from mend.errors import InputError
from mend.evaluate import scenes as module
from mend.evaluate.protocol import Drawn, Protocol, Published, read_protocol
from mend.evaluate.result import read_result
from mend.evaluate.run import evaluate
from mend.evaluate.scenes import load_folder_scenes, load_scenes
from mend.segment.make import make_masks
from mend.train.config import read_recipe
from mend.train.reproduce import reproduce

DRAWN = Drawn(("strokes", "boxes"), ((0.1, 0.2), (0.3, 0.4)), per_image=3, seed=5)


@pytest.fixture
def drawn(folder: Path) -> Protocol:
    return Protocol("drawn-v1", "Drawn", str(folder), ("psnr",), drawn=DRAWN)


def test_masks_belong_to_the_image_and_not_to_its_place(folder: Path, drawn: Protocol, tmp_path: Path):
    there = load_scenes(drawn)
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    for i, file in enumerate(sorted((folder / "test").iterdir(), reverse=True)):
        (tmp_path / "test" / f"{i}.png").write_bytes(file.read_bytes())
    turned = load_scenes(drawn, str(tmp_path))
    masks = {(image, i % 3): there.mask(i) for i, image in enumerate(there.images)}
    assert turned.images != there.images
    for i, image in enumerate(turned.images):
        assert np.array_equal(turned.mask(i), masks[image, i % 3])
    assert turned.hashes == there.hashes


def test_every_image_has_its_masks_in_turn_through_kinds_and_bins(drawn: Protocol):
    scenes = load_scenes(drawn)
    assert len(scenes) == 36
    coverage = np.array([scenes.mask(i).mean() for i in range(36)]).reshape(12, 3)
    low = coverage < 0.25
    assert ((coverage > 0.09) & (coverage < 0.41)).all()
    assert (low.sum(1) >= 1).all()
    assert (low.sum(1) <= 2).all(), "three masks take both bins"
    assert 0 < low[:, 0].sum() < 12, "where an image begins is drawn"


def test_a_batch_is_of_one_size_and_holds_the_pictures_in_order(drawn: Protocol, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mend.evaluate.scenes.BATCH", 5 * 32 * 32)
    scenes = load_scenes(drawn)
    batches = list(scenes.batches())
    assert [len(places) for places, _, _ in batches] == [5] * 7 + [1]
    places, image, hole = batches[1]
    assert places.tolist() == [5, 6, 7, 8, 9]
    assert image.shape == (5, 3, 32, 32)
    pixels, mask = scenes.pixels(7), scenes.mask(7)
    assert np.array_equal((image[2] * 255).round().byte().permute(1, 2, 0).numpy(), pixels)
    assert np.array_equal(hole[2, 0].bool().numpy(), mask)
    some = scenes.part([7, 2])
    assert some.names == [scenes.names[7], scenes.names[2]]
    assert np.array_equal(some.mask(0), mask)


def test_whole_photographs_keep_their_sizes():
    protocol = read_protocol("photos-large-v1")
    scenes = load_scenes(protocol)
    assert len(scenes) == 60
    assert len(set(scenes.sizes)) > 3
    pixels, mask = scenes.pixels(0), scenes.mask(0)
    assert pixels.shape[:2] == mask.shape == scenes.sizes[0]
    assert scenes.hashes == (protocol.images_sha256, protocol.masks_sha256)


@needs_shared
def test_the_photographs_set_aside_are_what_the_protocol_pins_and_the_recipe_leaves_out():
    protocol = read_protocol("photos-free-test")
    scenes = load_scenes(protocol, str(SHARED / "data" / "photos-free"))
    assert (len(scenes), len(set(scenes.images))) == (300, 100)
    assert scenes.hashes == (protocol.images_sha256, protocol.masks_sha256)
    assert protocol.set_aside == read_recipe("structure")["set_aside"]


@pytest.mark.slow
@needs_shared
def test_cifar10_with_strokes_is_what_the_protocol_pins(monkeypatch: pytest.MonkeyPatch):
    protocol = read_protocol("cifar10-strokes-v1")
    scenes = load_scenes(protocol, str(SHARED / "data" / "cifar10"))
    coverage = [scenes.mask(i).mean() for i in range(10_000)]
    counts, _ = np.histogram(coverage, [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.61])
    assert (counts > 1500).all(), "the bins are about equally full"
    assert len(set(scenes.images)) == len(scenes) == 10_000
    assert scenes.hashes == (protocol.images_sha256, protocol.masks_sha256)


def test_other_masks_are_refused_and_other_images_take_another_name(folder: Path, masks: Path, run: Path, tmp_path: Path):
    protocol = Protocol("pinned-v1", "Pinned", str(folder), ("psnr",), str(masks))
    images_sha256, masks_sha256 = load_scenes(protocol).hashes
    pinned = replace(protocol, images_sha256=images_sha256, masks_sha256=masks_sha256)
    evaluate([str(run)], pinned, tmp_path / "a", device="cpu")
    others = make_masks(load_images(str(folder), "test"), "boxes", tmp_path / "boxes").folder
    with pytest.raises(
        InputError, match=r"these are not the masks of pinned-v1: their SHA-256 is .* take the protocol cifar10-object, or"
    ):
        evaluate([str(run)], pinned, tmp_path / "b", masks=str(others), device="cpu")
    with pytest.raises(InputError, match=r"does not hold the images of pinned-v1.*With `data`"):
        evaluate([str(run)], replace(pinned, images_sha256="0" * 64), tmp_path / "b", device="cpu")

    for split in ("train", "test"):
        (tmp_path / "mine" / split).mkdir(parents=True)
        for file in sorted((folder / split).iterdir())[:5]:
            (tmp_path / "mine" / split / file.name).write_bytes(file.read_bytes())
    mine = str(tmp_path / "mine")
    own = make_masks(load_images(mine, "test"), "boxes", tmp_path / "own").folder
    evaluate([str(run)], replace(pinned, published=(Published("x", "y", {}),)), tmp_path / "c", mine, str(own), device="cpu")
    measured = read_result(tmp_path / "c").protocol
    assert (measured.name, measured.title) == ("pinned-v1-on-mine", "mine, by the rules of pinned-v1")
    assert not measured.published, "nothing is quoted beside other images"
    assert measured.data == mine, "so that the same can be done again"


def test_what_a_protocol_has_no_use_for_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"photos-large-v1 takes whole photographs.*leave out `size`"):
        evaluate(["telea"], read_protocol("photos-large-v1"), tmp_path / "a", size=64)
    with pytest.raises(InputError, match=r"cifar10-strokes-v1 draws its masks; leave out `masks`"):
        evaluate(["telea"], read_protocol("cifar10-strokes-v1"), tmp_path / "a", masks="mine")
    with pytest.raises(InputError, match="`limit` is 0"):
        evaluate(["telea"], read_protocol("photos-large-v1"), tmp_path / "a", limit=0)


def test_the_first_images_are_the_first_again(tmp_path: Path):
    """A result of the first so many images carries what it takes to measure the same again."""
    first = evaluate(["telea"], read_protocol("photos-large-v1"), tmp_path / "a", metrics=["psnr"], limit=3, device="cpu")
    said = read_result(first)
    assert (said.protocol.name, said.n) == ("photos-large-v1-first-3", 3)
    again = read_result(evaluate(["telea"], said.protocol, tmp_path / "b", metrics=["psnr"], device="cpu"))
    assert again.methods["telea"].metrics == said.methods["telea"].metrics
    assert again.protocol == said.protocol
    with pytest.raises(InputError, match="takes the first 900 images, and photos has 60"):
        evaluate(["telea"], replace(said.protocol, first=900), tmp_path / "c", device="cpu")


def test_what_is_no_protocol_is_refused(tmp_path: Path):
    file = tmp_path / "mine.toml"
    for text, said in (
        ('name = "a"', "is no protocol: .*missing"),
        ('name = "a"\ntitel = "b"', "unknown key 'titel'.*Did you mean 'title'"),
        (
            'name = "a"\ntitle = "b"\ndata = "photos"\nmetrics = []\n[drawn]\nkinds = ["boxs"]\nbins = [[0, 1]]',
            "Did you mean 'boxes'",
        ),
        ('name = "a"\ntitle = "b"\ndata = "photos"\nmetrics = []\nwhole = true', r"has no \[drawn\] table"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=said):
            load_scenes(read_protocol(str(file)))


def test_holes_are_tensors_of_zeros_and_ones(drawn: Protocol):
    for _, image, hole in load_scenes(drawn).batches():
        assert image.dtype == hole.dtype == torch.float32
        assert set(hole.unique().tolist()) <= {0.0, 1.0}


def test_files_are_decoded_once_while_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, shape, levels in (("truth", (16, 16, 3), (0, 60, 120, 180)), ("masks", (16, 16), (0, 255, 0, 255))):
        (tmp_path / name).mkdir()
        for i, level in enumerate(levels):
            pixels = np.zeros(shape, np.uint8)
            pixels[:8] = level
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    decoded: list[str] = []

    def counted(read: Callable) -> Callable:
        return lambda file, *words, **named: decoded.append(file.parent.name) or read(file, *words, **named)

    reader = module.make_scored_reader
    monkeypatch.setattr(module, "make_scored_reader", lambda *words: counted(reader(*words)))
    monkeypatch.setattr(module, "understand_mask", counted(module.understand_mask))

    def passes(room: int) -> list[list[tuple]]:
        monkeypatch.setattr("mend.data.cache.ROOM", room)
        decoded.clear()
        scenes = load_folder_scenes(tmp_path / "truth", tmp_path / "masks")
        assert scenes.hashes
        return [[(p.tolist(), image.sum(), hole.sum()) for p, image, hole in scenes.batches()] for _ in range(3)]

    kept = passes(2**20)
    assert (decoded.count("truth"), decoded.count("masks")) == (4, 4)
    assert passes(2 * 16 * 16 * 3) == kept, "half of the pictures, and all masks, fit"
    assert (decoded.count("truth"), decoded.count("masks")) == (4 + 3 * 2, 4)


def test_what_mend_fills_by_default_is_scored_by_its_name(tmp_path: Path):
    protocol = read_protocol("photos-large-v1")
    file = evaluate(["mend", "mend-smooth"], protocol, tmp_path / "a", metrics=["psnr"], limit=1, device="cpu")
    ours, smooth = (read_result(file).methods[name] for name in ("mend", "mend-smooth"))
    assert ours.weights != smooth.weights
    assert ours.model.model != smooth.model.model, "a table would take them for trainings of one network"
    assert (ours.mean("psnr") or 0) < (smooth.mean("psnr") or 0), "texture costs PSNR"
    assert reproduce(file, tmp_path / "again", device="cpu").within
