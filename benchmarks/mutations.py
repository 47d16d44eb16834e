"""Damaged pictures and masks through the command line: never a fault, a hang, much memory, or a pixel changed without a word.

python benchmarks/mutations.py results/mutations.json [COUNT [SEED]]
python benchmarks/mutations.py results/mutations.json again

Some forty files are made from photographs that scikit-image ships, as people have them: JPEGs, PNGs, TIFFs and others of many
kinds, masks as pictures and as annotations. Each of COUNT files (1,000) is one of them with bytes flipped, cut off, a part
doubled, a size lied about, metadata exchanged, or half of another file. It goes through `mend fill`, `mask check`, `verify` and
`evaluate`, and is sent to the studio's POST /fill, in processes that are warm, and may take SECONDS and MEMORY. What happened
is counted, by command and by damage:

done         exit 0, or status 200
refused      exit 1, or status 400, with a sentence about the file
fault        any other exit or status, or a traceback
hang         over SECONDS
memory       over MEMORY
unsaid       a pixel outside the hole changed, and the command says that all are identical
left         refused, but a file was written; or the studio kept one

With `again` the files that went wrong are tried once more, after mend was mended: those that go right are counted so, and stand
under "mended".
"""

import base64
import io
import json
import multiprocessing
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from starlette.testclient import TestClient

SECONDS, MEMORY = 20, 2 << 30
SIDE = (120, 90)
PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
KINDS = ("flip", "cut", "double", "size", "metadata", "splice")
OUT_OF_MEMORY = ("out of memory", "more memory to open", "want of memory")
OUTCOMES = ("done", "refused", "fault", "hang", "memory", "unsaid", "left")


# --- Forty files -----------------------------------------------------------------------------------------------------


