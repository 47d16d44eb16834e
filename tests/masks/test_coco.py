import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.draw
from conftest import Save, inside
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mend.errors import InputError
from mend.masks.coco import _decode_counts, draw_polygon
from mend.masks.reading import understand_mask


def runs(drawn: np.ndarray) -> list[int]:
    """COCO's uncompressed counts of a bool (H, W): runs down the columns, the first of them background."""
    flat = drawn.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat.astype(np.int8))) + 1
    lengths = np.diff([0, *edges, flat.size]).tolist()
    return [0, *lengths] if flat[0] else lengths


def compressed(counts: list[int]) -> str:
    """COCO's compressed counts, after `rleToString` of the COCO API."""
    text = ""
    for i, count in enumerate(counts):
        value = count - counts[i - 2] if i > 2 else count
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            text += chr(48 + (bits | 32 if more else bits))
    return text


@settings(max_examples=60, deadline=None)
@given(arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40))), st.booleans())
def test_run_lengths_come_back(tmp_path_factory: pytest.TempPathFactory, drawn: np.ndarray, short: bool):
    path = tmp_path_factory.getbasetemp() / "rle.json"
    counts = runs(drawn)
    path.write_text(json.dumps({"size": list(drawn.shape), "counts": compressed(counts) if short else counts}))
    assert np.array_equal(inside(path, drawn.shape), drawn)


@given(st.lists(st.integers(0, 10**7), max_size=12))
def test_compressed_numbers_come_back(counts: list[int]):
    assert _decode_counts(compressed(counts)) == counts


def test_run_lengths_by_hand(save: Save):
    path = save({"size": [3, 4], "counts": [4, 2, 1, 5]}, "m.json")  # down the columns
    assert inside(path).astype(int).tolist() == [[0, 0, 0, 1], [0, 1, 1, 1], [0, 1, 1, 1]]
    # 4 "4", 2 "2", 1 "1", then 5 − 2 = 3 "3"; 100 = 3·32 + 4 is "T3", −1 is "O"
    assert _decode_counts("4213") == [4, 2, 1, 5]
    assert _decode_counts("T3") == [100]
    assert _decode_counts("444O") == [4, 4, 4, 3]


def test_a_polygon_has_the_pixels_whose_centres_it_holds(save: Save):
    box = [[2, 1, 7, 1, 7, 4, 2, 4]]
    wanted = np.zeros((6, 9), np.bool_)
    wanted[1:4, 2:7] = True
    assert np.array_equal(inside(save(box, "m.json"), (6, 9)), wanted)
    assert np.array_equal(inside(save(box[0], "m.json"), (6, 9)), wanted)
    assert np.array_equal(inside(save([[2.4, 0.6, 7.4, 0.6, 7.4, 4.4, 2.4, 4.4]], "m.json"), (6, 9)), wanted)
    beyond = [[-5, 1, 20, 1, 20, 4, -5, 4], [0, 4, 1, 4, 1, 50, 0, 50]]
    wanted[1:4], wanted[4:, 0] = True, True
    assert np.array_equal(inside(save(beyond, "m.json"), (6, 9)), wanted)
    triangle = inside(save([[0, 0, 100, 0, 0, 100]], "m.json"), (100, 100))
    assert triangle.sum() == pytest.approx(5000, rel=0.011)


@pytest.mark.parametrize("grid", [1, 2, 4, 1000], ids="corners at 1/{}".format)
def test_polygons_are_drawn_as_scikit_image_draws_them(grid: int):
    rng = np.random.default_rng(grid)
    for _ in range(200):  # crossing themselves, reaching over the edge, with centres on their outline and at their corners
        size = tuple(rng.integers(1, 30, 2))
        y, x = (np.rint(grid * rng.uniform(-8, side + 8, rng.integers(3, 12))) / grid for side in size)
        x = np.resize(x, len(y))
        wanted = np.zeros(size, np.bool_)
        wanted[skimage.draw.polygon(y, x, size)] = True
        assert np.array_equal(draw_polygon(y, x, size), wanted)


