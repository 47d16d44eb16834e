import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import SHARED, mend, needs_shared
from PIL import Image

from mend.data import duplicates
from mend.data.duplicates import COLUMNS, find_near_duplicates, hash_content, read_list
from mend.data.sources import Images, load_images
from mend.errors import InputError
from mend.images import read_rgb


def textured(height: int, width: int, seed: int) -> np.ndarray:
    """A picture with detail everywhere, some of it grey and some coloured."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def images(pixels: list[np.ndarray], split: str = "test") -> Images:
    rows = np.arange(len(pixels))
    return Images(np.stack(pixels), -np.ones(len(rows), int), [str(i) for i in rows], (), "", rows, "made", split)


def recompressed(pixels: np.ndarray) -> np.ndarray:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=60)
    return np.asarray(Image.open(data))


COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exact": lambda pixels: pixels,
    "mirrored": lambda pixels: pixels[:, ::-1],
    "shifted": lambda pixels: np.roll(pixels, (1, 1), (0, 1)),
    "shifted by two and mirrored": lambda pixels: np.roll(pixels, 2, 1)[:, ::-1],
    "darker, less contrast": lambda pixels: (pixels * 0.6 + 20).astype(np.uint8),
    "another tint": lambda pixels: (pixels * [1.0, 0.8, 0.6]).astype(np.uint8),
    "recompressed": recompressed,
}


@pytest.fixture
def train() -> Images:
    return images([textured(32, 32, i) for i in range(60)], "all")


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_found(train: Images, kind: str):
    test = images([textured(32, 32, 1000), COPIES[kind](train.pixels[41]), textured(32, 32, 1001)])
    table = find_near_duplicates(test, train)
    assert table[["test_row", "train_row", "train_images"]].to_numpy().tolist() == [[1, 41, 1]]
    assert table["mirrored"].item() == ("mirrored" in kind)
    assert table["image"].item() == hash_content(test.pixels[1])
    assert (table["similarity"].item() == 1) == (kind in ("exact", "mirrored"))


def test_pictures_and_noise_of_their_own_are_not(train: Images):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(20)]
    table = find_near_duplicates(images(noise[:10] + [textured(32, 32, i) for i in range(1000, 1040)]), train)
    assert (len(table), list(table)) == (0, COLUMNS)
    assert not len(find_near_duplicates(images(noise[:10]), images(noise[10:])))


def test_two_skies_above_two_seas_are_not_though_their_pixels_correlate():
    def sea(ship: int, level: int) -> np.ndarray:
        y, x = np.mgrid[:32, :32]
        pixels = (200 - 4 * y)[..., None] + np.array([0, 10, 30])
        pixels[(abs(y - 16) < 3) & (abs(x - ship) < 5)] = level
        return pixels.astype(np.uint8)

    one, other = sea(6, 130), sea(14, 150)
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.95
    assert not len(find_near_duplicates(images([one]), images([other])))


def test_plain_areas_are_like_nothing(train: Images):
    plain = [np.full((32, 32, 3), level, np.uint8) for level in (0, 128, 255)]
    speck = plain[1].copy()
    speck[16, 16] += 1
    table = find_near_duplicates(images([*plain, speck, train.pixels[0]]), images([*plain, speck, *train.pixels], "all"))
    assert table[["test_row", "train_row", "similarity"]].to_numpy().tolist() == [[4, 4, 1.0]]


def test_the_most_similar_comes_first_and_the_others_are_counted(train: Images):
    pixels = list(train.pixels)
    pixels[3], pixels[50], pixels[7] = recompressed(pixels[20]), pixels[20][:, ::-1], recompressed(pixels[30])
    table = find_near_duplicates(images([recompressed(pixels[30]) // 2, pixels[20]]), images(pixels, "all"))
    assert table["test_row"].tolist() == [1, 0]
    assert table["train_row"].tolist()[0] == 20, "of two alike the first, and not its mirror image"
    assert table["train_images"].tolist() == [3, 2]


def test_blocks_do_not_change_the_result(train: Images, monkeypatch: pytest.MonkeyPatch):
    test = images([copy(train.pixels[i]) for i, copy in enumerate(COPIES.values())])
    whole = find_near_duplicates(test, train, 0.4)
    assert len(whole) == len(COPIES)
    monkeypatch.setattr(duplicates, "BLOCK", 4)
    monkeypatch.setattr(duplicates, "PAIRS", 3)
    seen: list[tuple[int, int]] = []
    pd.testing.assert_frame_equal(find_near_duplicates(test, train, 0.4, lambda done, of: seen.append((done, of))), whole)
    assert seen == [(i, 60) for i in range(4, 61, 4)]


@pytest.mark.parametrize("size", [(8, 8), (9, 20), (64, 64), (100, 75)])
def test_images_of_any_size(size: tuple[int, int]):
    train = images([textured(*size, i) for i in range(12)], "all")
    table = find_near_duplicates(images([textured(*size, 99), train.pixels[5][:, ::-1]]), train, 0.9)
    assert table[["test_row", "train_row", "mirrored"]].to_numpy().tolist() == [[1, 5, True]]


def test_what_cannot_be_compared_is_said(train: Images):
    with pytest.raises(InputError, match=r"test images are 20×16, the training images 32×32.*`size`"):
        find_near_duplicates(images([textured(16, 20, 0)]), train)
    with pytest.raises(InputError, match="images are 7×9; expected 8×8 pixels or more"):
        find_near_duplicates(images([textured(9, 7, 0)]), images([textured(9, 7, 0)]))
    for threshold in (0.35, 1.01, float("nan")):
        with pytest.raises(InputError, match=f"threshold is {threshold}; expected over 0.35 and at most 1"):
            find_near_duplicates(train, train, threshold)


def test_a_list_is_read_by_content(tmp_path: Path):
    file = tmp_path / "list.csv"
    file.write_text("similarity,image\n0.9,0123456789012345\n0.8,00e4567890123456\n")
    assert read_list(file) == {"0123456789012345", "00e4567890123456"}, "ids of digits alone stay as they are"
    file.write_text("image,test_row\n")
    assert read_list(file) == set()


def test_what_is_no_list_is_said(tmp_path: Path):
    with pytest.raises(InputError, match=r"no list of near-duplicates .*none\.csv\. Make it .*`out=.*none\.csv"):
        read_list(tmp_path / "none.csv")
    file = tmp_path / "list.csv"
    for text, said in (
        (b"", "No columns"),
        (b"row,similarity\n1,0.9\n", "image"),
        (b"\xff\xfe\x00\x89PNG", "no list"),
        (b"image,x\n12345,1\n", "an image is '12345'; expected 16 hexadecimal digits"),
        (b"image,x\n,1\n", "an image is ''"),
    ):
        file.write_bytes(text)
        with pytest.raises(InputError, match=said):
            read_list(file)
    with pytest.raises(InputError, match="is no list of near-duplicates"):
        read_list(tmp_path)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Twelve training pictures, and three test pictures of which one is a copy in JPEG, another a mirrored one."""
    for split, made in (
        ("train", [textured(32, 32, i) for i in range(12)]),
        ("test", [textured(32, 32, 100), recompressed(textured(32, 32, 4)), textured(32, 32, 9)[:, ::-1]]),
    ):
        (tmp_path / "set" / split).mkdir(parents=True)
        for i, pixels in enumerate(made):
            Image.fromarray(pixels).save(tmp_path / "set" / split / f"{i:02d}.png")
    return tmp_path / "set"