def make_files() -> dict[str, bytes]:
    """Pictures, and masks whose names begin with mask, by name."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    photos = [Image.open(folder / name).convert("RGB").resize(SIDE) for name in PHOTOS]
    first, second = photos[0].copy(), photos[1].copy()
    others = [photo.copy() for photo in photos[1:]]
    exif = Image.Exif()
    exif[274], exif[271] = 6, "camera"
    files: dict[str, bytes] = {}

    def add(name: str, picture: Image.Image, kind: str, **options: Any) -> None:
        data = io.BytesIO()
        picture.copy().save(data, kind, **options)  # a JPEG leaves its settings in what it was made of
        files[name] = data.getvalue()

    kinds: list[tuple[int, dict[str, Any]]] = [(0, {}), (1, {}), (2, {"exif": exif}), (2, {"progressive": True})]
    for i, (subsampling, more) in enumerate(kinds):
        add(f"photo-{subsampling}-{i}.jpg", photos[i], "JPEG", quality=90, subsampling=subsampling, **more)
    add("grey.jpg", second.convert("L"), "JPEG", quality=80, exif=exif)
    add("restart.jpg", second, "JPEG", quality=80, restart_marker_blocks=4, dpi=(300, 300), comment=b"a cat")
    add("cmyk.jpg", second.convert("CMYK"), "JPEG", quality=80)
    add("phone.jpg", first, "MPO", save_all=True, append_images=[second.resize((40, 30))])
    alpha = first.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(SIDE))
    for name, picture in (("colour", first), ("alpha", alpha), ("palette", first.quantize(64)), ("grey", second.convert("L"))):
        add(f"{name}.png", picture, "PNG", exif=exif)
    add("deep.png", Image.fromarray(np.asarray(second.convert("L")).astype(np.uint16) * 257), "PNG")
    add("frames.png", first, "PNG", save_all=True, append_images=others)
    for name, compression, picture in (
        ("bare.tif", "raw", first),
        ("lzw.tif", "tiff_lzw", alpha),
        ("deflated.tif", "tiff_adobe_deflate", second.convert("L")),
        ("cmyk.tif", "tiff_lzw", first.convert("CMYK")),
        ("fax.tif", "group4", first.convert("1")),
        ("jpeg.tif", "jpeg", first),
    ):
        add(name, picture, "TIFF", compression=compression)
    add("pages.tif", first, "TIFF", save_all=True, append_images=others)
    add("lossless.webp", alpha, "WEBP", lossless=True, exact=True)
    add("lossy.webp", first, "WEBP", exif=exif)
    add("frames.webp", first, "WEBP", save_all=True, append_images=others)
    add("still.gif", first.quantize(64), "GIF")
    add("frames.gif", first, "GIF", save_all=True, append_images=others)
    for suffix, kind in (("bmp", "BMP"), ("ppm", "PPM"), ("tga", "TGA"), ("jp2", "JPEG2000"), ("avif", "AVIF"), ("ico", "ICO")):
        add(f"photo.{suffix}", first, kind)
    marks = mask()
    add("mask.png", marks, "PNG")
    add("mask.jpg", marks, "JPEG", quality=80)
    add("mask.tif", marks.convert("1"), "TIFF", compression="group4")
    add("mask-palette.png", marks.convert("P"), "PNG")
    painted = first.copy()
    painted.paste("red", (40, 30, 70, 60))
    add("mask-painted.png", painted, "PNG")
    polygon, box = [40, 30, 70, 30, 70, 60, 40, 60], {"shape_type": "rectangle", "points": [[40, 30], [70, 60]]}
    image = {"id": 1, "file_name": "photo.png", "width": SIDE[0], "height": SIDE[1]}
    runs = {"size": [SIDE[1], SIDE[0]], "counts": [3630, *[30, 60] * 29, 30, SIDE[0] * SIDE[1] - 3630 - 90 * 29 - 30]}
    coco = {"images": [image], "annotations": [{"id": 1, "image_id": 1, "segmentation": [polygon]}]}
    shapes = {"shapes": [box], "imageWidth": SIDE[0], "imageHeight": SIDE[1], "imageData": base64.b64encode(b"x" * 99).decode()}
    for name, content in (("coco", coco), ("runs", runs), ("labelme", shapes)):
        files[f"mask-{name}.json"] = json.dumps(content).encode()
    return files


def mask() -> Image.Image:
    marks = Image.new("L", SIDE)
    ImageDraw.Draw(marks).ellipse((40, 30, 70, 60), fill=255)
    return marks


def damage(files: dict[str, bytes], number: int, seed: int = 0) -> tuple[str, str, bytes]:
    """The name of the file, the kind of damage, and what is left: always the same for a number."""
    rng = np.random.default_rng([seed, number])
    names = list(files)
    name, kind = names[number % len(names)], KINDS[number // len(names) % len(KINDS)]
    content, other = bytearray(files[name]), files[names[rng.integers(len(names))]]
    end = len(content)
    # Headers, where most can go wrong, are hit as often as all the rest.
    place = int(rng.integers(min(end, 400)) if rng.random() < 0.5 else rng.integers(end))
    if kind == "flip":
        for _ in range(rng.integers(1, 9)):
            content[(place + int(rng.integers(64))) % end] = rng.integers(256)
    elif kind == "cut":
        del content[place:]
    elif kind == "double":
        length = int(rng.integers(1, 200))
        content[place:place] = content[place : place + length] * int(rng.integers(1, 4))
    elif kind == "size":  # wherever the true width or height stands, in either order of bytes
        sides = [side.to_bytes(2, order) for side in SIDE for order in ("big", "little")] + [
            str(side).encode() for side in SIDE
        ]
        lie = rng.choice([0, 1, 7, 121, 4000, 30000, 65535])
        for side in sides:
            if rng.random() < 0.7 and (at := content.find(side)) >= 0:
                content[at : at + len(side)] = (
                    str(lie).encode() if side.isdigit() else int(lie).to_bytes(2, "big" if side[0] == 0 else "little")
                )
    elif kind == "metadata":
        start = other.find(b"Exif")
        block = other[start : start + 200] if start >= 0 else rng.bytes(60)
        at = content.find(b"Exif")
        at = at if at >= 0 else min(place, 200)
        content[at : at + len(block)] = block
    else:
        content = content[:place] + other[int(rng.integers(len(other))) :]
    return name, kind, bytes(content)


# --- One of them through the commands --------------------------------------------------------------------------------


def run_all(folder: Path, name: str, content: bytes, client: TestClient) -> dict[str, tuple[str, str]]:
    """For each command, and for the studio of `client`, what happened, and what it said."""
    shutil.rmtree(folder, ignore_errors=True)
    good, bad = folder / "good", folder / "bad"
    for place in (good / "truth", good / "masks", bad):
        place.mkdir(parents=True)
    photo, marks = good / "truth" / "photo.png", good / "masks" / "photo.png"
    files = _files()
    photo.write_bytes(files["colour-plain.png"])
    marks.write_bytes(files["mask.png"])
    broken = bad / f"photo{Path(name).suffix}"
    broken.write_bytes(content)
    metrics = ["--metrics", "psnr", "--no-classical", "--out", folder / "scores"]
    if not name.startswith("mask"):
        fill = ["--mask", marks, "--model", "telea"]
        return {
            "fill": _fill(broken, folder / "out.png", fill),
            "fill in its format": _fill(broken, None, fill),
            "verify": _call("verify", photo, marks, broken),
            "evaluate": _call("evaluate", "--truth", photo.parent, "--filled", bad, "--masks", marks.parent, *metrics),
            "POST /fill": _post(client, broken, marks),
        }
    return {
        "mask check": _call("mask", "check", broken, "--photo", photo),
        "fill": _fill(photo, folder / "out.png", ["--mask", broken, "--model", "telea"]),
        "verify": _call("verify", photo, broken, photo),
        "evaluate": _call("evaluate", "--truth", photo.parent, "--filled", photo.parent, "--masks", bad, *metrics),
        "POST /fill": _post(client, photo, broken),
    }


_made: dict[str, bytes] = {}


def _files() -> dict[str, bytes]:
    if not _made:
        _made.update(make_files())
        with Image.open(io.BytesIO(_made["colour.png"])) as opened:
            plain = io.BytesIO()
            opened.convert("RGB").save(plain, "PNG")
        _made["colour-plain.png"] = plain.getvalue()
    return _made


def _call(*words: object) -> tuple[str, str]:
    from mend.cli import main

    said, errors = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(errors):
            main([str(word) for word in words])
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException as error:
        return "fault", f"{type(error).__name__}: {error}"
    lines = errors.getvalue().strip().splitlines()
    if any(words in errors.getvalue() for words in OUT_OF_MEMORY):
        return "memory", lines[-1]
    if code == 0 or (words[0] == "verify" and code == 1 and " differ, " in said.getvalue()):
        return "done", said.getvalue()
    return ("refused" if code == 1 and lines and lines[-1].startswith("mend: ") else "fault"), "\n".join(lines[-3:])


def _fill(photo: Path, output: Path | None, options: list[object]) -> tuple[str, str]:
    there = {photo, *photo.parent.iterdir()}
    outcome, said = _call("fill", photo, *options, *(["-o", output] if output else []))
    made = [file for file in (output, *photo.parent.iterdir()) if file and file.exists() and file not in there]
    if outcome != "done":
        return ("left" if made else outcome), said
    return _check(photo, Path(str(options[1])), made[0].read_bytes(), said)


def _post(client: TestClient, photo: Path, marks: Path) -> tuple[str, str]:
    """As `_fill`, by the studio."""
    there = _kept()
    answer = client.post("/fill", files={"image": (photo.name, photo.read_bytes()), "mask": (marks.name, marks.read_bytes())})
    if _kept() != there:
        return "left", f"the studio keeps {_kept() - there}"
    if answer.status_code == 200:
        return _check(photo, marks, answer.content, "; ".join(json.loads(answer.headers["X-Mend-Notes"])))
    said = answer.json()["error"]
    if any(words in said for words in OUT_OF_MEMORY):
        return "memory", said
    return ("refused" if answer.status_code == 400 else "fault"), said


def _check(photo: Path, marks: Path, filled: bytes, said: str) -> tuple[str, str]:
    """Done, unless a pixel outside the hole changed and it was said that none did."""
    from mend.errors import InputError
    from mend.filling.verify import compare
    from mend.images import read_image
    from mend.masks.reading import understand_mask

    try:
        before, after = read_image(photo), read_image(filled)
    except InputError as error:
        return "unsaid", f"{said}, and read again: {error}"
    hole = understand_mask(marks, before.pixels.shape[:2], picture=before).hole
    if not compare(before, hole, after).untouched and "are identical" in said:
        return "unsaid", said
    return "done", said


def _kept() -> set[Path]:
    """What the studio holds of pictures that were sent to it."""
    from mend.studio.sessions import PREFIX

    return {file for root in Path(tempfile.gettempdir()).glob(f"{PREFIX}*") for file in root.rglob("*")}


@contextmanager
def open_studio() -> Iterator[TestClient]:
    """A studio that fills by Telea's method, with temporary files of its own, and what sends pictures to it."""
    from mend.studio.methods import Method
    from mend.studio.server import make_app

    with tempfile.TemporaryDirectory() as folder:
        usual, tempfile.tempdir = tempfile.tempdir, folder
        try:
            app = make_app({"telea": Method("telea", "")}, [], "cpu", None, None)
            with TestClient(app, raise_server_exceptions=False) as client:
                yield client
        finally:
            tempfile.tempdir = usual


