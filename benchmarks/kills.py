"""Commands ended by `kill -9` at a random moment, and run again: the same files, none damaged, none lost.

python benchmarks/kills.py results/kills.json [COUNT [SEED]]

Each of JOBS runs once undisturbed; then it is killed COUNT times (20), each time in a new folder and after a random
part of the time that it took, and the same command runs again. What is found is counted:

same         the second run ended well, with the files of the undisturbed one
damaged      after the kill a file was there that is not whole
failed       the second run did not end well
other        its files are others than those of the undisturbed run, or others are beside them
finished     it was over before the moment came, which does not count: there is another
left         hidden files of the killed run that are still there, which nothing takes for a picture
"""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

WRONG = ("damaged", "failed", "other")
OUTCOMES = ("same", *WRONG, "finished", "left")


@dataclass(frozen=True)
class Work:
    """A command that is run beside `made`, where its inputs are; it writes below `out`.

    With `cache`, what it compiles or keeps for later is new in each run, too.
    """

    words: str
    cache: bool = False


TRAINING = "--model unet-aspp --width 4 --epochs 4 --batch-size 16 --precision fp32 --workers 0"
SCORING = "--filled made/results --masks made/masks --metrics psnr,ssim"
JOBS = {
    "fill": Work("fill made/photo.png --mask made/mask.png --output out/filled.png --keep-mask out/hole.png --model telea"),
    "fill a folder": Work("fill made/folder --masks made/masks --output out --keep-mask kept --model telea"),
    "masks": Work("masks made/small --segmenter felzenszwalb --out out", cache=True),
    "evaluate": Work(f"evaluate --truth made/folder {SCORING} --out out/result"),
    "train": Work(f"train --data made/small --masks made/sets {TRAINING} --out out", cache=True),
    "fill, first time": Work("fill made/photo.png --mask made/mask.png --output out/filled.png", cache=True),
}


def make_inputs(folder: Path) -> None:
    """A photograph and its mask, a folder of them with filled ones, and small pictures to train on with their masks."""
    import skimage

    data = Path(skimage.__file__).parent / "data"
    with Image.open(data / "astronaut.png") as opened:
        photo = opened.convert("RGB")
    marks = Image.new("L", photo.size)
    ImageDraw.Draw(marks).ellipse((200, 200, 300, 290), fill=255)
    for name in ("folder", "masks", "results", "small/train", "small/test"):
        (folder / name).mkdir(parents=True)
    photo.save(folder / "photo.png")
    marks.save(folder / "mask.png")
    for i in range(12):
        part = photo.crop((20 * i, 10 * i, 20 * i + 240, 10 * i + 200))
        part.save(folder / "folder" / f"{i:02d}.{'jpg' if i % 3 == 0 else 'png'}")
        marks.crop((120, 150, 360, 350)).save(folder / "masks" / f"{i:02d}.png")
        part.save(folder / "results" / f"{i:02d}.png")
    for i in range(120):
        left, top = 16 * (i % 30), 16 * (i // 30)
        part = photo.crop((left, 4 * top, left + 32, 4 * top + 32))
        part.save(folder / "small" / ("test" if i % 6 == 0 else "train") / f"{i:03d}.png")


# --- One job ---------------------------------------------------------------------------------------------------------


def start(work: Work, case: Path) -> "subprocess.Popen[bytes]":
    """The command, in a folder of its own and as the first of a group of processes."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if work.cache:
        environment |= {"MEND_CACHE": str(case / "cache"), "NUMBA_CACHE_DIR": str(case / "cache" / "numba")}
    command = [sys.executable, "-m", "mend", *work.words.split()]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=case, env=environment, stdout=subprocess.DEVNULL, stderr=pipe, start_new_session=True)


def finish(work: Work, case: Path) -> str:
    """Run the command to its end: "", or what it said when that was not a good one."""
    process = start(work, case)
    try:
        _, said = process.communicate(timeout=600)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return "it hangs"
    text = said.decode(errors="replace").strip()
    return text.splitlines()[-1] if process.returncode or "Traceback" in text else ""


def kill(work: Work, case: Path, seconds: float) -> float | None:
    """Start the command and kill it after so many seconds; how long it took where it was over before."""
    begun = time.perf_counter()
    process = start(work, case)
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None
    return time.perf_counter() - begun


def new_case(root: Path, name: str) -> Path:
    case = root / name
    case.mkdir()
    (case / "made").symlink_to(root / "made", target_is_directory=True)
    return case


# --- What is there ---------------------------------------------------------------------------------------------------


def files_of(case: Path) -> dict[str, Path]:
    """All files that a command wrote, by their place, hidden ones too; without locks and TensorBoard's, a new one each time."""
    found = {p.relative_to(case).as_posix(): p for p in sorted(case.rglob("*")) if p.is_file()}
    others = ("made/", "cache/", "out/tensorboard/")
    return {name: p for name, p in found.items() if not name.startswith(others) and p.suffix != ".lock" and p.name != ".lock"}


def is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in Path(name).parts) or name.endswith(".part")


