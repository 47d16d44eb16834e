"""Commands ended by `kill -9` at a random moment, and run again: the same files, none damaged, none lost.

python benchmarks/kills.py results/kills.json [COUNT [SEED [JOB ...]]]

Each JOB, by default all of JOBS, runs once undisturbed; then it is killed COUNT times (20), each time in a new folder and after
a random part of the time that it took, and the same command runs again. Jobs that are in the file already and not measured stay
in it. What is found is counted:

same         the second run ended well, with the files of the undisturbed one
damaged      after the kill a file was there that is not whole
failed       the second run did not end well
other        its files are others than those of the undisturbed run, or others are beside them; or what it compiled or
             fetched is not there for the next run
finished     it was over before the moment came, which does not count: there is another
left         hidden files of the killed run that are still there, which nothing takes for a picture
"""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

WRONG = ("damaged", "failed", "other")
OUTCOMES = ("same", *WRONG, "finished", "left")


@dataclass(frozen=True)
class Work:
    """A command that is run beside `made`, where its inputs are; it writes below `out`.

    With `cache`, what it compiles or keeps for later is new in each run, too. `once` is a word that it says when it does what
    is done once on a computer.
    """

    words: str
    cache: bool = False
    once: str = ""


TRAINING = "--model unet-aspp --width 4 --epochs 4 --batch-size 16 --precision fp32 --workers 0"
SCORING = "--filled made/results --masks made/masks --metrics psnr,ssim"
JOBS = {
    "fill": Work("fill made/photo.png --mask made/mask.png --output out/filled.png --keep-mask out/hole.png --model telea"),
    "fill a folder": Work("fill made/folder --masks made/masks --output out --keep-mask kept --model telea"),
    "masks": Work("masks made/small --segmenter felzenszwalb --out out", cache=True),
    "evaluate": Work(f"evaluate --truth made/folder {SCORING} --out out/result"),
    "train": Work(f"train --data made/small --masks made/sets {TRAINING} --out out", cache=True),
    "fill, compiled the first time": Work(
        "fill made/photo.png --mask made/mask.png --output out/filled.png", cache=True, once="compiling"
    ),
    "fill, network fetched the first time": Work(
        "fill made/photo.png --mask made/mask.png --output out/filled.png --model lama", cache=True, once="fetching"
    ),
}
WITH_STAND_IN = """
import sys
from dataclasses import replace
from huggingface_hub import constants
from mend.inpaint.contracts import NETWORKS
constants.DOWNLOAD_CHUNK_SIZE = 100_000
NETWORKS["lama"] = replace(NETWORKS["lama"], bytes=int(sys.argv.pop(1)), sha256=sys.argv.pop(1))
from mend.cli import main
main()
"""
"""The command line where lama is another file, of so many bytes and this SHA-256, which is fetched in smaller pieces."""


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


# --- A hub -----------------------------------------------------------------------------------------------------------


def make_network() -> bytes:
    """A graph with the contract of lama, and 4 MB more: it fills with the mean of what is known."""
    from onnx import TensorProto, helper, numpy_helper

    shapes = {"image": [1, 3, 512, 512], "mask": [1, 1, 512, 512]}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, shapes["image"])
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3]),
        helper.make_node("Mul", ["mean", "mask"], ["inside"]),
        helper.make_node("Add", ["image", "inside"], ["filled"]),
        helper.make_node("Mul", ["filled", "white"], ["output"]),
    ]
    numbers: dict[str, np.ndarray] = {
        "white": np.array([255], np.float32),
        "more": np.random.default_rng(0).random(1_000_000, np.float32),
    }
    stored = [numpy_helper.from_array(array, name) for name, array in numbers.items()]
    graph = helper.make_graph(nodes, "stand-in", inputs, [output], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


@contextmanager
def serve(content: bytes, seconds: float = 3.0) -> Iterator[str]:
    """The address of a Hugging Face Hub on this computer that has one file, for every name, and takes so long to give it."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(206 if self.headers.get("Range") else 200)
            start = self.start()
            self.send_header("ETag", '"abc"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", f"{len(content) - start}")
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            try:
                for at in range(self.start(), len(content), 50_000):
                    self.wfile.write(content[at : at + 50_000])
                    time.sleep(seconds * 50_000 / len(content))
            except OSError:
                pass  # who asked was killed

        def start(self) -> int:
            return int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])

        def log_message(self, *words: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


# --- One job ---------------------------------------------------------------------------------------------------------


def start(work: Work, case: Path) -> "subprocess.Popen[bytes]":
    """The command, in a folder of its own and as the first of a group of processes."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    program = ["-m", "mend"]
    if work.cache:
        environment |= {"MEND_CACHE": str(case / "cache"), "NUMBA_CACHE_DIR": str(case / "cache" / "numba")}
    if work.once == "fetching":
        content, address = (case / "made" / "network").read_bytes(), (case / "made" / "address").read_text()
        environment |= {"HF_ENDPOINT": address, "HF_HOME": str(case / "hub"), "HF_HUB_DISABLE_XET": "1"}
        environment.pop("HF_HUB_OFFLINE", None)
        program = ["-c", WITH_STAND_IN, f"{len(content)}", hashlib.sha256(content).hexdigest()]
    command = [sys.executable, *program, *work.words.split()]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=case, env=environment, stdout=subprocess.DEVNULL, stderr=pipe, start_new_session=True)