def work(connection: Connection) -> None:
    """Do what is sent, until nothing is."""
    import torch

    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp())
    with open_studio() as client:  # warm, and all that is imported does not count
        for name in ("colour.png", "mask.png"):
            run_all(folder, name, _files()[name], client)
    try:
        import resource

        used = 4096 * int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    except (ImportError, OSError):  # another system
        print("memory is not limited on this system", file=sys.stderr)
    with open_studio() as client:  # its processes have the limit too
        connection.send(None)
        while (sent := connection.recv()) is not None:
            start = time.perf_counter()
            name, content = sent
            outcomes = run_all(folder, name, content, client)
            named = {command: (outcome, _without_folders(said)) for command, (outcome, said) in outcomes.items()}
            connection.send((named, time.perf_counter() - start))
    shutil.rmtree(folder)


# --- All of them -----------------------------------------------------------------------------------------------------


class Worker:
    """The warm process, started anew where it was lost."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=work, args=(other,), daemon=True)
        self.process.start()
        other.close()
        self.connection.recv()

    def run(self, name: str, content: bytes) -> tuple[dict[str, tuple[str, str]], float] | None:
        """What came of a file; None where the process hangs or ended."""
        self.connection.send((name, content))
        try:
            return self.connection.recv() if self.connection.poll(4 * SECONDS) else None
        except EOFError:
            self.process.join()
            return None

    def close(self) -> None:
        self.process.kill()
        self.process.join()


def measure(count: int = 1000, seed: int = 0) -> Iterator[dict[str, Any]]:
    """What came of the files so far: after every five hundred, and at the end."""
    files, worker = make_files(), Worker()
    by_command: dict[str, Counter[str]] = {}
    by_kind: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    bad: list[dict[str, Any]] = []
    slowest: dict[str, Any] = {"seconds": 0.0}  # of all commands on one file
    for number in range(count):
        name, kind, content = damage(files, number, seed)
        found = worker.run(name, content)
        if found is None:
            what = "hang" if worker.process.is_alive() else "fault"
            worker.close()
            worker, found = Worker(), ({"any": (what, "the process was lost")}, 0.0)
        outcomes, seconds = found
        if seconds > slowest["seconds"]:
            slowest = {"number": number, "file": name, "damage": kind, "seconds": round(seconds, 2)}
        for command, (outcome, said) in outcomes.items():
            by_command.setdefault(command, Counter())[outcome] += 1
            by_kind[kind][outcome] += 1
            if outcome not in ("done", "refused"):
                bad.append(
                    {"number": number, "file": name, "damage": kind, "command": command, "outcome": outcome, "said": said}
                )
                print(bad[-1], file=sys.stderr)
        if number % 500 == 499 or number == count - 1:
            print(f"{number + 1} of {count}, {len(bad)} bad", file=sys.stderr)
            yield {
                "files": len(files),
                "damaged": number + 1,
                "seed": seed,
                "seconds_at_most": SECONDS,
                "memory_at_most": MEMORY,
                "slowest": slowest,
                "by_command": {command: _row(counts) for command, counts in sorted(by_command.items())},
                "by_damage": {kind: _row(counts) for kind, counts in by_kind.items()},
                "bad": bad,
            }
    worker.close()


def try_again(record: dict[str, Any], version: str | None) -> dict[str, Any]:
    """A record of which the files that went wrong were tried once more."""
    files, worker, still = make_files(), Worker(), []
    for one in record["bad"]:
        name, kind, content = damage(files, one["number"], record["seed"])
        outcomes, _ = worker.run(name, content) or ({}, 0.0)
        outcome, _ = outcomes.get(one["command"], ("fault", ""))
        if outcome not in ("done", "refused"):
            still.append(one)
            continue
        for counts in (record["by_command"][one["command"]], record["by_damage"][kind]):
            counts[one["outcome"]] -= 1
            counts[outcome] += 1
        record.setdefault("mended", []).append({**one, "now": outcome, "commit": version})
    worker.close()
    return {**record, "bad": still}


def _without_folders(said: str) -> str:
    """What was said, with the names of temporary files alone: their folders are those of one computer and one run."""
    return re.sub(r"[^\s'\"]*/tmp\w+/", "", said)


def _row(counts: Counter[str]) -> dict[str, int]:
    return {outcome: counts[outcome] for outcome in OUTCOMES}


if __name__ == "__main__":
    from mend.models.checkpoint import find_commit

    version, out = find_commit(), Path(sys.argv[1])
    if sys.argv[2:] == ["again"]:
        records = iter([try_again(json.loads(out.read_text(encoding="utf-8")), version)])
    else:
        records = ({"commit": version, **record} for record in measure(*map(int, sys.argv[2:])))
    for record in records:
        out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