def annotations() -> dict[str, Any]:
    return {
        "images": [
            {"id": 7, "file_name": "train/a.jpg", "height": 4, "width": 6},
            {"id": 9, "file_name": "b.jpg", "height": 4, "width": 6},
            {"id": 11, "file_name": "c.jpg", "height": 4, "width": 6},
        ],
        "annotations": [
            {"image_id": 9, "segmentation": [[0, 0, 6, 0, 6, 4, 0, 4]]},
            {"image_id": 7, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]},
            {"image_id": 7, "segmentation": {"size": [4, 6], "counts": [20, 4]}},
        ],
    }


def test_annotations_go_by_the_name_of_the_picture_and_are_united(save: Save):
    path = save(annotations(), "coco.json")
    wanted = np.zeros((4, 6), np.bool_)
    wanted[:2, :2], wanted[:, 5] = True, True
    reading = understand_mask(path, (4, 6), photo="a.jpg")
    assert np.array_equal(reading.hole[0, 0] > 0, wanted)
    assert reading.marked == "COCO, 2 segmentations"
    assert inside(path, (4, 6), photo="b.jpg").all()
    assert not inside(path, (4, 6), photo="c.jpg").any()
    assert inside(path, (8, 12), photo="a.jpg").shape == (8, 12)
    one = {"images": annotations()["images"][:1], "annotations": annotations()["annotations"]}
    assert np.array_equal(inside(save(one, "one.json")), wanted)
    assert np.array_equal(inside(save(annotations()["annotations"][1:], "list.json"), (4, 6)), wanted)
    assert np.array_equal(inside(save(annotations()["annotations"][2], "single.json")), np.arange(6)[None].repeat(4, 0) == 5)


def test_an_empty_segmentation_marks_nothing_and_is_said(save: Save):
    given = annotations()
    given["annotations"].append({"image_id": 9, "segmentation": []})
    reading = understand_mask(save(given, "coco.json"), (4, 6), photo="b.jpg")
    assert reading.hole.all()
    assert reading.marked == "COCO, 1 segmentation"
    assert reading.notes[0] == "segmentations that are empty and mark nothing: 1 of 2"
    assert not inside(save({"segmentation": []}, "one.json"), (4, 6)).any()


def test_a_polygon_of_two_points_is_left_out_by_name(save: Save):
    file = save([{"id": 12, "segmentation": [[1, 1, 1, 3], [0, 0, 6, 0, 6, 4, 0, 4]]}], "m.json")
    reading = understand_mask(file, (4, 6))
    assert reading.hole.all()
    assert reading.notes[0] == "a polygon of annotation 12 has 2 points, marks nothing and is left out"
    alone = understand_mask(save([{"id": 12, "segmentation": [[1, 1, 1, 3]]}], "m.json"), (4, 6))
    assert alone.notes[1:] == ["nothing is marked: the hole is empty"]


def test_labelme_marks_by_polygons_rectangles_and_circles(save: Save):
    shapes: list[dict[str, object]] = [
        {"points": [[0, 0], [4, 0], [4, 4], [0, 4]], "shape_type": "polygon"},
        {"points": [[20, 10], [16, 6]], "shape_type": "rectangle"},
        {"points": [[30, 20], [33, 24]], "shape_type": "circle"},
        {"points": [[0, 0], [9, 9]], "shape_type": "line"},
        {"points": [[0, 0], [9, 9]], "shape_type": None},
    ]
    file = save({"version": "5.5.0", "shapes": shapes, "imageHeight": 40, "imageWidth": 50, "imagePath": "a.jpg"}, "a.json")
    reading = understand_mask(file, (40, 50))
    y, x = np.mgrid[:40, :50] + 0.5
    expected = ((x < 4) & (y < 4)) | ((x > 16) & (x < 20) & (y > 6) & (y < 10)) | (np.hypot(x - 30, y - 20) < 5)
    assert np.array_equal(reading.hole[0, 0] > 0, expected)
    assert (reading.seen, reading.marked) == (f"{file}: 50×40, LabelMe", "LabelMe, 4 shapes")
    assert reading.notes == [
        "shape 5, a polygon, has 2 points, marks nothing and is left out",
        "shapes that mark no area and are left out: line",
    ]
    assert np.array_equal(understand_mask(save({"shapes": shapes}, "b.json"), (40, 50)).hole[0, 0] > 0, expected)


