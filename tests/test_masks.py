import hashlib
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SHARED, needs_shared, needs_signals, smooth, stopped
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from mend.data import load_images
from mend.errors import InputError
from mend.masks import make_masks, segment
from mend.masks.crops import hole_drawer
from mend.masks.draw import DRAWN
from mend.masks.segment import enlarged, fold_norms, graph_object, load_segmenter
from mend.masks.show import contact_sheet
from mend.masks.store import MaskSet, ObjectPolicy, find_set, from_npz, manifest_for


@pytest.mark.parametrize("kind", DRAWN)
@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.integers(0, 99))
def test_a_drawn_mask_covers_what_was_asked(kind: str, height: int, width: int, coverage: float, seed: int):
    mask = DRAWN[kind](height, width, coverage, seed)
    assert mask.shape == (height, width)
    assert mask.dtype == np.bool_
    assert abs(mask.sum() - coverage * height * width) <= 0.5 + 1e-9
    assert np.array_equal(mask, DRAWN[kind](height, width, coverage, seed))


DRAWN_BEFORE = {
    "strokes": "46e62f5882a69cb833cb69ea232b0b90a61dec31c3ff89bc6a75dc623a2b55f7",
    "boxes": "04d5b221c4ded409bfc44b74978444bbeef5549bd56b82e0897d0fa242dd01f2",
    "borders": "93ef7b52c6f85e290a259c8537052527f2929d4c73b0b735fac5f1b2efc1f237",
}


@pytest.mark.parametrize("kind", DRAWN)
def test_drawn_masks_are_what_they_were(kind: str):
    """The digests were made by the first version of each, which computed every dot of a stroke over the whole picture."""
    digest = hashlib.sha256()
    for size in ((5, 3), (32, 32), (33, 47), (256, 256)):
        for coverage in (0.001, 0.25, 0.6, 0.99):
            for keys in ((0,), (7, 3)):
                digest.update(np.packbits(DRAWN[kind](*size, coverage, *keys)).tobytes())
    assert digest.hexdigest() == DRAWN_BEFORE[kind]


def test_strokes_over_a_large_picture_take_no_noticeable_time():
    start = time.perf_counter()
    assert DRAWN["strokes"](1000, 1500, 0.3, 0).sum() == 450_000
    assert time.perf_counter() - start < 0.5


def test_drawn_masks_look_like_what_they_are_called():
    box = DRAWN["boxes"](32, 32, 0.25, 1)
    rows, columns = box.any(1), box.any(0)
    assert box.sum() >= 0.9 * rows.sum() * columns.sum()
    border = DRAWN["borders"](32, 32, 0.4, 1)
    assert border[[0, -1]].any()
    assert not border[~border.all(1)].all()
    assert not np.array_equal(DRAWN["strokes"](32, 32, 0.2, 1), DRAWN["strokes"](32, 32, 0.2, 2))


def test_graph_segmentation_finds_a_disc():
    pixels = np.full((32, 32, 3), 40, np.uint8)
    y, x = np.mgrid[:32, :32]
    disc = (y - 16) ** 2 + (x - 14) ** 2 < 64
    pixels[disc] = (220, 60, 40)
    found = graph_object(pixels)
    assert (found & disc).sum() / (found | disc).sum() > 0.7
    assert not graph_object(np.full((32, 32, 3), 9, np.uint8)).any()


def test_graph_segmentation_prefers_the_central_the_large_and_what_keeps_off_the_border():
    y, x = np.mgrid[:64, :64]

    def disc(cy: int, cx: int, radius: int) -> np.ndarray:
        return (y - cy) ** 2 + (x - cx) ** 2 < radius**2

    strip = (y >= 48) & (abs(x - 32) < 24)
    for (cy, cx, radius), other in (
        ((32, 32, 12), disc(13, 13, 12)),  # more central
        ((32, 18, 14), disc(32, 40, 6)),  # larger
        ((16, 32, 12), strip),  # smaller, but the strip lies along the border
    ):
        wanted = disc(cy, cx, radius)
        pixels = np.full((64, 64, 3), 40, np.uint8)
        pixels[other], pixels[wanted], pixels[disc(cy, cx, 6)] = (40, 200, 60), (220, 60, 40), (40, 60, 220)
        found = graph_object(pixels)
        assert (found & wanted).sum() / (found | wanted).sum() > 0.8, "with the gap in its middle closed"


