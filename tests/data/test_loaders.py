from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import smooth
from PIL import Image

from mend.data.loaders import Batches, Crops, count_share, draw_crop, draw_epoch_rows
from mend.errors import InputError


def test_broken_files_are_counted_once_however_many_crops_they_give(tmp_path: Path):
    files = [tmp_path / f"{i:03d}.png" for i in range(101)]
    for file in files:
        Image.fromarray(smooth(8, 8, 0)).save(file)
    files[7].write_bytes(b"words")

    def crops(several: list[Path]) -> int:
        rows = np.arange(3 * len(several))
        return len(list(Crops(several, 8, rows, lambda epoch, i: np.zeros((1, 8, 8), np.float32), 0, 0)))

    with pytest.warns(UserWarning, match=r"1 of 101 pictures.*\n.*007.png") as said:
        assert crops(files) == 303, "another stands in for it"
    assert len(said) == 1
    with pytest.raises(InputError, match="1 of 10 pictures are unreadable, more than 1%"):
        crops(files[:10])


def test_an_epoch_is_shuffled_alike_for_any_number_of_processes():
    one = draw_epoch_rows(100, 3, 1, 16)
    assert sorted(one) == list(range(100))
    assert not np.array_equal(one, draw_epoch_rows(100, 3, 2, 16))
    step_one = sorted([*draw_epoch_rows(100, 3, 1, 16, 0, 2)[:8], *draw_epoch_rows(100, 3, 1, 16, 1, 2)[:8]])
    assert step_one == sorted(one[:16]), "the same images make a step, however many processes share it"


@pytest.mark.parametrize(("count", "size", "world"), [(100, 16, 2), (101, 15, 2), (33, 16, 3), (7, 7, 7), (5, 8, 8)])
def test_in_all_shares_every_image_is_once(count: int, size: int, world: int):
    """A row that only evens out the number of steps comes last, and has no weight."""
    steps = [min(size, count - i) for i in range(0, count, size)]
    seen: list[int] = []
    for rank in range(world):
        rows = draw_epoch_rows(count, 0, 0, size, rank, world)
        assert -(-len(rows) // count_share(size, rank, world)) == len(steps), "as many steps as one process makes"
        weighed = sum(count_share(step, rank, world) for step in steps)
        assert weighed in (len(rows), len(rows) - 1)
        seen += rows[:weighed].tolist()
    assert sorted(seen) == list(range(count))


def test_batches_give_images_and_holes_in_order():
    pixels = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 3, 2, 2)
    holes = torch.zeros(5, 1, 2, 2, dtype=torch.uint8)
    batches = list(Batches(pixels, holes, np.array([4, 0, 2]), 2))
    assert [len(image) for image, _ in batches] == [2, 1]
    assert (batches[0][0][:, 0, 0, 0] * 255).tolist() == pytest.approx([4, 0])


def test_crops_do_not_depend_on_the_number_of_workers(tmp_path: Path):
    for i in range(6):
        Image.fromarray(smooth(40 + i, 50, i)).save(tmp_path / f"{i}.png")
    files = sorted(tmp_path.glob("*.png"))

    def hole(epoch: int, i: int) -> np.ndarray:
        return np.zeros((1, 16, 16), np.float32)

    def crops(epoch: int, workers: int) -> list[torch.Tensor]:
        data = Crops(files, 16, np.arange(6), hole, 0, epoch, batch_size=4)
        loader = torch.utils.data.DataLoader(data, batch_size=4, num_workers=workers)
        assert len(loader) == 2
        return [image for image, _ in loader]

    alone, shared = crops(1, 0), crops(1, 2)
    assert all(torch.equal(a, b) for a, b in zip(alone, shared, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(alone, crops(2, 0), strict=True))


def test_a_crop_is_a_part_of_the_picture_as_it_is_or_mirrored():
    pixels = smooth(40, 60, 0)
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (24, 24), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
    mirrored = 0
    for key in range(20):
        cut = draw_crop(pixels, 24, 1, key)
        as_it_is, flipped = ((windows == part).all((2, 3, 4)).any() for part in (cut, cut[:, ::-1]))
        assert as_it_is or flipped
        mirrored += flipped
    assert 4 < mirrored < 16
    assert draw_crop(smooth(10, 300, 0), 24, 1, 0).shape == (24, 24, 3), "a small picture is enlarged"


def test_a_crop_may_show_more_of_the_picture_shrunk():
    ramp = np.broadcast_to(np.arange(250, dtype=np.uint8)[:, None, None], (250, 250, 3))  # one level a pixel
    slopes = [np.ptp(draw_crop(ramp, 24, 4.0, key)[2:-2, 12, 0].astype(int)) / 19 for key in range(40)]
    assert min(slopes) < 1.3
    assert 3 < max(slopes) <= 4.1
    assert np.ptp(draw_crop(ramp, 24, 100.0, 3)[:, 0, 0].astype(int)) <= 249, "at most all of it"


def test_two_rows_of_one_picture_are_two_crops(tmp_path: Path):
    Image.fromarray(smooth(60, 60, 0)).save(tmp_path / "0.png")
    data = Crops([tmp_path / "0.png"], 16, np.arange(2), lambda epoch, i: np.zeros((1, 16, 16), np.float32), 0, 0)
    (first, _), (second, _) = data
    assert not torch.equal(first, second)
