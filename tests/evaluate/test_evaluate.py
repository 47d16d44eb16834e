import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, smooth
from made_networks import made_graph, write_network
from PIL import Image

from mend import distributed
from mend.data.loaders import to_image
from mend.data.sources import load_images
from mend.errors import InputError
from mend.evaluate.metrics import psnr
from mend.evaluate.pictures import make_thumbnails, open_pictures
from mend.evaluate.protocol import Protocol, Published, read_protocol
from mend.evaluate.result import read_result
from mend.evaluate.run import evaluate, evaluate_folders
from mend.evaluate.scenes import BATCH, Scenes, load_scenes
from mend.evaluate.weights import Unavailable, WeightsMissing
from mend.filling.load import load_filler
from mend.images import composite, mask_out
from mend.inpaint.classical import Classical
from mend.masks.store import MaskSet, ObjectPolicy
from mend.models import classifier_changes
from mend.models.classifier import WEIGHTS
from mend.report import report
from mend.segment.make import make_masks


@pytest.fixture(scope="module")
def protocol(folder: Path, masks: Path) -> Protocol:
    return Protocol("tiny-v1", "Tiny", str(folder), ("psnr", "ssim", "mae"), str(masks))


@pytest.fixture(scope="module")
def result(run: Path, protocol: Protocol, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("result") / "tiny"
    evaluate([str(run), "mean-colour", "telea"], protocol, out, device="cpu")
    return out


def test_every_image_has_a_row_and_the_means_are_theirs(result: Path, run: Path, folder: Path, masks: Path):
    rows = pd.read_parquet(result / "tiny.parquet")
    method = read_result(result).methods["tiny"]
    assert len(rows) == read_result(result).n == 12
    for name in ("psnr", "psnr_raw", "psnr_hole", "ssim", "ssim_raw", "ssim_hole", "mae", "mae_raw", "mae_hole"):
        score = method.metrics[name]
        assert score.mean == pytest.approx(rows[name].mean(), abs=1e-4)
        assert score.low <= score.mean <= score.high
        assert score.n == 12
    images = load_images(str(folder), "test")
    hole = torch.from_numpy(MaskSet.open(masks / "test").holes(images, ObjectPolicy())[3:4]).float()
    image = to_image(np.array(images.pixels[3:4]))
    filler = load_filler(run, "cpu")
    filled = composite(image, torch.from_numpy(filler(mask_out(image, hole).numpy(), hole.numpy())), hole)
    assert rows["psnr"][3] == pytest.approx(psnr(filled, image).item(), abs=1e-3)
    assert rows["coverage"][3] == pytest.approx(hole.mean().item())
    assert method.training[0]["epoch"] == 1
    assert method.model.trained.config["width"] == method.model.width == 4
    assert (method.parameters, method.weights) == (filler.parameters, filler.version)


def test_known_pixels_count_for_nothing_when_composited(result: Path):
    rows = pd.read_parquet(result / "tiny.parquet")
    # The composited error is the hole's error diluted by the coverage.
    assert np.allclose(rows["mae"], rows["mae_hole"] * rows["coverage"], rtol=1e-4)
    assert np.allclose(rows["psnr"], rows["psnr_hole"] - 10 * np.log10(rows["coverage"]), atol=1e-3)


def test_what_is_scored_is_not_scored_again_and_other_weights_are(
    result: Path, run: Path, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
):
    scored: list[str] = []
    evaluate([str(run), "mean-colour"], protocol, result, device="cpu", on_batch=lambda name, *_: scored.append(name))
    assert scored == []
    monkeypatch.setattr("mend.models.filler.hash_weights", lambda network: "another")
    evaluate([str(run)], protocol, result, device="cpu", on_batch=lambda name, *_: scored.append(name))
    assert scored == ["tiny"]


def test_an_empty_hole_never_enters_a_mean(folder: Path, run: Path, tmp_path: Path):
    images = load_images(str(folder), "test")
    masks = make_masks(images, "boxes", tmp_path / "set")
    packed = np.load(tmp_path / "set" / "masks.npy", mmap_mode="r+")
    packed[4] = 0
    protocol = Protocol("empty", "Empty", str(folder), ("psnr",), str(masks.folder), ObjectPolicy(low=0.0))
    evaluate([str(run)], protocol, tmp_path / "r", device="cpu")
    rows = pd.read_parquet(tmp_path / "r" / "tiny.parquet")
    assert rows["psnr"].isna().tolist() == [i == 4 for i in range(12)]
    score = read_result(tmp_path / "r").methods["tiny"].metrics["psnr"]
    assert score.n == 11
    assert score.mean == pytest.approx(rows["psnr"].dropna().mean(), abs=1e-4)
    json.loads((tmp_path / "r.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} in the JSON"))


def test_batching_does_not_change_a_score(run: Path, protocol: Protocol, result: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("mend.evaluate.scenes.BATCH", 5 * 32 * 32)
    evaluate([str(run)], protocol, tmp_path / "r", device="cpu")
    a, b = (pd.read_parquet(folder / "tiny.parquet") for folder in (result, tmp_path / "r"))
    assert np.allclose(a["psnr"], b["psnr"], atol=1e-3)
    assert BATCH > 12 * 32 * 32


def test_missing_weights_are_reported_or_raised_when_asked_for(
    run: Path, protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    asked: list[object] = []

    def offline(*args: object, **kwargs: object) -> None:
        asked.append(args)
        raise OSError("no route to host")

    monkeypatch.setattr("mend.evaluate.weights.urlopen", offline)
    monkeypatch.setattr("mend.evaluate.weights._silent", [])
    with_fid = replace(protocol, metrics=("psnr", "lpips", "fid"))
    evaluate([str(run)], with_fid, tmp_path / "r", device="cpu")
    assert read_result(tmp_path / "r").unavailable.keys() == {"lpips", "fid"}
    assert len(asked) == 1, "offline, nobody waits for each metric"
    with pytest.raises(WeightsMissing, match="LPIPS needs weights"):
        evaluate([str(run)], with_fid, tmp_path / "r", metrics=["mae", "lpips"], device="cpu")
    after = read_result(tmp_path / "r")
    assert set(after.methods["tiny"].metrics_scored) == {"psnr", "mae"}, "the others are scored, nothing is lost"
    assert after.unavailable.keys() == {"lpips", "fid"}


def test_only_what_is_new_or_changed_is_scored_and_the_rest_is_kept(
    run: Path, protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from mend.evaluate import metrics

    monkeypatch.setattr("mend.evaluate.run.certify", lambda names, device: {})  # it takes seconds
    evaluate([str(run)], replace(protocol, metrics=("psnr", "kid-cifar")), tmp_path / "r", device="cpu")
    before = read_result(tmp_path / "r").methods["tiny"]
    evaluate([str(run)], replace(protocol, metrics=("mae",)), tmp_path / "r", device="cpu")
    after = read_result(tmp_path / "r").methods["tiny"]
    assert list(after.metrics_scored) == ["psnr", "kid-cifar", "mae"]
    assert {k: after.metrics[k] for k in before.metrics} == before.metrics
    rows = pd.read_parquet(tmp_path / "r" / "tiny.parquet")
    assert {"psnr", "mae", "psnr_band"} <= set(rows)
    assert not rows.columns.duplicated().any()

    changed = replace(metrics.METRICS["mae"], definition="another", pixels=lambda a, b: (a - b).abs())
    monkeypatch.setitem(metrics.METRICS, "mae", changed)
    evaluate([str(run)], replace(protocol, metrics=("psnr", "mae")), tmp_path / "r", device="cpu")
    again = read_result(tmp_path / "r").methods["tiny"]
    assert again.mean("mae") == pytest.approx(after.mean("mae") / 255, rel=1e-3)
    assert again.metrics["psnr"] == after.metrics["psnr"]


def test_weights_files_are_read_once_an_evaluation(
    run: Path, protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    read: list[str] = []
    read_bytes = Path.read_bytes

    def counted(file: Path) -> bytes:
        read.append(file.name)
        return read_bytes(file)

    monkeypatch.setattr(Path, "read_bytes", counted)
    monkeypatch.setattr("mend.evaluate.run.certify", lambda names, device: {})  # it takes seconds, and reads no weights anew
    with_sets = replace(protocol, metrics=("lpips-cifar", "kid-cifar"))
    evaluate([str(run), "mean-colour", "telea"], with_sets, tmp_path / "r", device="cpu")
    assert read.count(WEIGHTS.name) == 2, "for the keys of the metrics, and for the features of the originals"


def test_the_first_few_are_another_result(run: Path, protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    file = evaluate([str(run)], replace(protocol, published=(Published("x", "y", {}),)), limit=4, device="cpu")
    assert file == Path("results/tiny-v1-first-4.json")
    assert (read_result(file).n, read_result(file).protocol.published) == (4, ())


@pytest.mark.slow
def test_too_few_images_for_a_distance_are_said_and_not_scored(run: Path, protocol: Protocol, tmp_path: Path):
    with_sets = replace(protocol, metrics=("psnr", "fid-cifar", "kid-cifar"))
    evaluate([str(run)], with_sets, tmp_path / "r", device="cpu")
    result = read_result(tmp_path / "r")
    assert result.unavailable == {"fid-cifar": "FID-CIFAR needs 193 images at least, and there are 12; KID is made for few"}
    assert set(result.methods["tiny"].metrics_scored) == {"psnr", "kid-cifar"}
    assert result.methods["tiny"].metrics["kid-cifar"].n == 12
    again: list[str] = []
    evaluate([str(run)], with_sets, tmp_path / "r", device="cpu", on_batch=lambda name, *_: again.append(name))
    assert again == [], "it is not tried for ever"
    with pytest.raises(Unavailable, match="needs 193 images"):
        evaluate([str(run)], with_sets, tmp_path / "r", metrics=["fid-cifar"], device="cpu")


def test_bad_arguments_are_refused(run: Path, protocol: Protocol, masks: Path, result: Path, tmp_path: Path):
    others = make_masks(load_images(protocol.data, "test"), "boxes", tmp_path / "boxes").folder
    for arguments, said in (
        ((["teela"], protocol, tmp_path / "r"), "unknown method 'teela'.*Did you mean 'telea'"),
        (([str(run), str(run / "model")], protocol, tmp_path / "r"), "would both be called tiny"),
        (([str(run)], protocol, tmp_path / "r", None, str(masks / "train")), "is for .*not for"),
        (([str(run)], replace(protocol, name="other"), result), "holds another protocol"),
        (([str(run)], replace(protocol, masks=str(others)), result), r"\(mask_set differ\)"),
    ):
        with pytest.raises(InputError, match=said):
            evaluate(*arguments)


def test_a_misspelt_metric_is_refused_before_any_data_is_read(protocol: Protocol, tmp_path: Path):
    nowhere = replace(protocol, data=str(tmp_path / "nowhere"))
    for score in (
        lambda: evaluate(["telea"], nowhere, tmp_path / "r", metrics=["psrn"]),
        lambda: evaluate(["telea"], replace(nowhere, metrics=("psrn",)), tmp_path / "r"),
        lambda: evaluate_folders(tmp_path / "a", [tmp_path / "b"], tmp_path / "c", tmp_path / "r", ["psrn"]),
    ):
        with pytest.raises(InputError, match=r"unknown metric 'psrn'\. Did you mean 'psnr'"):
            score()


def test_a_network_metric_is_scored_an_image_at_a_time(
    run: Path, protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from mend.evaluate import metrics

    @torch.inference_mode()
    def difference(filled: metrics.Batch, image: metrics.Batch) -> torch.Tensor:
        return (filled.pictures - image.pictures).abs().mean((1, 2, 3))

    stand_in = replace(metrics.METRICS["lpips"], per_image=lambda device: difference)
    monkeypatch.setitem(metrics.METRICS, "lpips", stand_in)
    evaluate([str(run)], replace(protocol, metrics=("lpips", "mae")), tmp_path / "r", device="cpu")
    rows = pd.read_parquet(tmp_path / "r" / "tiny.parquet")
    assert np.allclose(rows["lpips"] * 255, rows["mae"], rtol=1e-4)


def test_set_metrics_are_taken_on_both_outputs(run: Path, protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from mend.evaluate import metrics

    def mean_difference(sets: metrics.FeatureSets) -> float:
        return (sets.truth - sets.filled).abs().sum().item()

    monkeypatch.setitem(metrics.FEATURES, "pixels", lambda device: lambda batch: batch.pictures.flatten(1))
    monkeypatch.setitem(
        metrics.METRICS, "fid", replace(metrics.METRICS["fid"], distance=mean_difference, network="pixels", fewest=1)
    )
    evaluate([str(run)], replace(protocol, metrics=("fid",)), tmp_path / "r", device="cpu")
    scored = read_result(tmp_path / "r").methods["tiny"]
    assert 0 < scored.mean("fid") < scored.mean("fid_raw")


def test_a_network_of_others_is_scored_by_its_file(protocol: Protocol, tmp_path: Path):
    file = write_network(tmp_path, made_graph(), "mine.onnx")
    evaluate([str(file), "telea"], protocol, tmp_path / "r", device="cpu")
    method = read_result(tmp_path / "r").methods["mine"]
    filler = load_filler(file)
    assert (method.weights, method.model.model) == (filler.version, "mine")
    assert method.model.contract["licence"]
    assert 5 < method.mean("psnr") < 100
    before = (tmp_path / "r.json").read_bytes()
    evaluate([str(file)], protocol, tmp_path / "r", device="cpu", on_batch=lambda *_: pytest.fail("it was scored again"))
    assert (tmp_path / "r.json").read_bytes() == before
    with pytest.raises(InputError, match=r"none\.onnx does not exist"):
        evaluate([str(tmp_path / "none.onnx")], protocol, tmp_path / "r", device="cpu")
    with pytest.raises(InputError, match=r"unknown method 'lamma'.* Did you mean 'lama'"):
        evaluate(["lamma"], protocol, tmp_path / "r", device="cpu")


# --- Folders of pictures -----------------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Originals of three sizes, their masks, and fillings with grey, saved under other suffixes and in a folder within."""
    truth, masks, filled = (tmp_path / name for name in ("truth", "masks", "filled"))
    for i, (height, width) in enumerate([(32, 32), (32, 32), (40, 24), (48, 64)]):
        name = f"inner/{i}" if i == 2 else str(i)
        pixels, mask = smooth(height, width, i), np.zeros((height, width), np.uint8)
        mask[8:20, 8:16] = 255
        grey = np.where(mask[..., None] > 0, 128, pixels).astype(np.uint8)
        for folder, suffix, array in ((truth, ".png", pixels), (masks, ".png", mask), (filled, ".bmp", grey)):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / f"{name}{suffix}")
    return truth, masks, filled


def test_a_picture_whose_known_pixels_were_kept_is_looked_at_once(
    folders: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    truth, masks, filled = folders
    monkeypatch.setattr("mend.evaluate.run.certify", lambda names, device: {})  # which looks too
    seen, look = [], classifier_changes.compare_where_changed
    monkeypatch.setattr(
        classifier_changes, "compare_where_changed", lambda network, *pair: seen.append(len(pair[0])) or look(network, *pair)
    )
    evaluate_folders(truth, [filled], masks, tmp_path / "r", ["lpips-cifar"], "cpu")
    assert sum(seen) == 4, "each pair"
    rows = pd.read_parquet(tmp_path / "r" / "filled.parquet")
    assert rows["lpips-cifar"].tolist() == rows["lpips-cifar_raw"].tolist()


def test_folders_filled_by_any_program_are_scored(folders: tuple[Path, Path, Path], tmp_path: Path):
    truth, masks, filled = folders
    evaluate_folders(truth, [filled], masks, tmp_path / "r", ["psnr", "ssim", "mae"], "cpu")
    rows = pd.read_parquet(tmp_path / "r" / "filled.parquet")
    assert rows["name"].tolist() == ["0", "1", "3", "inner/2"]
    pixels = smooth(40, 24, 2).astype(np.float64)
    error = np.abs(pixels[8:20, 8:16] - 128)
    assert rows["mae_hole"][3] == pytest.approx(error.mean(), rel=1e-4)
    assert rows["coverage"][3] == pytest.approx(96 / 960)
    assert read_result(tmp_path / "r").n == 4
    assert report(tmp_path / "r", tmp_path / "report").exists()


def test_a_thread_for_each_core_gives_the_same_numbers(
    folders: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    truth, masks, filled = folders
    used, read = set[int](), Scenes.batch
    monkeypatch.setattr(Scenes, "batch", lambda self, places: used.add(threading.get_ident()) or read(self, places))
    tables, threads = [], torch.get_num_threads()
    try:
        for count in (1, 2):
            used.clear()
            torch.set_num_threads(count)
            evaluate_folders(truth, [filled], masks, tmp_path / str(count), ["psnr", "ssim", "lpips-cifar"], "cpu")
            assert torch.get_num_threads() == count
            assert (len(used) > 1) == (count > 1), "the pictures for looking are read by this thread"
            tables.append(pd.read_parquet(tmp_path / str(count) / "filled.parquet"))
    finally:
        torch.set_num_threads(threads)
    pd.testing.assert_frame_equal(*tables, rtol=1e-5)


def test_folders_that_do_not_fit_are_refused_with_a_list(folders: tuple[Path, Path, Path], tmp_path: Path):
    truth, masks, filled = folders

    def refused(said: str) -> None:
        with pytest.raises(InputError, match=said):
            evaluate_folders(truth, [filled], masks, tmp_path / "r", ["psnr"], "cpu")

    (filled / "1.bmp").rename(filled / "one.bmp")
    refused(r"filled does not pair with .*truth: 1 missing \(1\) and 1 extra \(one\)")
    (filled / "one.bmp").rename(filled / "1.bmp")
    Image.fromarray(smooth(16, 16, 0)).save(filled / "3.bmp")
    refused(r"3\.bmp is 16×16, its original 64×48")
    Image.fromarray(smooth(48, 64, 3)).save(filled / "3.png")
    refused("two pictures called 3: 3.bmp and 3.png")
    (filled / "3.png").unlink()
    Image.fromarray(np.full((48, 64), np.nan, np.float32)).save(filled / "3.tiff")
    (filled / "3.bmp").unlink()
    refused(r"3\.tiff holds float values from nan to nan")


def test_inverted_masks_and_other_pictures_are_seen(folders: tuple[Path, Path, Path], tmp_path: Path):
    truth, masks, filled = folders
    for file in masks.rglob("*.png"):
        Image.fromarray(255 - np.asarray(Image.open(file))).save(file)
    with pytest.raises(InputError, match="the masks are inverted"):
        evaluate_folders(truth, [filled], masks, tmp_path / "r", ["psnr"], "cpu")
    for file in filled.rglob("*.bmp"):
        height, width = np.asarray(Image.open(file)).shape[:2]
        Image.fromarray(smooth(height, width, 77)).save(file)
    with pytest.raises(InputError, match="these are not fillings of the same pictures"):
        evaluate_folders(truth, [filled], masks, tmp_path / "r", ["psnr"], "cpu")


def test_a_name_that_is_taken_is_refused(folders: tuple[Path, Path, Path], tmp_path: Path):
    truth, masks, filled = folders
    for name in ("original", "telea"):
        with pytest.raises(InputError, match=f"{name} is taken; rename the folder"):
            evaluate_folders(truth, [filled.rename(filled.with_name(name))], masks, tmp_path / "r", ["psnr"], "cpu")
        filled.with_name(name).rename(filled)
    with pytest.raises(InputError, match="filled is taken"):
        evaluate_folders(truth, [filled, filled], masks, tmp_path / "r", ["psnr"], "cpu")


def test_swapped_channels_and_another_range_are_seen_in_the_known_pixels(folders: tuple[Path, Path, Path], tmp_path: Path):
    truth, masks, filled = folders
    pictures = {file: np.asarray(Image.open(file)) for file in filled.rglob("*.bmp")}
    for change, said in (
        (lambda p: p[..., ::-1], "saved as BGR"),
        (lambda p: (p > 128).astype(np.uint8), "hold 0 and 1 only"),
    ):
        for file, pixels in pictures.items():
            Image.fromarray(np.ascontiguousarray(change(pixels))).save(file)
        with pytest.raises(InputError, match=said):
            evaluate_folders(truth, [filled], masks, tmp_path / "r", ["psnr"], "cpu")


def test_a_method_that_gives_nan_is_named_with_the_image(protocol: Protocol, tmp_path: Path, monkeypatch):
    def broken(self: Classical, masked: np.ndarray, hole: np.ndarray) -> np.ndarray:
        raw = masked.copy()
        raw[7] = np.nan
        return raw

    monkeypatch.setattr(Classical, "__call__", broken)
    with pytest.raises(InputError, match=r"telea gives values from nan to nan for test/007\.png"):
        evaluate(["telea"], protocol, tmp_path / "r", device="cpu")


def test_only_the_first_process_reads_the_features_of_the_originals(
    protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(distributed, "FIRST", False)
    monkeypatch.setattr("mend.evaluate.scores._find_cached_features", lambda *_: pytest.fail("this is not the first"))
    evaluate(["mean-colour"], replace(protocol, metrics=("psnr", "kid-cifar")), tmp_path / "result", device="cpu")


@pytest.mark.skipif(sys.platform != "linux", reason="what is mapped is read in /proc")
def test_pictures_of_an_evaluation_that_is_stopped_are_let_go_of_and_removed(
    protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def as_windows_has_it(path: Path, missing_ok: bool = False) -> None:
        assert str(path) not in Path("/proc/self/maps").read_text()
        path.rename(tmp_path / "removed")

    monkeypatch.setattr(Path, "unlink", as_windows_has_it)
    with pytest.raises(KeyboardInterrupt), open_pictures(tmp_path, "tiny", load_scenes(protocol)):
        raise KeyboardInterrupt
    assert (tmp_path / "removed").exists()


def test_a_place_that_cannot_be_written_is_said_with_what_to_do(protocol: Protocol, tmp_path: Path):
    (tmp_path / "out").write_text("a file, and no folder")
    said = pytest.raises(InputError, match="pictures cannot be written: .*Write to another folder")
    with said, open_pictures(tmp_path / "out", "tiny", load_scenes(protocol)):
        pass


def test_the_shipped_protocols_can_be_read():
    assert read_protocol("cifar10-object-v1").metrics == ("psnr", "ssim", "lpips", "fid", "lpips-cifar", "fid-cifar", "mae")
    assert len(read_protocol("cifar10-object-v1").published) == 2
    assert read_protocol("photos-object-v1").data == "photos"


MEMORY = """
import sys
from functools import partial
from pathlib import Path
import numpy as np
import torch
from mend.evaluate.methods import load_filler_method
from mend.evaluate.protocol import Protocol
from mend.evaluate.scenes import Scenes
from mend.evaluate.scores import Originals, score

count, noise = 20_000, np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), np.uint8)
hole = np.zeros((32, 32), bool)
hole[8:20, 8:20] = True
names = [str(i) for i in range(count)]
scenes = Scenes(names, [""] * count, np.arange(count), names, [(32, 32)] * count, lambda i: noise[i % 100], lambda i: hole, "")
method = load_filler_method("mean-colour", "mean-colour", Protocol("p", "P", "", ()), scenes, "cpu")
own = []

def heard(done, of):
    status = Path("/proc/self/status").read_text()
    own.append(next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")))

score(method, scenes, ["psnr"], Originals(scenes), Path(sys.argv[1]), torch.device("cpu"), heard)
print((own[-1] - own[len(own) // 5]) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_batches(tmp_path: Path):
    done = subprocess.run([sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True, text=True, cwd=ROOT, check=True)
    assert int(done.stdout) < 30, "megabytes for 16,000 images, whose scores take one"


@pytest.mark.parametrize(("height", "width", "scaled"), [(200, 300, (128, 192)), (300, 200, (192, 128)), (1, 400, (1, 192))])
def test_pictures_for_looking_are_scaled_as_pillow_does(height: int, width: int, scaled: tuple[int, int]):
    pixels = smooth(height, width, 0)
    (framed,) = make_thumbnails(to_image(pixels[None]), 192)
    expected = np.asarray(Image.fromarray(pixels).resize(scaled[::-1], Image.Resampling.BICUBIC))
    assert np.abs(framed[: scaled[0], : scaled[1]].astype(int) - expected).max() <= 1
    assert (framed[scaled[0] :] == 255).all()
    assert (framed[:, scaled[1] :] == 255).all()