def finish(work: Work, case: Path) -> tuple[int, str]:
    """Run the command to its end: its exit status, and what it said."""
    process = start(work, case)
    try:
        _, said = process.communicate(timeout=600)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return -1, "it hangs"
    return process.returncode, said.decode(errors="replace").strip()


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


def _read_graph(content: bytes) -> Any:
    import onnx

    onnx.load_model_from_string(content)
    return content


READERS: dict[str, Callable[[bytes], Any]] = {
    ".png": _read_picture,
    ".jpg": _read_picture,
    ".json": _read_json,
    ".npy": _read_array,
    ".csv": _read_table,
    ".parquet": _read_table,
    ".safetensors": _read_weights,
    ".ckpt": _read_checkpoint,
    ".onnx": _read_graph,
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


@contextmanager
def prepare(names: Sequence[str]) -> Iterator[Path]:
    """A folder with `made`, the inputs of these jobs, and a hub for those that fetch."""
    with tempfile.TemporaryDirectory() as folder, serve(content := make_network()) as address:
        made = Path(folder) / "made"
        make_inputs(made)
        if "train" in names:
            code, said = finish(Work("masks made/small --segmenter strokes --out made/sets"), new_case(made.parent, "sets"))
            assert code == 0, said
        (made / "network").write_bytes(content)
        (made / "address").write_text(address)
        yield made.parent


def run_undisturbed(work: Work, case: Path) -> tuple[float, dict[str, Any]]:
    """Seconds, and what is in the files that it writes."""
    begun = time.perf_counter()
    code, said = finish(work, case)
    assert code == 0, f"{work.words}: {said}"
    assert work.once in said, f"{work.words} does not say {work.once}: {said}"
    return time.perf_counter() - begun, {file: read(path) for file, path in files_of(case).items()}


def measure(count: int = 20, seed: int = 0, names: Sequence[str] = tuple(JOBS)) -> Iterator[dict[str, Any]]:
    """What came of the jobs so far, by name, after each; see the head of this file."""
    found: dict[str, Any] = {}
    with prepare(names) as root:
        for name in names:
            rng = np.random.default_rng([seed, list(JOBS).index(name)])
            work, place = JOBS[name], name.replace(" ", "-").replace(",", "")
            longest, expected = run_undisturbed(work, new_case(root, place))
            counts, bad = Counter[str](), []
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
                        bad.append({"seconds": round(moment, 2), "outcome": outcome, "what": what})
                shutil.rmtree(case)
            outcomes = {outcome: counts[outcome] for outcome in OUTCOMES}
            found[name] = {"seed": seed, "seconds": round(longest, 1), **outcomes, "bad": bad}
            print(name, found[name], file=sys.stderr)
            yield found


def run_again(work: Work, case: Path, expected: dict[str, Any]) -> tuple[str, list[str]]:
    """Run a command that was stopped again: the outcome, and what is wrong."""
    if damaged := find_damaged(case):
        return "damaged", damaged
    code, said = finish(work, case)
    if code or "Traceback" in said:
        return "failed", said.splitlines()[-1:]
    others = find_others(case, expected)
    if work.once and not others and work.once in finish(work, case)[1]:
        others = [f"{work.once} once more"]
    return ("other" if others else "same"), others


Measure = Callable[[int, int, Sequence[str]], Iterator[dict[str, Any]]]


def measure_into_file(measure: Measure, count: int) -> None:
    """Measure what the command line says, `count` times unless it says how often, and keep it after each job."""
    from mend.models.checkpoint import find_commit

    version, out = find_commit(), Path(sys.argv[1])
    record = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {"jobs": {}}
    numbers = [int(word) for word in sys.argv[2:4]]
    count, seed = (*numbers, *(count, 0)[len(numbers) :])
    for found in measure(count, seed, sys.argv[4:] or tuple(JOBS)):
        record["jobs"] |= {name: {"commit": version, **job} for name, job in found.items()}
        out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    measure_into_file(measure, 20)