@pytest.mark.parametrize(("name", "side"), [("deeplabv3_resnet50", 65), ("deeplabv3_mobilenet_v3_large", 33)])
def test_torchvision_segmenters_load_their_weights_from_the_librarys_cache(
    name: str, side: int, monkeypatch: pytest.MonkeyPatch
):
    from torchvision.models import get_model, get_model_weights

    torch.manual_seed(0)
    network = get_model(name, weights=None, weights_backbone=None, aux_loss=True)
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(get_model_weights(name).DEFAULT.url).name
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), file)
    # Stand-in weights have another hash than the download, which torchvision would check.
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda *args, **kwargs: pytest.fail("it tried to download"))
    segmenter = load_segmenter(name, "cpu")
    masks = segmenter.masks(np.stack([smooth(32, 32, 0)]))
    assert masks.shape == (1, 32, 32)
    assert masks.dtype == np.bool_
    assert len(segmenter.weights) == 64
    assert segmenter.scores is not None
    assert segmenter.scores(np.stack([smooth(32, 32, 0)])).shape[1:] == (21, side, side), "not enlarged for each class"
    file.unlink()


def test_without_weights_or_network_the_error_names_the_file(monkeypatch: pytest.MonkeyPatch):
    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with pytest.raises(InputError, match=r"deeplabv3_resnet50.*checkpoints.deeplabv3_resnet50_coco-\w+\.pth.*felzenszwalb"):
        load_segmenter("deeplabv3_resnet50")


def test_unknown_segmenters_are_refused_with_the_nearest(folder: Path, tmp_path: Path):
    images = load_images(str(folder), "test")
    with pytest.raises(InputError, match="Did you mean 'felzenszwalb'"):
        make_masks(images, "felzenswalb", tmp_path)
    with pytest.raises(InputError, match="no semantic-segmentation checkpoint"):
        make_masks(images, f"hf:{tmp_path}", tmp_path / "m")
    with pytest.raises(InputError, match="the coverage is 25"):
        make_masks(images, "boxes", tmp_path / "m", coverage=25)


@needs_shared
def test_the_pretrained_deeplabv3_agrees_with_the_given_masks():
    """A handful here; `benchmarks/mask_agreement.py` measures it on hundreds."""
    model = SHARED / "models" / "deeplabv3_mobilenet_v2_513"
    data = SHARED / "data" / "cifar10"
    images = load_images(str(data), "test")
    rows = np.arange(6)
    ours = load_segmenter(f"hf:{model}", "cpu").masks(images.pixels[rows])
    with np.load(data / "deeplabv3-masks-test.npz") as archive:
        given_masks = np.unpackbits(archive["mask"][rows], axis=1).reshape(-1, 32, 32).astype(bool)
    assert (ours == given_masks).mean() > 0.9


# --- The set on disk -------------------------------------------------------------------------------------------------