def test_the_verb_writes_the_list_and_the_pairs(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out" / "list.csv"
    said = mend(capsys, "duplicates", pictures, "--out", out)[1]
    assert (
        said == f"2 of 3 test images (66.7%) have a near-duplicate among 12 training images\n{out}\n{out.with_suffix('.png')}\n"
    )
    table = pd.read_csv(out)
    assert list(table) == COLUMNS
    assert table[["test_row", "train_row", "similarity", "mirrored"]].to_numpy().tolist()[0] == [2, 9, 1.0, True]
    assert table["train_row"].tolist() == [9, 4]
    test = load_images(str(pictures), "test")
    assert read_list(out) == {hash_content(test.pixels[i]) for i in (1, 2)}
    sheet = np.asarray(Image.open(out.with_suffix(".png")))
    shown = test.pixels[2].repeat(2, 0).repeat(2, 1)
    assert np.array_equal(sheet[20:84, 6:70], shown)
    assert np.array_equal(sheet[84:148, 6:70], shown), "the mirrored training image is turned, so that both look alike"
    assert "1 of 3 test images" in mend(capsys, "duplicates", pictures, "--out", out, "--threshold", "1")[1]


def test_a_list_of_none_is_written_too(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name in ("01.png", "02.png"):
        (pictures / "test" / name).unlink()
    out = tmp_path / "list.csv"
    assert mend(capsys, "duplicates", pictures, "--out", out)[1].startswith("0 of 1 test images (0.0%)")
    assert read_list(out) == set()
    assert Image.open(out.with_suffix(".png")).width > 0


def test_another_suffix_stops_before_the_work(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code, _, err = mend(capsys, "duplicates", pictures, "--out", tmp_path / "list.png")
    assert code == 1
    assert "expected a name that ends in .csv" in err


@needs_shared
def test_the_committed_list_holds_on_cifar10():
    """On a subset: some of the training images that the list names beside others, and test images in and out of it."""
    file = Path(__file__).parent.parent.parent / "results" / "cifar10-near-duplicates.csv"
    folder = SHARED / "data" / "cifar10"
    table = pd.read_csv(file).iloc[::6]
    test = load_images(str(folder), "test")
    ids = [hash_content(pixels) for pixels in test.pixels]
    assert len(set(ids)) == 10_000
    assert [ids[row] for row in table["test_row"]] == table["image"].tolist()
    cells = pd.concat([pd.read_parquet(part, columns=["img"]) for part in sorted(folder.glob("train-*.parquet"))])["img"]
    rows = np.unique([*table["train_row"], *range(0, 50_000, 250)])
    train = images([read_rgb(cell["bytes"]) for cell in cells.iloc[rows]], "all")  # decoding all 50,000 would take a minute
    others = [row for row in range(0, 10_000, 100) if ids[row] not in read_list(file)]
    found = find_near_duplicates(test.part(np.array([*table["test_row"], *others])), train)
    assert found["image"].tolist() == table["image"].tolist()
    assert rows[found["train_row"]].tolist() == table["train_row"].tolist()
    assert found["similarity"].tolist() == table["similarity"].tolist()