def test_a_picture_may_be_named_by_an_object_as_in_a_database(save: Save):
    marks = [{"image_id": {"$oid": "7f"}, "segmentation": {"size": [1, 2], "counts": [k, 1, 1 - k]}} for k in (0, 1)]
    assert inside(save(marks, "m.json")).all()
    marks[0]["image_id"] = {"$oid": "80"}
    with pytest.raises(InputError, match="annotates several pictures"):
        inside(save(marks, "n.json"))


def test_a_byte_order_mark_is_no_fault(save: Save):
    assert inside(save(b"\xef\xbb\xbf" + json.dumps({"size": [1, 1], "counts": [0, 1]}).encode(), "m.json")).all()


def test_a_picture_is_found_by_its_name_and_its_folders(save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def found(names: list[str], photo: str) -> int:
        images = [{"id": i, "file_name": name, "width": 9, "height": 1} for i, name in enumerate(names)]
        marks = [{"image_id": i, "segmentation": {"size": [1, 9], "counts": [0, i + 1, 8 - i]}} for i in range(len(names))]
        path = save({"images": images, "annotations": marks}, f"{abs(hash((*names, photo)))}.json")
        return int(understand_mask(path, (1, 9), photo=photo).hole.sum()) - 1

    assert found(["1.png", "sub/1.png"], "photos/1.png") == 0
    assert found(["1.png", "sub/1.png"], "photos/sub/1.png") == 1
    assert found(["train/a/1.png", "train/b/1.png"], "photos/b/1.png") == 1
    assert found(["a\\1.png", "b\\1.png"], "photos/a/1.png") == 0
    assert found(["elsewhere/1.png"], "photos/1.png") == 0
    assert found(["", ".", "1.png"], "photos/1.png") == 2
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    assert found(["a/1.png", "b/1.png"], "1.png") == 0
    entry = {"images": [{"id": 0, "file_name": "e/1.png", "width": 9, "height": 1}], "annotations": []}
    assert understand_mask(save(entry, "e.json"), (1, 9), photo="e/1.png").notes == ["nothing is marked: the hole is empty"]
    assert understand_mask(save(entry, "e.json"), (1, 9), photo="p/1.png").notes[0].startswith("taken for e/1.png there")
    with pytest.raises(InputError, match=r"has 2 pictures called '1\.png', and their folders do not tell them apart"):
        found(["a/1.png", "b/1.png"], "photos/1.png")


def test_what_is_not_coco_is_refused(save: Save):
    several = [{"image_id": i, "segmentation": [[0, 0, 2, 0, 2, 2]]} for i in (1, 2)]
    sizes = [{"size": [1, 2], "counts": [2]}, {"size": [2, 1], "counts": [2]}]
    for content, size, photo, said in (
        (annotations(), None, "", "annotates several pictures; say which one"),
        (annotations(), None, "a.jpeg", "has no picture called 'a.jpeg'.* Did you mean 'a.jpg'"),
        (annotations(), (40, 50), "a.jpg", "is 6×4, its picture 50×40"),
        (several, (4, 6), "", "annotates several pictures"),
        (sizes, None, "", "several sizes"),
        ([[0, 0, 2, 0, 2, 2]], None, "", "Add `photo`"),
        ([], None, "", "Add `photo`"),
        ([[0, 0, 2, 0, float("nan"), 2]], (4, 6), "", "a polygon of its list in .* holds NaN"),
        ([[0, 0, 2, 0, float("inf"), 2]], (4, 6), "", "holds inf; expected pixels"),
        ([[0, 0, 2, 0, -1e300, 2]], (4, 6), "", "holds -1e\\+300; expected pixels"),
        ({"shapes": [{"shape_type": "circle", "points": [[0, 0], [1e308, 1e308]]}]}, (4, 6), "", "holds 1e\\+308"),
        ([[0, 0, 2, 0, 2]], (4, 6), "", "has 5 numbers; expected pairs"),
        (
            [{"id": 7, "segmentation": [0, 10, 14]}],
            (4, 6),
            "",
            'annotation 7 .* has 3 numbers.*Run lengths are {"size", "counts"}',
        ),
        ([{"id": 7, "segmentation": "x"}], (4, 6), "", 'annotation 7 of .* is "x"'),
        ([[90, 10, 95, 10, 95, 15]], (4, 6), "", "a polygon of its list lies outside the picture, which is 6×4, in .*m.json"),
        ({"shapes": [{"points": [[90, 9], [95, 9], [95, 12]]}]}, (4, 6), "", "shape 1, a polygon, lies outside the picture"),
        ({"a": 1}, (4, 6), "", "has neither a size nor counts. Expected COCO"),
        ([["a"]], (4, 6), "", "holds what is no number"),
        ({"size": [4, 6]}, (4, 6), "", "the RLE of segmentation 1 in .* is damaged"),
        ({"size": [4], "counts": [24]}, (4, 6), "", "is damaged"),
        ({"size": [4, 6], "counts": [30, -6]}, (4, 6), "", "is damaged"),
        ({"size": [4, 6], "counts": {}}, (4, 6), "", "is damaged"),
        ({"size": [4000000, 6000000], "counts": [24000000000000]}, None, "", "a picture of 6000000×4000000 pixels"),
        ({"shapes": [{"points": [[0, 0], [2]]}]}, (4, 6), "", "holds what is no number"),
        ({"shapes": [{"points": [[0, 0], [float("nan"), 2], [1, 1]]}]}, (4, 6), "", "shape 1, a polygon, in .* holds NaN"),
        ({"shapes": [{}]}, (4, 6), "", "not as LabelMe"),
        ({"shapes": 3}, (4, 6), "", "not as LabelMe"),
        ({"shapes": []}, None, "", "Add `photo`"),
        ("text", (4, 6), "", "no annotations. Expected COCO"),
        (3, (4, 6), "", "no annotations. Expected COCO"),
        (None, (4, 6), "", "no annotations. Expected COCO"),
        ([None], (4, 6), "", "has 1 numbers; expected pairs"),
        ({"images": [{}], "annotations": []}, (4, 6), "", "no annotations. Expected COCO"),
        (
            {"images": [{"id": 1, "file_name": "a.jpg", "height": 4, "width": 6}], "annotations": {"1": []}},
            (4, 6),
            "a.jpg",
            "no annotations. Expected COCO",
        ),
        ({"images": [{"id": 1, "file_name": 3}], "annotations": []}, (4, 6), "a.jpg", "no annotations. Expected COCO"),
        ({"size": [2, 2], "counts": [3]}, None, "", "runs over 3 pixels, its size 2×2 has 4"),
        ({"size": [5, 5], "counts": [2**63 - 1, 2**63 - 1, 27]}, None, "", "runs over 18446744073709551641 pixels"),
        ({"size": [2, 2], "counts": [5, -1]}, None, "", "is damaged"),
        ({"size": [2, 2], "counts": "1é"}, None, "", "is damaged"),
        ({"size": [2, 2], "counts": "1 "}, None, "", "is damaged"),
        ({"size": [2, 2], "counts": "T"}, None, "", "is damaged"),
    ):
        with pytest.raises(InputError, match=said):
            understand_mask(save(content, "m.json"), size, photo=photo)