def test_a_mask_set_gives_back_what_was_written(folder: Path, tmp_path: Path):
    images = load_images(str(folder), "all")
    masks = MaskSet.create(tmp_path, manifest_for(images, "by hand", ""))
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


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process is not forked")
def test_what_has_one_thread_is_made_by_several_processes(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    images, here = load_images(str(folder), "all"), os.getpid()

    def maker(name: str, device: str) -> segment.Segmenter:
        return segment.Segmenter(name, "", lambda pixels: (os.getpid() != here) & (pixels[..., 0] > 90), batch=6)

    monkeypatch.setitem(segment.SEGMENTERS, "red", maker)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    reported: list[int] = []
    made = make_masks(images, "red", tmp_path, on_batch=lambda done, of: reported.append(done))
    assert reported == [0, 6, 12, 18, 24, 30, 36, 40]
    assert np.array_equal(made.read(np.arange(40)), images.pixels[..., 0] > 90)


@pytest.mark.skipif(sys.platform != "linux", reason="what is mapped is read in /proc")
def test_a_set_is_sealed_by_whoever_lets_go_of_it_last(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Windows removes no file that is mapped."""
    unlink = Path.unlink

    def as_windows_has_it(path: Path, missing_ok: bool = False) -> None:
        if str(path) in Path("/proc/self/maps").read_text():
            raise PermissionError(path)
        unlink(path, missing_ok)

    manifest = manifest_for(load_images(str(folder), "all"), "two ranges", "")
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


def test_ranges_fill_one_set(folder: Path, tmp_path: Path):
    images = load_images(str(folder), "all")
    for start, stop in ((20, 40), (0, 20)):
        make_masks(images, "boxes", tmp_path / "parts", start=start, stop=stop)
    whole = make_masks(images, "boxes", tmp_path / "whole")
    assert MaskSet.open(tmp_path / "parts").manifest.sha256 == whole.manifest.sha256
    with pytest.raises(InputError, match="the range 30:50 is not within the 40 images"):
        make_masks(images, "boxes", tmp_path / "parts", start=30, stop=50)


KILLED = """
import sys, time
from mend.data import load_images
from mend.masks import make_masks, segment
from mend.masks.crops import hole_drawer
whole = segment.graph_object
segment.graph_object = lambda pixels: (time.sleep(0.02), whole(pixels))[1]
load = segment._felzenszwalb


def four_at_once(name, device):
    whole = load(name, device)
    return segment.Segmenter(whole.name, whole.weights, whole.masks, 4)


segment.SEGMENTERS["felzenszwalb"] = four_at_once
make_masks(load_images(sys.argv[1], "all"), "felzenszwalb", sys.argv[2])
"""


@needs_signals
def test_a_killed_run_loses_nothing_that_was_done(folder: Path, tmp_path: Path):
    out = tmp_path / "killed"

    def eight_are_done() -> bool:
        return (out / "done.npy").exists() and np.load(out / "done.npy").sum() >= 8

    stopped(["-c", KILLED, str(folder), str(out)], eight_are_done, signal.SIGKILL)
    done = np.load(out / "done.npy")
    assert 8 <= done.sum() < 40
    kept = np.load(out / "masks.npy")[done]
    images = load_images(str(folder), "all")
    reported: list[int] = []
    make_masks(images, "felzenszwalb", out, on_batch=lambda n, of: reported.append(n))
    assert reported[0] == done.sum()
    assert np.array_equal(np.load(out / "masks.npy")[done], kept)
    assert MaskSet.open(out).manifest.sha256 == make_masks(images, "felzenszwalb", tmp_path / "once").manifest.sha256


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
    with pytest.raises(OSError, match="No space"):
        make_masks(images, "boxes", tmp_path / "set")
    monkeypatch.undo()
    assert len(MaskSet.open(make_masks(images, "boxes", tmp_path / "set").folder)) == 12


def test_a_damaged_set_is_named(folder: Path, tmp_path: Path):
    make_masks(load_images(str(folder), "test"), "boxes", tmp_path)
    whole = (tmp_path / "masks.npy").read_bytes()
    (tmp_path / "masks.npy").write_bytes(whole[:200])
    with pytest.raises(InputError, match="is damaged"):
        MaskSet.open(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="is no manifest"):
        MaskSet.open(tmp_path)


def test_the_object_policy_keeps_fitting_masks_and_borrows_for_the_others(folder: Path, tmp_path: Path):
    images = load_images(str(folder), "test")
    masks = MaskSet.create(tmp_path / "a", manifest_for(images, "by hand", ""))
    wanted = np.zeros((12, 32, 32), np.bool_)
    for i, covered in enumerate((0, 300, 900, 11, 614, 5, 1024, 100, 200, 0, 400, 620)):
        wanted[i].flat[:covered] = True
    masks.write(np.arange(12), wanted)
    holes = masks.finish().holes(images, ObjectPolicy())[:, 0].numpy().astype(np.bool_)
    fitting = [1, 3, 4, 7, 8, 10]
    assert np.array_equal(holes[fitting], wanted[fitting])
    for i in set(range(12)) - set(fitting):
        assert any(np.array_equal(holes[i], wanted[j]) for j in fitting)
    assert np.array_equal(holes[:3], masks.holes(images.part(np.arange(3)), ObjectPolicy())[:, 0].numpy())
    with pytest.raises(InputError, match="nothing to borrow"):
        masks.holes(images, ObjectPolicy(0.9, 0.95))


def test_the_order_of_the_rows_changes_no_hole(folder: Path, tmp_path: Path):
    images = load_images(str(folder), "test")
    order = np.random.default_rng(0).permutation(12)
    shuffled = replace(images.part(order), rows=np.arange(12))
    wanted = np.random.default_rng(1).random((12, 32, 32)) < np.linspace(0, 1, 12)[:, None, None]
    holes = []
    for name, there, masks in (("a", images, wanted), ("b", shuffled, wanted[order])):
        made = MaskSet.create(tmp_path / name, manifest_for(there, "by hand", ""))
        made.write(np.arange(12), masks)
        holes.append(made.finish().holes(there, ObjectPolicy()))
    assert torch.equal(holes[0][order], holes[1])


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


def test_the_contact_sheet_shows_masks_over_their_images(masks: Path, tmp_path: Path):
    sheet = np.asarray(Image.open(contact_sheet(masks / "train", tmp_path / "sheet.png"))).astype(int)
    assert min(sheet.shape[:2]) > 300
    red = (sheet[..., 0] - sheet[..., 1:3].max(-1)) > 60
    assert 0.03 < red.mean() < 0.6


def test_maps_are_enlarged_as_interpolation_does():
    maps = torch.randn(2, 3, 5, 7)
    expected = torch.nn.functional.interpolate(maps, (33, 20), mode="bilinear", align_corners=False)
    assert torch.allclose(enlarged(maps, 33, 20), expected, atol=1e-5)


@pytest.mark.parametrize("swapped", [False, True])
def test_norms_are_folded_where_that_changes_nothing(swapped: bool):
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(self.norm(x)) if swapped else self.norm(self.conv(x))

    block = Block().eval().requires_grad_(False)
    block.norm.running_mean = torch.tensor([1.0, -2.0, 0.5])
    block.norm.running_var = torch.tensor([4.0, 0.5, 2.0])
    example = torch.randn(1, 3, 8, 8)
    folded = fold_norms(block, lambda network: network(example))
    assert torch.allclose(folded(example), block(example), atol=1e-5)
    assert (folded is block) == swapped, "a norm before its convolution is left alone"
    assert any(isinstance(part, nn.BatchNorm2d) for part in block.modules()), "the network itself is not changed"


def test_drawn_holes_grow_over_the_epochs_and_the_validation_has_all_sizes():
    draw, described = hole_drawer("boxes", 32, 0, ramp=4)
    assert described == "boxes, 5 % to 50 % (10 % at first, more over 4 epochs)"
    largest = [max(draw(epoch, i).mean().item() for i in range(60)) for epoch in (0, 1, 3, 5, 9)]
    assert largest == pytest.approx([0.5, 0.1, 0.3, 0.5, 0.5], abs=0.03)
    plain, _ = hole_drawer("boxes", 32, 0)
    assert all(torch.equal(draw(7, i), plain(7, i)) for i in range(9))


def test_borrowed_holes_are_grown(masks: Path):
    draw, described = hole_drawer(str(masks), 64, 0, grow=0.1)
    plain, _ = hole_drawer(str(masks), 64, 0)
    assert described.endswith("borrowed and grown by up to 10% of the side")
    pairs = [(draw(1, i), plain(1, i)) for i in range(20)]
    assert all(hole.shape == (1, 64, 64) and set(hole.unique().tolist()) <= {0.0, 1.0} for hole, _ in pairs)
    assert all((hole >= own).all() for hole, own in pairs)
    assert sum(hole.sum() > own.sum() for hole, own in pairs) > 10
