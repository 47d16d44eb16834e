import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import needs_signals, stopped

from mend.data.sources import load_images
from mend.errors import InputError
from mend.masks.store import MaskSet
from mend.segment import networks as segment
from mend.segment.make import make_masks


def test_unknown_segmenters_are_refused_with_the_nearest(folder: Path, tmp_path: Path):
    images = load_images(str(folder), "test")
    with pytest.raises(InputError, match="Did you mean 'felzenszwalb'"):
        make_masks(images, "felzenswalb", tmp_path)
    with pytest.raises(InputError, match="no semantic-segmentation checkpoint"):
        make_masks(images, f"hf:{tmp_path}", tmp_path / "m")
    with pytest.raises(InputError, match="`coverage` is 25"):
        make_masks(images, "boxes", tmp_path / "m", coverage=25)


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
from mend.data.sources import load_images
from mend.segment import networks as segment
from mend.segment.make import make_masks
whole = segment.find_graph_object
segment.find_graph_object = lambda pixels: (time.sleep(0.02), whole(pixels))[1]
load = segment._load_felzenszwalb


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