def read(file: Path) -> Any:
    """What is in a file, without the times that differ from run to run; an error for a file that is not whole."""
    content = file.read_bytes()
    reader = READERS.get(file.suffix)
    return reader(content) if reader else content


def _read_picture(content: bytes) -> bytes:
    with Image.open(io.BytesIO(content)) as opened:
        opened.load()
    return content


def _read_json(content: bytes) -> Any:
    return _without_times(json.loads(content))


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(one) for key, one in value.items() if key != "seconds"}
    return [_without_times(one) for one in value] if isinstance(value, list) else value


def _read_array(content: bytes) -> Any:
    return np.load(io.BytesIO(content)).tobytes()


def _read_table(content: bytes) -> Any:
    import pandas as pd

    rows = pd.read_csv(io.BytesIO(content)) if content[:4] != b"PAR1" else pd.read_parquet(io.BytesIO(content))
    return rows.drop(columns=[name for name in rows if "seconds" in name]).to_csv()


def _read_weights(content: bytes) -> Any:
    from safetensors.numpy import load

    return {name: array.tobytes() for name, array in load(content).items()}


def _read_checkpoint(content: bytes) -> Any:
    import torch

    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)["epoch"]


READERS: dict[str, Callable[[bytes], Any]] = {
    ".png": _read_picture,
    ".jpg": _read_picture,
    ".json": _read_json,
    ".npy": _read_array,
    ".csv": _read_table,
    ".parquet": _read_table,
    ".safetensors": _read_weights,
    ".ckpt": _read_checkpoint,
}


def find_damaged(case: Path) -> list[str]:
    """The files that are there and not whole."""
    damaged = []
    for name, file in files_of(case).items():
        try:
            if not is_hidden(name):
                read(file)
        except Exception as error:
            damaged.append(f"{name}: {type(error).__name__}: {error}")
    return damaged


def find_others(case: Path, expected: dict[str, Any]) -> list[str]:
    """The files that are missing, too many, or other than expected."""
    found = {name: read(file) for name, file in files_of(case).items() if not is_hidden(name)}
    names = sorted(found.keys() | expected.keys())
    return [name for name in names if name not in found or name not in expected or found[name] != expected[name]]


# --- All of them -----------------------------------------------------------------------------------------------------


def measure(count: int = 20, seed: int = 0, names: Sequence[str] = tuple(JOBS)) -> Iterator[dict[str, Any]]:
    """What came of the jobs so far, after each; see the head of this file."""
    rng = np.random.default_rng(seed)
    jobs: dict[str, Any] = {}
    bad: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_inputs(root / "made")
        if "train" in names:
            assert not finish(Work("masks made/small --segmenter strokes --out made/sets"), new_case(root, "sets"))
        for name in names:
            work, place = JOBS[name], name.replace(" ", "-").replace(",", "")
            undisturbed = new_case(root, place)
            begun = time.perf_counter()
            said = finish(work, undisturbed)
            assert not said, f"{name}: {said}"
            longest = time.perf_counter() - begun
            expected = {file: read(path) for file, path in files_of(undisturbed).items()}
            counts = Counter[str]()
            while sum(counts[outcome] for outcome in ("same", *WRONG)) < count:
                case = new_case(root, f"{place}-{counts.total()}")
                moment = float(rng.uniform(0, longest))
                took = kill(work, case, moment)
                if took is not None:  # other work on the computer had made the first run long
                    longest = min(longest, took)
                    counts["finished"] += 1
                else:
                    outcome, what = run_again(work, case, expected)
                    counts[outcome] += 1
                    counts["left"] += sum(is_hidden(file) for file in files_of(case))
                    if outcome in WRONG:
                        bad.append({"job": name, "seconds": round(moment, 2), "outcome": outcome, "what": what})
                shutil.rmtree(case)
            jobs[name] = {"seconds": round(longest, 1), **{outcome: counts[outcome] for outcome in OUTCOMES}}
            print(name, jobs[name], file=sys.stderr)
            yield {"kills": count, "seed": seed, "jobs": jobs, "bad": bad}


def run_again(work: Work, case: Path, expected: dict[str, Any]) -> tuple[str, list[str]]:
    """Run a command that was killed again: the outcome, and what is wrong."""
    if damaged := find_damaged(case):
        return "damaged", damaged
    if said := finish(work, case):
        return "failed", [said]
    others = find_others(case, expected)
    return ("other" if others else "same"), others


if __name__ == "__main__":
    from mend.models.checkpoint import commit

    version = commit()
    for record in measure(*map(int, sys.argv[2:])):
        Path(sys.argv[1]).write_text(json.dumps({"commit": version, **record}, indent=2) + "\n", encoding="utf-8")
