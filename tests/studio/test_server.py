"""The studio without a browser: what it answers, what it refuses, and what it leaves behind."""

import base64
import contextlib
import dataclasses
import errno
import hashlib
import http.client
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, smooth
from made_networks import made_graph, write_network
from made_results import write_means
from PIL import Image, ImageCms
from running_studio import Studio, stuck

from mend.cli import main
from mend.errors import InputError
from mend.images import write_image

pytest.importorskip("fastapi", reason="the extra [studio] is not installed")

PAGE = ROOT / "mend" / "studio" / "page"

needs_proc = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the studio's processes are found in /proc")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photo.png, and photo.jpg with EXIF; mask.png, and all.png, which covers everything."""
    folder = tmp_path_factory.mktemp("files")
    write_image(folder / "photo.png", smooth(45, 61, 0))
    exif = Image.Exif()
    exif[0x010E] = "a description"
    Image.fromarray(smooth(45, 61, 1)).save(folder / "photo.jpg", exif=exif, quality=90)
    mask = np.zeros((45, 61, 1), np.uint8)
    mask[10:20, 15:40] = 255
    write_image(folder / "mask.png", mask)
    write_image(folder / "all.png", np.full((45, 61, 1), 255, np.uint8))
    return folder


def by_command_line(files: Path, photo: str, *words: str, mask: str = "mask.png") -> bytes:
    """What `mend fill` writes beside the photo."""
    before = set(files.iterdir())
    with contextlib.suppress(SystemExit):
        main(["fill", str(files / photo), "--mask", str(files / mask), *words])
    (written,) = set(files.iterdir()) - before
    data = written.read_bytes()
    written.unlink()
    return data


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def post(
    studio: Studio, files: Path, photo: str, mask: str = "mask.png", path: str = "/fill", **words: object
) -> httpx.Response:
    sent = {"image": (photo, (files / photo).read_bytes()), "mask": (mask, (files / mask).read_bytes())}
    return studio.client.post(path, files=sent, data={"model": "telea", **words})


def data_url(file: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"


def read_url(url: object) -> np.ndarray:
    """The pixels of a data URL."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(str(url).partition(",")[2]))))


def on_the_page(studio: Studio, files: Path, photo: str) -> bytes:
    """The photo filled as the page does it, with a mask that was painted."""
    session = studio.session()
    at = f"/sessions/{session}/pictures"
    picture = studio.open(session, files / photo, photo)["picture"]
    result = studio.ask(f"{at}/{picture}/fill", json={"model": "telea", "mask": data_url(files / "mask.png")})
    return studio.client.get(f"{at}/{result['picture']}/result").content


COLOUR = smooth(45, 61, 1)
DEEP = COLOUR.astype(np.uint16) * 257
WRITTEN: dict[str, tuple[np.ndarray | Image.Image, dict[str, Any]]] = {
    "colour.jpeg": (Image.fromarray(COLOUR), {"quality": 70, "subsampling": 2, "progressive": True}),
    "grey.jpg": (Image.fromarray(COLOUR).convert("L"), {}),
    "cmyk.jpg": (Image.fromarray(COLOUR).convert("CMYK"), {}),
    "alpha.png": (np.dstack([COLOUR, COLOUR[..., :1]]), {}),
    "deep.png": (DEEP, {}),
    "deep.tif": (DEEP, {}),
    "palette.png": (Image.fromarray(COLOUR).quantize(16), {}),
    "colour.tiff": (Image.fromarray(COLOUR), {"compression": "tiff_lzw"}),
    "lossless.webp": (Image.fromarray(COLOUR), {"lossless": True}),
    "lossy.webp": (Image.fromarray(COLOUR), {"quality": 60}),
    **{f"colour{suffix}": (Image.fromarray(COLOUR), {}) for suffix in
       (".avif", ".bmp", ".gif", ".jp2", ".pcx", ".ppm", ".sgi", ".tga", ".ico", ".qoi")},
    "noname": (Image.fromarray(COLOUR), {"format": "JPEG"}),
    "liar.jpg": (Image.fromarray(COLOUR), {"format": "PNG"}),
    "grey.pgm": (Image.fromarray(COLOUR).convert("L"), {}),
    "bits.pbm": (Image.fromarray(COLOUR).convert("1"), {}),
    "phone.mpo": (Image.fromarray(COLOUR), {"save_all": True, "append_images": [Image.fromarray(COLOUR[::2, ::2])]}),
    "phone.heic": (Image.fromarray(COLOUR), {"quality": 95}),
    "animated.gif": (Image.fromarray(COLOUR), {"save_all": True, "append_images": [Image.fromarray(255 - COLOUR)]}),
}  # fmt: skip


@pytest.mark.parametrize("photo", WRITTEN)
def test_the_same_file_as_the_command_line(studio: Studio, files: Path, tmp_path: Path, photo: str):
    content, how = WRITTEN[photo]
    if isinstance(content, np.ndarray):
        write_image(tmp_path / photo, content)
    elif photo.endswith(".heic"):
        pytest.importorskip("pillow_heif").from_pillow(content).save(tmp_path / photo, **how)
    else:
        content.save(tmp_path / photo, **how)
    size = (32, 24) if photo.endswith(".ico") else (61, 45)
    Image.open(files / "mask.png").resize(size, Image.Resampling.NEAREST).save(tmp_path / "mask.png")
    flags, words = (["--first-frame"], {"first_frame": 1}) if photo == "animated.gif" else ([], {})
    expected = digest(by_command_line(tmp_path, photo, "--model", "telea", *flags))
    answer = post(studio, tmp_path, photo, **words)
    assert answer.status_code == 200, answer.text
    assert digest(answer.content) == expected
    kept = Path(photo).suffix if Path(photo).suffix in (".jpeg", ".mpo", ".tif", ".tiff", ".webp", ".png") else ".png"
    suffix = ".jpg" if photo in ("grey.jpg", "cmyk.jpg") else kept
    assert f'filename="{Path(photo).stem}-filled{suffix}"' in answer.headers["content-disposition"]
    assert digest(on_the_page(studio, tmp_path, photo)) == expected
    assert not list(studio.temporary.rglob(f"*{Path(photo).stem}*")), "a name became a path"


def test_a_mask_is_loaded_on_the_page_and_a_result_filled_again(studio: Studio, files: Path):
    session = studio.session()
    picture = studio.open(session, files / "photo.jpg", "photo.jpg")
    assert (picture["width"], picture["height"], picture["name"]) == (61, 45, "photo.jpg")
    at = f"/sessions/{session}/pictures"
    key = studio.ask(f"{at}/{picture['picture']}/mask", content=(files / "mask.png").read_bytes())["mask"]
    loaded = studio.ask(f"{at}/{picture['picture']}/fill", json={"model": "telea", "loaded": key, "score": True})
    expected = by_command_line(files, "photo.jpg", "--model", "telea")
    assert digest(studio.client.get(f"{at}/{loaded['picture']}/result").content) == digest(expected)
    assert 5 < float(str(loaded["psnr"])) < 60
    # the result as the next input: nothing marked in vain, and what was filled is what is filled on
    mask = data_url(files / "mask.png")
    again = studio.ask(f"{at}/{loaded['picture']}/fill", json={"model": "mean-colour", "mask": mask, "grow": 3})
    assert float(str(again["coverage"])) > 0.0911
    pixels = [np.load(next(studio.temporary.rglob(f"{one['picture']}/pixels.npy"))) for one in (loaded, again)]
    same = (pixels[0] == pixels[1]).all(-1)
    assert same.mean() == pytest.approx(1 - float(str(again["coverage"])), abs=0.02), "a JPEG was read back as it is lossy"


def test_the_options_of_the_command_line(studio: Studio, files: Path):
    seen = {digest(by_command_line(files, "photo.jpg", "--model", "telea"))}
    for words, flags in (
        ({"model": "mend"}, []),
        ({"model": "mend", "smooth": "true"}, ["--smooth"]),
        ({"grow": "5", "feather": "3"}, ["--model", "telea", "--grow", "5", "--feather", "3"]),
        ({"model": "mean-colour"}, ["--model", "mean-colour"]),
        ({"model": "mean-colour", "seam": "true"}, ["--model", "mean-colour", "--seam"]),
        ({"quality": "40"}, ["--model", "telea", "--quality", "40"]),
    ):
        answer = post(studio, files, "photo.jpg", **words)
        assert answer.status_code == 200, answer.text
        found = digest(answer.content)
        assert found == digest(by_command_line(files, "photo.jpg", *flags)), words
        assert found not in seen, words
        seen.add(found)
    smooth = post(studio, files, "photo.jpg", model="mend-smooth")
    assert smooth.content == post(studio, files, "photo.jpg", model="mend", smooth="true").content


def test_the_form_has_the_options_of_the_command_line():
    from mend.filling.options import Options
    from mend.studio.api import OURS, make_form

    form = make_form(["telea"])
    assert {*form.model_fields, *OURS} == {field.name for field in dataclasses.fields(Options)}
    assert all(field.description for field in form.model_fields.values())
    assert form().model_dump()["model"] == "telea"


@dataclasses.dataclass(frozen=True)
class Listing:
    """Options of another kind."""

    losses: str = "mse"
    """one of {losses}, and {nothing}."""


def test_a_field_may_list_what_any_help_text_may(monkeypatch: pytest.MonkeyPatch):
    from mend.studio import api

    monkeypatch.setattr(api, "Options", Listing)
    said = api.make_form(["telea"]).model_fields["losses"].description or ""
    assert said.startswith("one of mse, ")
    assert said.endswith(", and {nothing}.")


def test_a_form_that_is_not_understood(studio: Studio, files: Path):
    for words, said in (
        ({"modle": "telea"}, "unknown form field 'modle'. Did you mean 'model'?"),
        ({"output": "/etc/passwd"}, "unknown form field 'output'."),
        ({"device": "cuda"}, "unknown form field 'device'"),
        ({"object": "dog"}, "unknown form field 'object'"),
        ({"grow": "wide"}, "grow is not what was expected: input should be a valid integer"),
        ({"grow": "-1"}, "`grow` is -1"),
        ({"texture": "perhaps"}, "texture is not what was expected"),
        ({"hole": "red"}, "unknown .*'red'.*white"),
        ({"quality": "700"}, "700"),
        ({"grow": ["1", "2"]}, "'grow' came twice"),
    ):
        answer = post(studio, files, "photo.jpg", **words)
        assert answer.status_code == 400, (words, answer.text)
        assert re.search(said, answer.json()["error"]), answer.text
    twice = [("image", b"x"), ("mask", b"y"), ("mask", b"z")]
    assert studio.client.post("/fill", files=twice).status_code == 400
    assert "no mask came" in studio.client.post("/fill", files={"image": b"x"}).json()["error"]
    assert "no image came" in studio.client.post("/fill", data={"image": "x", "mask": "y"}).json()["error"]


def test_notes_are_in_a_header(studio: Studio, files: Path):
    answer = post(studio, files, "photo.jpg")
    (note,) = json.loads(answer.headers["x-mend-notes"])
    assert re.match("[.]jpg is lossy [(]only the blocks at the hole are encoded again[)]: .*differ, by at most", note)
    mask = Image.open(files / "mask.png").resize((122, 90), Image.Resampling.NEAREST)
    mask.save(files / "twice.png")
    notes = json.loads(post(studio, files, "photo.png", "twice.png").headers["x-mend-notes"])
    assert "all 2,495 pixels outside the hole are identical" in notes
    assert any("×" in note for note in notes), "which a header holds in ASCII only"
    answer = post(studio, files, "photo.png", "all.png", hole="white")
    words = ("--model", "telea", "--hole", "white")
    assert digest(answer.content) == digest(by_command_line(files, "photo.png", *words, mask="all.png"))
    assert "the mask: everything is marked" in answer.headers["x-mend-notes"]
    write_image(files / "nothing.png", np.zeros((45, 61, 1), np.uint8))
    answer = post(studio, files, "photo.jpg", "nothing.png")
    assert answer.content == (files / "photo.jpg").read_bytes()
    assert "copied as it is" in answer.headers["x-mend-notes"]


def test_coco_annotations_are_a_mask(studio: Studio, files: Path):
    polygon = [15, 10, 40, 10, 40, 20, 15, 20]
    annotation = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "segmentation": [polygon],
        "iscrowd": 0,
        "area": 250,
        "bbox": [15, 10, 25, 10],
    }
    image = {"id": 1, "file_name": "photo.png", "width": 61, "height": 45}
    coco = {"images": [image], "annotations": [annotation], "categories": [{"id": 1, "name": "thing"}]}
    (files / "coco.json").write_text(json.dumps(coco))
    answer = post(studio, files, "photo.png", "coco.json")
    expected = by_command_line(files, "photo.png", "--model", "telea", mask="coco.json")
    assert answer.status_code == 200, answer.text
    assert digest(answer.content) == digest(expected)


def test_a_filling_is_followed_and_its_result_fetched(studio: Studio, files: Path):
    answer = post(studio, files, "photo.png", path="/fills", model="mend", smooth="true")
    assert answer.status_code == 202
    at = answer.headers["location"]
    assert answer.json() == {"key": at.removeprefix("/fills/"), "progress": at, "result": f"{at}/result"}
    lines = [json.loads(line) for line in studio.client.get(at).text.splitlines()]
    assert all("stage" in line for line in lines[:-1])
    assert lines[-1]["done"]["result"] == f"{at}/result"
    result = studio.client.get(f"{at}/result")
    assert digest(result.content) == digest(by_command_line(files, "photo.png", "--smooth"))
    assert json.loads(result.headers["x-mend-notes"]) == lines[-1]["done"]["notes"]
    assert [json.loads(line) for line in studio.client.get(at).text.splitlines()] == lines[-1:]
    assert studio.client.delete(at).status_code == 204
    for method, path in (("GET", at), ("GET", f"{at}/result"), ("DELETE", at), ("GET", "/fills/unknown")):
        assert studio.client.request(method, path).status_code == 404
    write_image(files / "small.png", np.full((9, 9, 1), 255, np.uint8))
    at = post(studio, files, "photo.png", "small.png", path="/fills").headers["location"]
    assert "9×9, its picture 61×45" in json.loads(studio.client.get(at).text.splitlines()[-1])["error"]
    result = studio.client.get(f"{at}/result")
    assert (result.status_code, "its picture 61×45" in result.json()["error"]) == (400, True)
    assert str(studio.temporary) not in result.text


def test_a_filling_that_goes_on_is_cancelled(studio: Studio, files: Path):
    assert post(studio, files, "photo.png").status_code == 200, "its process is awake"
    before = files_in(studio.temporary)
    with stuck(studio) as workers:
        at = post(studio, files, "photo.png", path="/fills").headers["location"]
        early = studio.client.get(f"{at}/result")
        assert (early.status_code, "not filled yet" in early.json()["error"]) == (409, True)
        assert studio.client.delete(at).status_code == 204
        until(lambda: one_ended(workers), "it goes on")
    until(lambda: files_in(studio.temporary) <= before, "what was sent is still there")
    assert post(studio, files, "photo.png").status_code == 200


def test_results_wait_for_a_while_and_give_way(monkeypatch: pytest.MonkeyPatch, files: Path):
    from starlette.testclient import TestClient

    from mend.studio import api, server, workers
    from mend.studio.messages import Done
    from mend.studio.methods import Method

    going_on = threading.Event()

    class Slow(workers.Worker):
        async def run(self, task: str, **arguments: object):
            while not going_on.is_set():
                await server.asyncio.sleep(0.01)
            if task == "fill_upload":
                (Path(str(arguments["out"])) / "result.png").write_bytes(bytes(100))
            yield Done({"suffix": ".png", "seconds": 1.0, "coverage": 0.1, "notes": []})

    monkeypatch.setattr(workers, "Worker", Slow)
    monkeypatch.setattr(server, "EXPIRING", 0.01)
    monkeypatch.setattr(api, "FILLS", 2)
    sent = {name: (name, (files / f"{file}.png").read_bytes()) for name, file in (("image", "photo"), ("mask", "mask"))}
    with TestClient(server.make_app({"telea": Method("telea", "")}, [], "cpu", None, None)) as client:
        first, second = (client.post("/fills", files=sent).headers["location"] for _ in range(2))
        answer = client.post("/fills", files=sent)
        assert (answer.status_code, "2 pictures are being filled" in answer.json()["error"]) == (503, True)
        going_on.set()
        for at in (first, second):
            until(lambda at=at: client.get(f"{at}/result").status_code == 200, "it does not end")
        third = client.post("/fills", files=sent).headers["location"]
        assert client.get(first).status_code == 404
        assert client.get(f"{second}/result").content == bytes(100)
        until(lambda: client.get(f"{third}/result").status_code == 200, "it does not end")
        monkeypatch.setattr(api, "ROOM", 150)
        monkeypatch.setattr(api, "FILLS", 9)
        fourth = client.post("/fills", files=sent).headers["location"]
        assert client.get(second).status_code == 404
        assert client.get(third).status_code == 200
        until(lambda: client.get(f"{fourth}/result").status_code == 200, "it does not end")
        assert client.post("/fill", files=sent).content == bytes(100)
        monkeypatch.setattr(api, "KEPT", -1)
        until(lambda: client.get(fourth).status_code == 404, "nothing expires")


def test_pictures_that_are_refused_leave_room_for_others(monkeypatch: pytest.MonkeyPatch, files: Path):
    from starlette.testclient import TestClient

    from mend.studio import api, server, workers
    from mend.studio.messages import Done
    from mend.studio.methods import Method

    class Refusing(workers.Worker):
        async def run(self, task: str, **arguments: object):
            if task == "fill_upload":
                raise InputError("it is refused.")
            yield Done({})

    monkeypatch.setattr(workers, "Worker", Refusing)
    monkeypatch.setattr(api, "FILLS", 2)
    sent = {name: (name, (files / f"{file}.png").read_bytes()) for name, file in (("image", "photo"), ("mask", "mask"))}
    with TestClient(server.make_app({"telea": Method("telea", "")}, [], "cpu", None, None)) as client:
        answers = [client.post("/fill", files=sent) for _ in range(4)]
    assert [(answer.status_code, answer.json()["error"]) for answer in answers] == [(400, "it is refused.")] * 4


def test_who_follows_a_filling_that_is_cancelled_is_told(studio: Studio, files: Path):
    assert post(studio, files, "photo.png").status_code == 200, "its process is awake"
    with stuck(studio):
        at = post(studio, files, "photo.png", path="/fills").headers["location"]
        with studio.client.stream("GET", at) as following:
            lines = following.iter_lines()
            next(lines)
            assert studio.client.delete(at).status_code == 204
            assert json.loads(list(lines)[-1]) == {"error": "this filling was cancelled."}


def test_what_the_docs_say(studio: Studio, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("photo.jpg", "mask.png"):
        (tmp_path / name).write_bytes((files / name).read_bytes())
    text = (ROOT / "docs" / "studio.md").read_text(encoding="utf-8").replace("http://127.0.0.1:7860", studio.address)
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert [kind for kind, _ in blocks] == ["bash", "python", "bash", "python"]
    if shutil.which("curl") is None:
        blocks = [block for block in blocks if block[0] == "python"]
    plain = by_command_line(files, "photo.jpg")
    grown = by_command_line(files, "photo.jpg", "--model", "telea", "--grow", "4")
    for kind, block in blocks:
        said, key = "", "KEY"
        for part in block.splitlines() if kind == "bash" else [block]:
            words = ["bash", "-c", part.replace("KEY", key)] if kind == "bash" else [sys.executable, "-c", part]
            done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
            said += done.stdout
            key = found[1] if (found := re.search('"key":"([^"]+)"', said)) else key
        assert digest((tmp_path / "filled.jpg").read_bytes()) == digest(grown if "telea" in block else plain)
        (tmp_path / "filled.jpg").unlink()
        if "/fills" in block:
            assert '{"done": {' in said
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr("mend.studio.studio", lambda *words: asked.append(words))
    for words in re.findall("^ *mend studio(.*)$", text, re.MULTILINE) + re.findall("`mend studio(.*?)`", text):
        with contextlib.suppress(SystemExit):
            main(["studio", *words.split()])
    assert ([], "127.0.0.1", 7860, None, "auto", True) in asked
    assert ([], "0.0.0.0", 7860, "anna:secret", "auto", True) in asked
    assert (["runs/mine"], "127.0.0.1", 7860, None, "auto", True) in asked
    assert ([], "127.0.0.1", 8000, None, "auto", False) in asked


def test_programs_are_told_what_they_may_ask_for(studio: Studio):
    schema = studio.client.get("/openapi.json").json()
    assert set(schema["paths"]) == {"/fill", "/fills", "/fills/{key}", "/fills/{key}/result"}
    form = schema["paths"]["/fill"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["image", "mask"]
    assert {"image", "mask", "model", "hole", "grow", "feather", "texture", "quality"} <= set(form["properties"])
    page = studio.client.get("/docs")
    assert page.status_code == 200
    assert not re.search("https?://", page.text)


OPAQUE = "`opaque=True` makes what is filled opaque"


def test_what_is_to_be_said_of_a_filling_is_said(studio: Studio, files: Path):
    session = studio.session()
    write_image(files / "clear.png", np.dstack([smooth(45, 61, 1), np.zeros((45, 61), np.uint8)]))
    (files / "liar.jpg").write_bytes((files / "photo.png").read_bytes())
    same = "all 2,495 pixels outside the hole are identical"
    for file, of_picture, notes in (
        ("photo.png", [], [same]),
        ("clear.png", [], [same, "250 of the 250 pixels of the hole are not opaque, and stay so", OPAQUE]),
        ("liar.jpg", ["liar.jpg is a PNG by its content"], [same, "written as PNG, which keeps every value"]),
    ):
        picture = studio.open(session, files / file, file)
        assert picture["notes"] == of_picture
        at = f"/sessions/{session}/pictures/{picture['picture']}"
        assert studio.ask(f"{at}/fill", json={"model": "telea", "mask": data_url(files / "mask.png")})["notes"] == notes
    assert "liar.jpg is a PNG" in post(studio, files, "liar.jpg").headers["x-mend-notes"]


def test_twenty_four_megapixels_are_filled_at_their_full_size(studio: Studio, files: Path):
    pixels = smooth(400, 600, 6).repeat(10, 0).repeat(10, 1)
    Image.fromarray(pixels).save(files / "huge.tiff")  # which is written and read in no time
    session = studio.session()
    picture = studio.open(session, files / "huge.tiff", "huge.tiff")
    at = f"/sessions/{session}/pictures/{picture['picture']}"
    preview = Image.open(io.BytesIO(studio.client.get(f"{at}/preview").content))
    assert preview.size == (1600, 1067)
    mask = np.zeros((1067, 1600, 1), np.uint8)  # as it is painted on the preview
    mask[400:500, 700:900] = 255
    write_image(files / "painted.png", mask)
    painted = base64.b64encode((files / "painted.png").read_bytes()).decode()
    result = studio.ask(f"{at}/fill", json={"model": "mean-colour", "mask": f"data:,{painted}"})
    filled = np.asarray(
        Image.open(io.BytesIO(studio.client.get(f"/sessions/{session}/pictures/{result['picture']}/result").content))
    )
    rows, columns = (np.flatnonzero((filled != pixels).any((other, 2))) for other in (1, 0))
    assert 1490 < rows[0] < 1510, "the rows that were painted"
    assert 1865 < rows[-1] < 1885
    assert 2615 < columns[0] < 2635
    assert 3365 < columns[-1] < 3385


def test_a_mask_is_read_as_by_the_command_line(studio: Studio, files: Path):
    """With the hole cut out of it, twice as large, or black if that is said; what cannot be decided is said without flags."""
    mask = np.asarray(Image.open(files / "mask.png"))
    Image.fromarray(mask).resize((122, 90), Image.Resampling.NEAREST).save(files / "twice.png")
    expected = by_command_line(files, "photo.png", "--model", "telea", mask="twice.png")
    assert digest(post(studio, files, "photo.png", "twice.png").content) == digest(expected)
    Image.fromarray(255 - mask).save(files / "inverted.png")
    assert digest(post(studio, files, "photo.png", "inverted.png", hole="black").content) == digest(expected)
    answer = post(studio, files, "photo.png", "photo.png")
    assert answer.status_code == 400
    assert re.search("cannot tell which part of the mask is the hole: it has colours.* white on black", answer.json()["error"])
    assert "--" not in answer.json()["error"]


def test_a_filling_says_how_far_it_is(studio: Studio, files: Path):
    write_image(files / "large.png", smooth(700, 900, 2))
    mask = np.zeros((700, 900, 1), np.uint8)
    mask[100:600, 100:800] = 255
    write_image(files / "large-mask.png", mask)
    session = studio.session()
    picture = studio.open(session, files / "large.png")["picture"]
    at = f"/sessions/{session}/pictures/{picture}"
    key = studio.ask(f"{at}/mask", content=(files / "large-mask.png").read_bytes())["mask"]
    lines = studio.client.post(f"{at}/fill", json={"model": "mend", "loaded": key}).text.splitlines()
    shares = [said["share"] for said in map(json.loads, lines) if "share" in said]
    assert len(shares) > 3
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_a_process_that_has_not_enough_memory_says_so(monkeypatch: pytest.MonkeyPatch):
    from mend.studio import process
    from mend.studio.messages import Failed

    for error in (
        MemoryError(),
        RuntimeError("[...] DefaultCPUAllocator: can't allocate memory"),
    ):

        def fail(_: object, error: Exception = error) -> dict[str, object]:
            raise error

        monkeypatch.setitem(process.TASKS, "warm", fail)
        said = process.do_task("warm", {}, lambda *words: None)
        assert said == Failed("there was not enough memory for that. Try a smaller picture or another model.", fault=True)


def test_the_images_of_an_evaluation_are_sorted(studio: Studio):
    folder = studio.folder / "results"
    (folder / "mine").mkdir(parents=True)
    values = {"psnr": [20.0, 30.0, 25.0], "ssim": [0.9, 0.7, 0.8]}
    table = pd.DataFrame({"row": range(3), "name": ["a", "b", "c"], "image": ["1", "2", "3"], **values})
    table.to_parquet(folder / "mine" / "net.parquet")
    means = {"psnr": 25.0, "psnr_hole": 9.0}
    write_means(folder / "mine", "Mine", 3, {"net": means, "gone": means})
    (folder / "other.json").write_text("[1]")
    mine = {"title": "Mine", "n": 3, "methods": {"net": {"psnr": 25.0}}}
    assert studio.client.get("/results").json() == {"results": {"mine": mine}}
    found = studio.ask("/results/mine/net", "GET", params={"by": "ssim", "up": False})
    rows = [["a", 20, 0.9], ["c", 25, 0.8], ["b", 30, 0.7]]
    assert found == {"columns": ["name", "psnr", "ssim"], "rows": rows, "of": 3, "by": "ssim"}
    assert "no column 'image'" in str(studio.ask("/results/mine/net", "GET", params={"by": "image"})["error"])
    table.drop(columns="psnr").assign(coverage=0.1).to_parquet(folder / "mine" / "net.parquet")
    found = studio.ask("/results/mine/net", "GET")
    assert found["by"] == "ssim", "the first score there is"
    assert [row[0] for row in found["rows"]] == ["b", "c", "a"]  # type: ignore[attr-defined]
    table = pd.DataFrame({"row": range(100), "name": ["n" * 1000] * 100, "image": "", "psnr": 20.0})  # one line of 100 KB
    table.to_parquet(folder / "mine" / "net.parquet")
    assert len(studio.ask("/results/mine/net", "GET")["rows"]) == 100  # type: ignore[arg-type]
    for missing in ("mine/gone", "mine/%2e%2e", "other/net", "%2e%2e/mine/net"):
        assert studio.client.get(f"/results/{missing}").status_code == 404


def test_a_segmenter_whose_weights_are_here_selects_objects(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Stand-in weights of DeepLabV3 lie where torchvision would have put them."""
    import torch
    from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large

    from mend.segment import networks as segment
    from mend.studio import tasks

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    tasks._load_segmenter.cache_clear()
    assert tasks._load_segmenter() is None
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    weights = deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, aux_loss=True).state_dict()
    torch.save(weights, tmp_path / "hub" / "checkpoints" / "deeplabv3_mobilenet_v3_large-fc3c493d.pth")
    tasks._load_segmenter.cache_clear()
    found = tasks._load_segmenter()
    tasks._load_segmenter.cache_clear()
    assert isinstance(found, segment.Segmenter)

    class Finder:
        def masks(self, pixels: np.ndarray) -> np.ndarray:
            return (pixels[..., 0] == 200).astype(np.uint8)

    pixels = np.random.default_rng(0).integers(0, 100, (60, 90, 3), np.uint8)
    pixels[20:40, 30:60, 0] = 200
    Image.fromarray(pixels).save(tmp_path / "preview.webp", lossless=True)
    monkeypatch.setattr(tasks, "_load_segmenter", Finder)
    found = tasks.select_object(lambda *said: None, str(tmp_path), [(0.5, 0.5, True)], None, None)
    mask = read_url(found["image"]) > 0
    assert mask[20:40, 30:60].all()
    assert mask.sum() < 1.5 * 20 * 30


def test_a_click_selects_what_is_there(studio: Studio, files: Path):
    pixels = np.full((80, 120, 3), 200, np.uint8)
    pixels[20:50, 30:70] = (200, 30, 30)
    write_image(files / "box.png", pixels)
    session = studio.session()
    picture = studio.open(session, files / "box.png")["picture"]
    found = studio.ask(f"/sessions/{session}/pictures/{picture}/select", json={"points": [{"x": 0.4, "y": 0.4}]})
    mask = read_url(found["image"]) > 0
    truth = pixels[..., 1] == 30
    assert mask[truth].all()
    assert mask.sum() < 1.3 * truth.sum(), "more than its rim"


def test_a_click_finds_something_in_any_picture(tmp_path: Path):
    from mend.studio import tasks

    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    for pixels in (np.zeros((50, 80, 3), np.uint8), np.zeros((1, 1, 3), np.uint8), np.zeros((2, 300, 3), np.uint8), noise):
        Image.fromarray(pixels).save(tmp_path / "preview.webp", lossless=True)
        for x, y in ((0, 0), (1, 1), (0.5, 0.5)):
            mask = read_url(tasks.select_object(lambda *said: None, str(tmp_path), [(x, y, True)], None, None)["image"])
            assert mask[min(int(y * len(mask)), len(mask) - 1), min(int(x * mask.shape[1]), mask.shape[1] - 1)] == 255


def bomb(files: Path) -> bytes:
    """A PNG of a few bytes that says it is 60,000 pixels wide and high."""
    data = bytearray((files / "photo.png").read_bytes())
    data[16:24] = (60000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def chunks(files: Path) -> bytes:
    """A PNG of so many empty chunks that to go through them takes seconds."""
    data, empty = (files / "photo.png").read_bytes(), b"\0\0\0\0teSt" + zlib.crc32(b"teSt").to_bytes(4, "big")
    return data[:33] + 100_001 * empty + data[33:]


@pytest.mark.parametrize(
    ("image", "mask", "model", "sentence"),
    [
        (lambda files: b"not a picture", "mask.png", "telea", "photo.png is not a picture"),
        (lambda files: b"", "mask.png", "telea", "photo.png is empty"),
        (lambda files: (files / "photo.png").read_bytes()[:200], "mask.png", "telea", "photo.png is damaged"),
        (bomb, "mask.png", "telea", "the picture has 3600 megapixels; the studio takes up to 100"),
        (chunks, "mask.png", "telea", "more than 100,000 chunks"),
        (lambda files: (files / "photo.png").read_bytes(), "photo.jpg", "tela", "unknown model 'tela'. Did you mean 'telea'"),
        (lambda files: smooth(9, 9, 0).tobytes(), "mask.png", "telea", "not a picture"),
    ],
)
def test_bad_input_is_one_sentence(
    studio: Studio, files: Path, image: Callable[[Path], bytes], mask: str, model: str, sentence: str
):
    sent = {"image": ("photo.png", image(files)), "mask": (files / mask).read_bytes()}
    answer = studio.client.post("/fill", files=sent, data={"model": model})
    assert answer.status_code == 400
    assert re.search(sentence, said := answer.json()["error"])
    assert "Traceback" not in said
    assert str(studio.temporary) not in said


def test_formats_that_run_other_programs_are_refused(studio: Studio, files: Path):
    """Pillow would hand an EPS to Ghostscript."""
    Image.open(files / "photo.png").save(files / "photo.eps")
    said = studio.open(studio.session(), files / "photo.eps", "photo.eps")
    assert re.match("photo.eps is a PostScript file, .*, not a picture. Expected PNG, JPEG", str(said["error"]))
    assert "is a PostScript file" in post(studio, files, "photo.eps").json()["error"]


def test_the_page_says_what_a_picture_is(studio: Studio, files: Path):
    session = studio.session()
    write_image(files / "deep.png", smooth(45, 61, 1)[..., :1].astype(np.uint16) * 257)
    Image.fromarray(np.dstack([COLOUR, COLOUR[..., :1]])).save(files / "photo.webp", lossless=True)
    for name, kind in (
        ("photo.jpg", "JPEG, colour, 8 bits"),
        ("photo.webp", "WebP, colour, alpha, 8 bits"),
        ("deep.png", "PNG, grey, 16 bits"),
    ):
        assert studio.open(session, files / name, name)["kind"] == kind


def test_a_thin_mask_is_seen_and_a_huge_one_refused(studio: Studio, files: Path):
    write_image(files / "wide.png", smooth(200, 4000, 4))
    thin = np.zeros((200, 4000, 1), np.uint8)
    thin[:, 1000] = thin[100, :] = 255
    write_image(files / "thin.png", thin)
    session = studio.session()
    picture = studio.open(session, files / "wide.png")["picture"]
    at = f"/sessions/{session}/pictures/{picture}"
    seen = read_url(studio.ask(f"{at}/mask", content=(files / "thin.png").read_bytes())["image"])
    assert np.array_equal(seen, thin[..., 0])
    huge = base64.b64encode(bomb(files)).decode()
    said = studio.ask(f"{at}/fill", json={"model": "telea", "mask": f"data:,{huge}"})
    assert str(said["error"]).startswith("the mask has 3600 megapixels")


def test_a_link_copies_the_comparison(studio: Studio, files: Path):
    """A visitor gets the picture and the mask into a session of their own, and nothing of the one who gave the link."""
    giver, taker = studio.session(), studio.session()
    picture = studio.open(giver, files / "photo.png")["picture"]
    at = f"/sessions/{giver}/pictures/{picture}"
    mask = studio.ask(f"{at}/mask", content=(files / "mask.png").read_bytes())["mask"]
    result = studio.ask(f"{at}/fill", json={"model": "telea", "loaded": mask, "grow": 2, "compared": True})["picture"]
    asked = {"picture": picture, "result": result, "methods": ["telea", "mend"], "score": True}
    link = studio.ask(f"/sessions/{giver}/links", json=asked)["link"]
    studio.client.post(f"/sessions/{giver}/close")
    found = studio.ask(f"/sessions/{taker}/links/{link}")
    assert (found["name"], found["methods"], found["score"]) == ("photo.png", ["telea", "mend"], True)
    assert giver not in json.dumps(found)
    at = f"/sessions/{taker}/pictures/{found['picture']}"
    assert studio.client.get(f"{at}/preview").status_code == 200
    again = studio.ask(f"{at}/fill", json={"model": "telea", "loaded": found["mask"]})
    (files / "grown.png").write_bytes(studio.client.get(f"/sessions/{taker}/pictures/{again['picture']}/mask").content)
    grown = by_command_line(files, "photo.png", "--model", "telea", "--grow", "2")
    assert digest(studio.client.get(f"/sessions/{taker}/pictures/{again['picture']}/result").content) == digest(grown)
    of_link, of_taker = ({file.stat().st_ino for file in studio.temporary.rglob(name)} for name in ("mask", str(found["mask"])))
    assert of_link
    assert of_taker
    assert not of_link & of_taker, "the mask of all who take the link is one that a visitor's reading writes over"
    assert "no longer" in str(studio.ask(f"/sessions/{taker}/links/nonsense")["error"])
    for methods in (7, ["telea"], ["telea"] * 7):
        assert "expected" in str(studio.ask(f"/sessions/{taker}/links", json={**asked, "methods": methods})["error"])


def test_each_mask_has_its_own_key(studio: Studio, files: Path):
    session = studio.session()
    at = [f"/sessions/{session}/pictures/{studio.open(session, files / 'photo.png')['picture']}" for _ in range(2)]
    other = np.zeros((45, 61, 1), np.uint8)
    other[30:40, 5:50] = 255
    write_image(files / "other.png", other)
    keys = [studio.ask(f"{at[0]}/mask", content=(files / name).read_bytes())["mask"] for name in ("mask.png", "other.png")]
    shares = [studio.ask(f"{at[0]}/fill", json={"model": "telea", "loaded": key})["coverage"] for key in keys]
    assert shares == [pytest.approx(250 / 2745), pytest.approx(450 / 2745)]
    assert "no longer" in str(studio.ask(f"{at[1]}/fill", json={"model": "telea", "loaded": keys[0]})["error"])


def test_what_cannot_be_understood_is_said(studio: Studio, files: Path):
    session = studio.session()
    picture = studio.open(session, files / "photo.png")["picture"]
    at = f"/sessions/{session}/pictures/{picture}"
    fill = {"model": "telea", "mask": "data:,"}
    for path, body, status, said in (
        ("fill", json.dumps({**fill, "grow": "a"}), 400, "grow is not what was expected: input should be a valid integer"),
        ("fill", json.dumps({**fill, "mask": "data:,ä"}), 400, "no data URL"),
        ("fill", json.dumps({"model": "telea"}), 400, "nothing is marked"),
        ("fill", json.dumps({"mask": "data:,"}), 400, "model is not what was expected: field required"),
        ("select", '{"points": [{"x": null, "y": 0.5}]}', 400, "x is not what was expected: input should be a valid number"),
        ("select", '{"points": [{"x": 0.5, "y": 7}]}', 400, "less than or equal to 1"),
        ("select", '{"points": []}', 400, "Click the object, or draw a box or a line around it"),
        ("select", "{", 400, "the request is not what was expected: invalid JSON"),
        ("fill", json.dumps({**fill, "mask": "data:," + "A" * 20_000_000}), 413, "larger than 20 MB"),
    ):
        answer = studio.client.post(f"{at}/{path}", content=body)
        assert (answer.status_code, said in answer.json()["error"]) == (status, True), answer.text
    asked = http.client.HTTPConnection(studio.address.removeprefix("http://"))
    asked.putrequest("GET", "/", skip_host=True)
    asked.putheader("Host", "[")
    asked.endheaders()
    assert asked.getresponse().status == 421
    asked.close()
    asked.putrequest("POST", f"/sessions/{session}/pictures")
    asked.putheader("Content-Length", "1000")
    asked.endheaders(b"the first bytes")
    asked.close()  # in the middle; that this left no traceback is seen at the end


def test_busy_and_faulty_are_no_bad_input(monkeypatch: pytest.MonkeyPatch, files: Path):
    from starlette.testclient import TestClient

    from mend.studio import server, workers
    from mend.studio.messages import Done
    from mend.studio.methods import Method

    class Stuck(workers.Worker):
        said: Exception

        async def run(self, task: str, **arguments: object):
            raise Stuck.said
            yield Done({})

    monkeypatch.setattr(workers, "Worker", Stuck)
    monkeypatch.setattr(server, "find_runs", lambda named: named.no_such_thing)
    Stuck.said = workers.Busy("9 tasks are waiting already. Try again in a moment.")
    with TestClient(
        server.make_app({"telea": Method("telea", "")}, [], "cpu", None, None), raise_server_exceptions=False
    ) as client:
        sent = {"image": (files / "photo.png").read_bytes(), "mask": (files / "mask.png").read_bytes()}
        answer = client.post("/fill", files=sent)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "waiting already" in answer.json()["error"]
        Stuck.said = workers.Fault("the process that worked on it died.")
        answer = client.post("/fill", files=sent)
        assert (answer.status_code, answer.json()) == (500, {"error": "the process that worked on it died."})
        answer = client.get("/runs")
        assert answer.status_code == 500
        assert answer.json() == {"error": "a fault of mend itself (AttributeError); the terminal has the details."}
        Stuck.said = OSError(28, "No space left on device", "/secret/path")
        answer = client.post("/fill", files=sent)
        assert answer.json() == {"error": "a fault of mend itself (OSError); the terminal has the details."}
        at = client.post("/fills", files=sent).headers["location"]
        said = json.loads(client.get(at).text.splitlines()[-1])
        assert said == {"error": "a fault of mend itself (OSError); the terminal has the details."}
        assert client.get(f"{at}/result").status_code == 500


def test_nothing_marked_and_a_mask_of_another_size(studio: Studio, files: Path):
    session = studio.session()
    picture = studio.open(session, files / "photo.png")["picture"]
    at = f"/sessions/{session}/pictures/{picture}"
    write_image(files / "small.png", np.full((9, 9, 1), 255, np.uint8))
    assert "9×9, its picture 61×45" in str(studio.ask(f"{at}/mask", content=(files / "small.png").read_bytes()))
    write_image(files / "none.png", np.zeros((45, 61, 1), np.uint8))
    mask = base64.b64encode((files / "none.png").read_bytes()).decode()
    assert "nothing is marked" in str(studio.ask(f"{at}/fill", json={"model": "telea", "mask": f"data:,{mask}"}))
    said = studio.ask(f"{at}/fill", json={"model": "telea", "mask": data_url(files / "all.png")})
    assert "covers the whole picture" in str(said["error"])


def test_no_file_outside_the_session_can_be_read(studio: Studio, files: Path):
    session, other = studio.session(), studio.session()
    picture = studio.open(session, files / "photo.png", "../../../../etc/passwd")
    assert picture["name"] == "passwd"
    secret = files / "secret.txt"
    for place in (secret, studio.folder / "secret.txt"):
        place.write_text("secret")
    key = picture["picture"]
    tries = [
        "/page/..%2fserver.py", "/page/../server.py", "/page/%2e%2e/server.py", "/examples/..%2f..%2fetc%2fpasswd",
        f"/sessions/{other}/pictures/{key}/preview", f"/sessions/{other}/pictures/{key}/source",
        f"/sessions/{session}/pictures/{key}/..%2f..%2fsource", f"/sessions/{session}/pictures/..%2f{key}/preview",
        f"/sessions/..%2f{session}/pictures/{key}/preview", "/fills/..%2f..%2fetc%2fpasswd", "/fills/%2e%2e/result",
        f"/fills/{secret}/result", f"//fills/{secret}", "/docs/..%2fserver.py", "/results/%2fetc/passwd",
    ]  # fmt: skip
    for path in tries:
        request = httpx.Request("GET", f"{studio.address}{path}")
        request.url = request.url.copy_with(raw_path=path.encode())  # httpx would tidy the dots away
        answer = studio.client.send(request)
        assert answer.status_code in (400, 403, 404, 410), path
        request.method = "HEAD"
        assert studio.client.send(request).status_code >= 400, path
        assert "secret" not in answer.text.replace("secret.txt", "")
        assert "root:" not in answer.text


def test_a_picture_comes_back_as_a_file_and_never_as_a_page(studio: Studio, files: Path):
    session = studio.session()
    picture = studio.open(session, files / "photo.png", "page.html")
    answer = studio.client.get(f"/sessions/{session}/pictures/{picture['picture']}/source")
    assert answer.content == (files / "photo.png").read_bytes()
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")


def test_what_the_page_shows_has_the_colours_of_the_picture(studio: Studio, tmp_path: Path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()  # any other than the browser's own
    Image.fromarray(COLOUR).save(tmp_path / "photo.tif", icc_profile=profile)
    session = studio.session()
    at = f"/sessions/{session}/pictures/{studio.open(session, tmp_path / 'photo.tif', 'photo.tif')['picture']}"
    studio.ask(f"{at}/full")
    for part in ("preview", "full"):
        shown = Image.open(io.BytesIO(studio.client.get(f"{at}/{part}").content))
        assert shown.info.get("icc_profile") == profile, part


def test_names_that_are_no_names(studio: Studio, files: Path):
    """A name from outside says in which format the result is written, and no more."""
    expected = digest(by_command_line(files, "photo.png", "--model", "telea"))
    session = studio.session()
    for name in ("..", ".", "/", "a/../../b.png", ".png", "a\\b.png", "ä b.png", "x" * 300 + ".png", "a.p/ng", "a.%00png"):
        sent = {"image": (name, (files / "photo.png").read_bytes()), "mask": (name, (files / "mask.png").read_bytes())}
        answer = studio.client.post("/fill", files=sent, data={"model": "telea"})
        assert (answer.status_code, digest(answer.content)) == (200, expected), name
        picture = studio.open(session, files / "photo.png", name)["picture"]
        at = f"/sessions/{session}/pictures"
        result = studio.ask(f"{at}/{picture}/fill", json={"model": "telea", "mask": data_url(files / "mask.png")})
        assert digest(studio.client.get(f"{at}/{result['picture']}/result").content) == expected, name


def test_a_link_in_a_run_folder_shows_no_file_elsewhere(tmp_path: Path):
    from mend.studio.runs import find_samples, read_run

    samples = tmp_path / "run" / "samples"
    samples.mkdir(parents=True)
    for place in (samples / "epoch-001.png", tmp_path / "secret.png"):
        place.write_bytes(b"picture")
    (samples / "epoch-002.png").symlink_to(tmp_path / "secret.png")
    (samples / "epoch-003.png").symlink_to(samples / "epoch-001.png")
    (tmp_path / "secret.csv").write_text("epoch\nsecret\n")
    (tmp_path / "run" / "config.toml").touch()
    (tmp_path / "run" / "metrics.csv").symlink_to(tmp_path / "secret.csv")
    (tmp_path / "linked").symlink_to(tmp_path / "run")
    for run in (tmp_path / "run", tmp_path / "linked"):
        assert list(find_samples(run)) == read_run(run)["samples"] == ["epoch-001", "epoch-003"]
        assert "secret" not in str(read_run(run))


def test_strangers_are_refused(studio: Studio):
    for headers in ({"Origin": "http://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}):
        answer = studio.client.post("/sessions", headers=headers)
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control-")]
    for host in ("rebound.example", "evil@127.0.0.1", "127.0.0.1:1:2", "127.0.0.1/", "", "[::1", "127.0.0.1 evil"):
        assert studio.client.get("/", headers={"Host": host}).status_code in (400, 421), host
    forwarded = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "Forwarded": "host=evil.example"}
    for path in ("/", "/docs", "/openapi.json", "/fill/", "/sessions/"):
        answer = studio.client.get(path, headers=forwarded)
        assert "evil" not in answer.text + str(answer.headers)
        assert "location" not in answer.headers
    asked = http.client.HTTPConnection(studio.address.removeprefix("http://"))
    asked.putrequest("POST", "/fill")
    asked.putheader("Content-Length", str(10**9))
    asked.endheaders()
    assert asked.getresponse().status == 413
    asked.close()
    large = json.dumps({"data": ["A" * 20_000_000]}).encode()
    for body in (large, iter([large])):  # its length said, and not
        answer = studio.client.post(f"/sessions/{studio.session()}/links", content=body)
        assert (answer.status_code, "larger than 20 MB" in answer.text) == (413, True)
    answer = studio.client.get("/", headers={"Origin": studio.address})
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "same-origin", "else Firefox closes a session as if from another site"


def test_the_page_asks_nobody_else():
    for file in PAGE.iterdir():
        addresses = re.findall(r"(?:https?:)?//[a-z][\w.-]+\.[a-z]{2,}", file.read_text(encoding="utf-8"))
        assert set(addresses) <= {"http://www.w3.org"}, file  # the name of SVG, which nothing fetches


def one_ended(workers: list[int]) -> bool:
    return not all(Path(f"/proc/{worker}").exists() for worker in workers)


def files_in(folder: Path) -> set[str]:
    """Folders and files, at whatever depth; unlike `rglob` it does not mind that some go meanwhile."""
    return {f"{place}/{name}" for place, folders, names in os.walk(folder) for name in (*folders, *names)}


def until(true: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)


def test_hanging_up_ends_whatever_is_at_work(studio: Studio, files: Path):
    session = studio.session()
    at = f"/sessions/{session}/pictures"
    picture = f"{at}/{studio.open(session, files / 'photo.png')['picture']}"
    mask = base64.b64encode((files / "mask.png").read_bytes()).decode()
    tasks = {
        at: (files / "photo.png").read_bytes(),
        f"{picture}/mask": (files / "mask.png").read_bytes(),
        f"{picture}/select": b'{"points": [{"x": 0.5, "y": 0.5}]}',
        f"{picture}/fill": json.dumps({"model": "telea", "mask": f"data:,{mask}"}).encode(),
        f"{picture}/full": b"",
    }
    for path, content in tasks.items():
        assert "error" not in studio.ask(path, content=content), "its process is awake"
        for shown in studio.temporary.rglob("full.jpg"):
            shown.unlink()
        with stuck(studio) as workers:
            with pytest.raises(httpx.ReadTimeout):
                studio.client.post(path, content=content, timeout=0.5)
            until(lambda: one_ended(workers), f"{path} goes on")
        assert "error" not in studio.ask(path, content=content), path
    assert Image.open(io.BytesIO(studio.client.get(f"{picture}/full").content)).size == (61, 45)

    before = files_in(studio.temporary)
    sent = {name: (files / f"{file}.png").read_bytes() for name, file in (("image", "photo"), ("mask", "mask"))}
    with stuck(studio) as workers:
        with pytest.raises(httpx.ReadTimeout):
            studio.client.post("/fill", files=sent, data={"model": "telea"}, timeout=0.5)
        until(lambda: one_ended(workers), "/fill goes on")
    until(lambda: files_in(studio.temporary) <= before, "what was sent is still there")
    assert studio.client.post("/fill", files=sent, data={"model": "telea"}).status_code == 200


def test_hanging_up_ends_the_reading_of_scores(studio: Studio):
    folder = studio.folder / "results" / "read"
    folder.mkdir(parents=True)
    pd.DataFrame({"row": [0], "name": ["a"], "image": [""], "psnr": [20.0]}).to_parquet(folder / "net.parquet")
    write_means(folder, "Read", 1, {"net": {"psnr": 20.0}})
    assert studio.ask("/results/read/net", "GET")["of"] == 1
    with stuck(studio) as workers:
        with pytest.raises(httpx.ReadTimeout):
            studio.client.get("/results/read/net", timeout=0.5)
        until(lambda: one_ended(workers), "the reading goes on")
    assert studio.ask("/results/read/net", "GET")["of"] == 1


def test_a_process_is_gone_before_its_files_are_removed():
    """Whoever hangs up waits for its end, even where hanging up cancels all waiting."""
    import asyncio

    import anyio

    from mend.studio.workers import Worker, Workers

    class Process:
        returncode: int | None = None
        lasts = 0.3
        stdin = stdout = property(lambda self: self)

        def write(self, data: bytes) -> None: ...

        async def readline(self) -> bytes:
            await asyncio.sleep(60)
            return b""

        def kill(self) -> None: ...

        async def wait(self) -> None:
            await asyncio.sleep(self.lasts)
            self.returncode = -9

    async def hang_up() -> int | None:
        worker, process = Worker(), Process()
        worker.process = process  # type: ignore[assignment]
        with anyio.move_on_after(0.1):
            async with contextlib.aclosing(worker.run("fill")) as messages:
                async for _ in messages:
                    pass
        return process.returncode

    async def give_way() -> list[int | None]:
        workers, processes = Workers(), [Process() for _ in range(6)]
        for i, process in enumerate(processes):
            workers.model(str(i)).process = process  # type: ignore[assignment]
        processes[-1].lasts = processes[-2].lasts = processes[-3].lasts = 0  # of those that did not give way
        await workers.end()
        return [process.returncode for process in processes]

    assert asyncio.run(hang_up()) == -9
    assert asyncio.run(give_way()) == [-9] * 6


def test_a_studio_that_ends_starts_no_process_for_what_waits():
    import asyncio

    from mend.studio.workers import Busy, Workers

    async def end() -> list[object]:
        workers = Workers()
        model = workers.model("telea")

        async def warm() -> None:
            async for _ in model.run("warm", options={"model": "telea"}):
                pass

        at_work, waiting = asyncio.create_task(warm()), asyncio.create_task(warm())
        while model.process is None:
            await asyncio.sleep(0.01)
        await workers.end()
        model = workers.model("another")
        return await asyncio.gather(at_work, waiting, warm(), return_exceptions=True)

    _, *late = asyncio.run(end())
    assert [type(error) for error in late] == [Busy, Busy]


@needs_proc
def test_a_studio_that_is_killed_leaves_no_process_and_the_next_removes_its_folder(
    tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch
):
    from mend.studio.sessions import Sessions

    running = Studio(tmp_path)
    session = running.session()
    write_image(files / "killed.png", smooth(1800, 2400, 3))
    mask = np.zeros((1800, 2400, 1), np.uint8)
    mask[200:1600, 200:2200] = 255
    write_image(files / "killed-mask.png", mask)
    at = f"/sessions/{session}/pictures/{running.open(session, files / 'killed.png')['picture']}"
    key = running.ask(f"{at}/mask", content=(files / "killed-mask.png").read_bytes())["mask"]
    with running.client.stream("POST", f"{at}/fill", json={"model": "biharmonic", "loaded": key}) as answer:
        assert any("filling" in line for line in answer.iter_lines())  # for a minute, if it were let
        workers = running.workers()
        assert workers
        running.process.kill()
        running.process.wait()
    until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers), "a process goes on")
    orphan = next(running.temporary.glob("mend-studio-*"))
    monkeypatch.setattr("tempfile.tempdir", str(running.temporary))
    first = Sessions()
    assert not orphan.exists()
    second = Sessions()
    assert first.folder.exists(), "which is in use"
    for held in (first, second):
        held.end()
    assert not list(running.temporary.glob("mend-studio-*"))


def test_what_is_used_stays_and_comparisons_give_way_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from mend.studio import sessions
    from mend.studio.sessions import Session, hold

    session = Session(tmp_path)
    photo, _ = session.add("photo.png")
    results = [session.add("photo.png", compared=i >= 10)[0] for i in range(sessions.KEPT - 1)]
    for i in range(9):  # of comparisons there are nine
        assert session.item(photo)
        session.add("photo.png")
        assert results[10 + i] not in session.items
    with hold(session.items[results[0]]):
        session.item(photo)
        session.add("photo.png")
        assert session.items.keys() >= {photo, results[0]}
        assert results[1] not in session.items
    assert len(session.items) == len(list(tmp_path.iterdir())) == sessions.KEPT

    monkeypatch.setattr(sessions, "ROOM", 100)
    (session.item(photo).folder / "source").write_bytes(bytes(101))
    session.add("photo.png")
    assert len(session.items) == 2, "what was used last stays, even where it alone is too much"


def test_masks_give_way_to_masks_and_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from mend.studio import sessions
    from mend.studio.sessions import Session

    def load(size: int) -> Path:
        mask = session.add_mask(item)
        mask.write_bytes(bytes(size))
        item.masks.append(mask.name)
        return mask

    session = Session(tmp_path)
    other, _ = session.add("other.png")
    _, item = session.add("photo.png")
    masks = [load(1) for _ in range(sessions.MASKS + 2)]
    assert [mask.exists() for mask in masks] == [False] * 2 + [True] * sessions.MASKS
    assert item.masks == [mask.name for mask in masks[2:]]
    monkeypatch.setattr(sessions, "ROOM", 100)
    load(100)
    assert other in session.items
    load(1)
    assert other not in session.items


def test_links_hold_no_more_than_there_is_room(monkeypatch: pytest.MonkeyPatch):
    from mend.studio import sessions
    from mend.studio.sessions import Sessions

    monkeypatch.setattr(sessions, "ROOM", 100)
    held = Sessions()
    _, item = held.create()[1].add("photo.png")
    item.source.write_bytes(bytes(101))
    first, second = (held.link(item, item.source, [], False) for _ in range(2))
    assert first not in held.links
    folders = [one for one in held.folder.iterdir() if one.is_dir()]
    assert sorted(folders) == sorted([item.folder.parent, held.links[second].item.folder])
    held.end()


def test_an_upload_that_is_broken_off_leaves_nothing(studio: Studio):
    before = files_in(studio.temporary)
    body = b'--edge\r\nContent-Disposition: form-data; name="image"; filename="photo.png"\r\n\r\n' + bytes(2_000_000)
    asked = http.client.HTTPConnection(studio.address.removeprefix("http://"))
    for path in ("/fills", "/fill"):
        asked.putrequest("POST", path)
        asked.putheader("Content-Type", "multipart/form-data; boundary=edge")
        asked.putheader("Content-Length", "9000000")
        asked.endheaders(body)
        until(lambda: files_in(studio.temporary) > before, "nothing is received")
        asked.close()
        until(lambda: files_in(studio.temporary) <= before, "what was received is still there")


def test_a_session_at_work_is_not_closed(monkeypatch: pytest.MonkeyPatch):
    from mend.studio import sessions
    from mend.studio.sessions import Sessions, hold
    from mend.studio.workers import Busy

    monkeypatch.setattr(sessions, "SESSIONS", 2)
    monkeypatch.setattr(sessions, "IDLE", -1)
    held = Sessions()
    (first, one), (second, two) = held.create(), held.create()
    with hold(one.add("photo.png")[1]):
        held.create()
        assert first in held.open
        assert second not in held.open
        two = held.open[next(token for token in held.open if token != first)]
        with hold(two.add("photo.png")[1]), pytest.raises(Busy, match="2 pages are open already"):
            held.create()
        held.expire()
        assert list(held.open) == [first]
    held.expire()
    assert not held.open
    held.end()


def test_an_open_page_keeps_its_session_whoever_comes(studio: Studio, files: Path):
    """A person who only paints asks the server for nothing; and what is being sent is no work yet."""
    painting, sending = studio.session(), studio.session()
    studio.client.post(f"/sessions/{painting}/alive")
    data = (files / "photo.png").read_bytes()
    asked = http.client.HTTPConnection(studio.address.removeprefix("http://"), timeout=60)
    asked.putrequest("POST", f"/sessions/{sending}/pictures")
    asked.putheader("Content-Length", str(len(data)))
    asked.endheaders(data[:100])
    time.sleep(0.3)
    others = [studio.session() for _ in range(40)]
    asked.send(data[100:])
    assert b'"done"' in asked.getresponse().read()
    asked.close()
    assert "width" in studio.open(painting, files / "photo.png")
    assert "session is over" in str(studio.open(others[0], files / "photo.png"))


def test_no_sentence_shows_a_path(studio: Studio, files: Path):
    session = studio.session()
    picture = studio.open(session, files / "photo.png")["picture"]
    at = f"/sessions/{session}/pictures/{picture}"
    broken = base64.b64encode(b"no picture").decode()
    said = [studio.ask(f"{at}/fill", json={"model": "telea", "mask": f"data:,{broken}"})]
    said += [
        studio.ask(f"{at}/mask", content=content) for content in (b"", b"no picture", (files / "mask.png").read_bytes()[:60])
    ]
    said += [studio.ask(f"/sessions/{session}/pictures", params={"name": "a b.png"}, content=b"no picture")]
    for one in said:
        assert re.match("(the mask|a b.png) is (not a picture|empty|damaged)", str(one["error"])), one
        assert "/" not in str(one["error"])


def test_no_sentence_shows_a_path_of_windows():
    from mend.studio.process import _hide_paths

    folder = r"C:\temporary\1a2b"
    assert (
        _hide_paths(rf"{folder}\source.png is empty", {"photo": rf"{folder}\source.png", "name": "a b.png"})
        == "a b.png is empty"
    )


def test_a_closed_session_leaves_nothing(studio: Studio, files: Path):
    before = files_in(studio.temporary)
    session = studio.session()
    studio.open(session, files / "photo.png")
    assert files_in(studio.temporary) - before
    studio.client.post(f"/sessions/{session}/close")
    assert files_in(studio.temporary) <= before
    assert "session is over" in str(studio.ask(f"/sessions/{session}/pictures", content=b""))


@pytest.mark.slow
@needs_proc
def test_fifty_requests_leave_memory_as_it_is(studio: Studio):
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from studio_soak import soak

    found = soak(studio.address, studio.process.pid, requests=50, warm=10)
    assert found["lost"] == 0
    # Twenty requests that each left a picture behind, of 0.36 MB, would be 3.7 %.
    assert found["growth"] < 0.015, found


def test_auth_asks_for_a_password(monkeypatch: pytest.MonkeyPatch):
    from starlette.responses import JSONResponse
    from starlette.testclient import TestClient
    from starlette.websockets import WebSocketDisconnect

    from mend.studio import access

    client = TestClient(access.Access(JSONResponse({}), None, "anna:secret"))
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/"):  # of which the studio has none
        pass
    for path in ("/", "/fill", "/fills/key", "/docs"):
        assert client.get(path).status_code == 401
        assert "Basic" in client.get(path).headers["www-authenticate"]
        assert client.get(path, auth=("anna", "wrong")).status_code == 401
        assert client.get(path, auth=("anna", "secret")).status_code == 200
    for _ in range(access.ATTEMPTS):
        assert client.get("/", auth=("anna", "wrong")).status_code == 401
    answer = client.get("/", auth=("anna", "secret"))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60"), "a guess that is right would be known as such"
    other = TestClient(client.app, client=("192.0.2.7", 1))
    assert other.get("/", auth=("anna", "secret")).status_code == 200
    monkeypatch.setattr(access, "PAUSE", 0)
    assert client.get("/", auth=("anna", "secret")).status_code == 200
    monkeypatch.setattr(access, "ADDRESSES", 2)
    for i in range(3):
        TestClient(client.app, client=(f"192.0.2.{i}", 1)).get("/", auth=("anna", "wrong"))
    assert set(client.app.attempts) == {"192.0.2.1", "192.0.2.2"}


@pytest.mark.parametrize("how", [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)])
def test_a_model_that_does_not_load_is_said_and_nothing_is_left(tmp_path: Path, files: Path, how: signal.Signals):
    if signal.getsignal(how) == signal.SIG_IGN:
        pytest.skip(f"{how.name} is ignored here, as under nohup, and so it is in what the test starts")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{")
    theirs = str(write_network(tmp_path, made_graph()))
    running = Studio(tmp_path / "studio", str(tmp_path / "mine"), theirs, "--auth", "anna:secret")
    try:
        assert running.client.get("/").status_code == 401
        running.client.auth = ("anna", "secret")
        answer = post(running, files, "photo.png", model="mine")
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("mine/config.json is no model configuration")
        expected = by_command_line(files, "photo.png", "--model", theirs)
        assert digest(post(running, files, "photo.png", model="net").content) == digest(expected)
        assert digest(post(running, files, "photo.png").content) == digest(
            by_command_line(files, "photo.png", "--model", "telea")
        )
    finally:
        running.end(how)


def test_a_long_queue_is_refused():
    import asyncio

    from mend.studio.workers import WAITING, Worker

    worker = Worker()
    worker.waiting = WAITING + 1

    async def ask() -> None:
        async for _ in worker.run("warm"):
            pass

    with pytest.raises(InputError, match="waiting already"):
        asyncio.run(ask())


def test_runs_and_networks_of_one_name_are_all_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from mend.studio.methods import list_methods
    from mend.studio.runs import find_runs

    monkeypatch.chdir(tmp_path)
    for folder in ("runs/exp", "a/exp", "b/exp", "telea"):
        Path(folder).mkdir(parents=True)
        Path(folder, "config.toml").write_text("")
    found = find_runs(["a/exp", "b/exp", "runs/exp"])
    assert {name: place.parent.name for name, place in found.items()} == {"exp": "a", "exp (2)": "b", "exp (3)": "runs"}
    Path("telea", "config.json").write_text("{}")
    assert Path(list_methods(["telea"])["telea"].model).is_absolute(), "a folder, and not the filler of that name"


def test_every_classical_filler_is_offered_and_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from mend.inpaint.classical import CLASSICAL
    from mend.studio.methods import WHAT, list_methods

    monkeypatch.setitem(CLASSICAL, "newest", CLASSICAL["telea"])
    found = list_methods([])
    assert list(found)[:3] == ["mend", "mend-smooth", "telea"]
    assert set(CLASSICAL) <= set(found)
    assert set(WHAT) <= set(CLASSICAL)
    with monkeypatch.context() as without:
        without.setattr("mend.inpaint.classical.find_spec", lambda name: None)
        assert set(CLASSICAL) - set(list_methods([])) == {"biharmonic"}, "scikit-image is not there"
    (tmp_path / "net.onnx").touch()
    with pytest.raises(InputError, match="lama is not on this machine yet, .*'mend fill PHOTO --mask MASK --model lama'"):
        list_methods(["lama"])
    monkeypatch.setattr("mend.studio.methods.find_fetched", lambda contract: tmp_path / contract.file)
    found = list_methods([str(tmp_path / "net.onnx"), "lama"])
    assert [found[name].model for name in ("net", "lama")] == [str(tmp_path / "net.onnx"), "lama"]
    with pytest.raises(InputError, match="there is no model in gone.onnx: .* lama"):
        list_methods(["gone.onnx"])


def test_examples_without_scikit_image(monkeypatch: pytest.MonkeyPatch):
    from mend.studio import examples

    assert set(examples.find_examples()) == {"rocket", "coffee", "astronaut", "camera"}
    monkeypatch.setattr(examples, "find_spec", lambda name: None)
    for found in (examples.EXAMPLES, alone := examples.find_examples()):
        for example in found.values():
            assert Image.open(io.BytesIO(example.read())).width > 300
            assert all(0 < share < 1 for corner in example.outline for share in corner)
    assert list(alone) == ["balloon"]


def test_the_scores_are_those_of_an_evaluation():
    import torch

    from mend.evaluate.metrics import psnr, ssim
    from mend.images import Picture
    from mend.studio.scores import measure

    rng = np.random.default_rng(0)
    for shape, box in (((90, 120), (20, 50, 30, 80)), ((90, 120), (0, 60, 0, 119)), ((9, 11), (3, 6, 3, 6))):
        truth = smooth(*shape, 3)
        filled = truth.copy()
        part = (slice(*box[:2]), slice(*box[2:]))
        filled[part] = (filled[part].astype(int) + rng.integers(-40, 40, filled[part].shape)).clip(0, 255)
        hole = np.zeros((1, 1, *shape), np.float32)
        hole[(0, 0, *part)] = 1
        pictures = Picture(truth), Picture(filled)
        image, result, missing = (torch.from_numpy(one) for one in (pictures[0].image(), pictures[1].image(), hole))
        found = measure(*pictures, hole)
        assert found["psnr"] == pytest.approx(float(psnr(result, image, missing)), abs=1e-4)
        assert found["ssim"] == pytest.approx(float(ssim(result, image, missing)), abs=1e-4)
        assert measure(pictures[0], pictures[0], hole) == {"psnr": 100, "ssim": pytest.approx(1)}


def test_neither_the_server_nor_its_processes_import_what_is_large():
    """A filling, a click and a measurement by a process of the studio, and the server, without PyTorch and pandas."""
    code = """
import sys
for name in ("torch", "torchvision", "torchmetrics", "pandas", "skimage", "scipy", "matplotlib"):
    sys.modules[name] = None  # to import it is an error
import mend.studio.server
from mend.studio import tasks
import numpy as np, pathlib, tempfile
from PIL import Image
folder = pathlib.Path(tempfile.mkdtemp())
pixels = np.full((60, 80, 3), 90, np.uint8); pixels[20:40, 30:50] = (200, 30, 30)
Image.fromarray(pixels).save(folder / "source.png")
mask = np.zeros((60, 80), np.uint8); mask[10:30, 20:50] = 255
Image.fromarray(mask).save(folder / "mask.png")
(folder / "out").mkdir()
ignore = lambda *said, **more: None
tasks.prepare_picture(ignore, str(folder / "source.png"), "a.png")
tasks.select_object(ignore, str(folder), [[0.5, 0.5, True]], None, None)
options = {"model": None, "device": "cpu"}
words = {"photo": str(folder / "source.png"), "name": "a.png", "mask": str(folder / "mask.png"), "out": str(folder / "out")}
tasks.warm(ignore, options)
assert tasks.fill_picture(ignore, **words, options=options, score=True).psnr > 5
tasks.fill_upload(ignore, **words, options=options)
tasks.fill_upload(ignore, **words, options=options | {"smooth": True})
try:
    tasks.read_rows(ignore, file="rows.parquet", by="", up=True, count=1)
except ValueError as error:
    print(error)
try:
    tasks.fill_upload(ignore, **words, options=options | {"model": "biharmonic"})
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    advice = r" is not installed. Run in the folder of mend: pip install '.\[eval\]'.\n"
    assert re.fullmatch(rf"pandas{advice}scikit-image{advice}", done.stdout)


def test_a_port_that_is_taken_leaves_no_folder(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    import socket

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit):
        main(["studio", "--no-open-page", "--port", str(taken.getsockname()[1])])
    assert "Choose another --port" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_folders_keep_their_names_and_a_run_without_a_model_is_watched(tmp_path: Path):
    from mend.studio.methods import Method, list_methods

    for name in ("telea", "mend"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "fresh").mkdir()
    (tmp_path / "fresh" / "config.toml").write_text("")
    found = list_methods([str(tmp_path / name) for name in ("telea", "mend", "fresh")])
    assert list(found)[:2] == ["telea", "mend"]
    assert found["telea"].model == str(tmp_path / "telea")
    assert found["telea (built in)"].model == "telea"
    assert found["mend (built in)"].model is None
    assert "fresh" not in found
    assert {Method(name, "").process for name in ("telea", "biharmonic")} == {"classical"}


def test_a_broken_run_is_said_beside_the_others(tmp_path: Path):
    from mend.studio.runs import find_runs, read_run

    for name, config, rows in (
        ("config", "model = ", "epoch,loss\n1,0.5\n"),
        ("rows", 'model = "unet"', "epoch,loss\n1,many\n"),
        ("more", 'model = "unet"', "epoch,loss\n1,0.5,7\n"),
        ("nan", 'model = "unet"', "epoch,loss\n1,0.5\n2,nan\n"),
    ):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.toml").write_text(config)
        (tmp_path / "runs" / name / "metrics.csv").write_text(rows)
    found = {name: read_run(folder) for name, folder in find_runs([], tmp_path / "runs").items()}
    assert found["config"]["error"].startswith("config.toml cannot be read: ")
    assert found["rows"]["error"].startswith("metrics.csv cannot be read: could not convert string to float")
    assert found["rows"]["config"] == {"model": "unet"}
    assert found["more"]["error"].startswith("metrics.csv cannot be read")
    assert found["nan"] == {
        "config": {"model": "unet"},
        "rows": [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": None}],
        "samples": [],
    }
    json.dumps(found, allow_nan=False)
    assert read_run(tmp_path)["error"] == "config.toml cannot be read: No such file or directory."


def test_a_folder_that_may_not_be_read_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from mend.studio.runs import find_runs

    for name in ("closed", "open"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.toml").touch()

    def is_file(path: Path) -> bool:
        if path.parent.name == "closed":
            raise PermissionError
        return path.exists()

    monkeypatch.setattr(Path, "is_file", is_file)
    assert list(find_runs([], tmp_path)) == ["open"]


def test_what_cannot_be_served_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    for words, said in (
        (["--auth", "anna"], "NAME:PASSWORD"),
        ([str(tmp_path)], "there is no model in"),
        (["--host", "192.0.2.1"], "no password was given. Add --auth"),
        (["--host", "192.0.2.1", "--auth", "anna:secret"], "cannot listen"),
    ):
        with pytest.raises(SystemExit):
            main(["studio", "--no-open-page", "--port", "0", *words])
        assert said in capsys.readouterr().err


def test_the_smooth_filling_is_shown_first(studio: Studio, files: Path):
    pixels = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    write_image(files / "grain.png", pixels)
    mask = np.zeros((240, 320, 1), np.uint8)
    mask[80:160, 100:200] = 255
    write_image(files / "grain-mask.png", mask)
    session = studio.session()
    at = f"/sessions/{session}/pictures"
    picture = studio.open(session, files / "grain.png")["picture"]
    asked = {"model": "mend", "mask": data_url(files / "grain-mask.png")}
    smooth = None
    with studio.client.stream("POST", f"{at}/{picture}/fill", json=asked) as answer:
        for message in map(json.loads, answer.iter_lines()):
            if message.get("preview"):
                smooth = studio.client.get(f"{at}/{message['picture']}/preview")
    done = message["done"]
    assert smooth is not None
    assert smooth.headers["cache-control"] == "no-store", "else the browser would keep it"
    final = studio.client.get(f"{at}/{done['picture']}/preview")
    first, last = (np.asarray(Image.open(io.BytesIO(one.content))).astype(int) for one in (smooth, final))
    inside = mask[..., 0] > 0
    assert first[inside].std() < 0.6 * last[inside].std()
    assert np.abs(first - last)[:60].mean() < 0.3 * np.abs(first - last)[inside].mean()  # WebP loses a little everywhere


@pytest.mark.parametrize(("model", "stage"), [("biharmonic", "filling"), ("mend", "adding texture")])
def test_ctrl_c_in_the_middle_of_a_filling_ends_it_within_two_seconds(tmp_path: Path, files: Path, model: str, stage: str):
    write_image(files / "slow.png", smooth(600, 800, 2))
    mask = np.zeros((600, 800, 1), np.uint8)
    mask[50:550, 50:750] = 255
    write_image(files / "slow-mask.png", mask)
    busy = os.getloadavg()[0] > 2 * (os.cpu_count() or 1)  # then whatever one asks for comes late
    assert end_while_it_fills(tmp_path, files, model, stage) < (6 if busy else 2), (
        "it waited for the filling, or for the answer"
    )


def end_while_it_fills(folder: Path, files: Path, model: str, stage: str) -> float:
    """Seconds from Ctrl-C, sent at a stage of a filling, until the studio is gone: quietly, and nothing is left."""
    running = Studio(folder)
    session = running.session()
    picture = running.open(session, files / "slow.png")["picture"]
    asked = {"model": model, "mask": data_url(files / "slow-mask.png")}
    start = None
    with httpx.stream(
        "POST", f"{running.address}/sessions/{session}/pictures/{picture}/fill", json=asked, timeout=60
    ) as answer:
        for line in answer.iter_lines():
            if json.loads(line).get("stage") == stage and start is None:
                start = time.monotonic()
                running.process.send_signal(signal.SIGINT)
    assert json.loads(line) == {"error": "the studio is ending."}
    running.process.wait(60)
    assert start is not None
    seconds = time.monotonic() - start
    running.end()
    return seconds


def batch(studio: Studio, session: str, files: dict[str, bytes]) -> str:
    at = f"/sessions/{session}/batches"
    at = f"{at}/{studio.ask(at)['batch']}"
    for i, (name, data) in enumerate(files.items()):
        assert studio.ask(f"{at}/pictures", params={"name": name}, content=data) == {"number": i + 1}
    return at


def test_many_pictures_are_filled_into_a_zip(studio: Studio, files: Path):
    session = studio.session()
    photo, mask = ((files / name).read_bytes() for name in ("photo.png", "mask.png"))
    names = {"a.png": photo, "A.png": photo, "../../b.jpg": (files / "photo.jpg").read_bytes(), "c.png": b"none"}
    at = batch(studio, session, names)
    said = studio.ask(f"{at}/fill", json={"model": "telea"})
    assert [file["error"] for file in said["files"]][:3] == 3 * ["it has no mask"]  # type: ignore[attr-defined]
    assert studio.client.get(f"{at}/zip").status_code == 200
    studio.ask(f"{at}/masks", content=mask)
    answer = studio.client.post(f"{at}/fill", json={"model": "telea"})
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["file"]["number"] for line in lines if "file" in line][-1] <= 4
    done = lines[-1]["done"]
    assert done["filled"] == 3
    stages = [line for line in lines if "share" in line]
    assert {line["stage"].split()[0] for line in stages} == {"filled"}, "one bar, which grows once"
    error = done["files"][3]["error"]
    assert "c.png" in error
    assert str(studio.temporary) not in answer.text
    with zipfile.ZipFile(io.BytesIO(studio.client.get(f"{at}/zip").content)) as archive:
        assert sorted(archive.namelist()) == ["A-filled-2.png", "a-filled.png", "b-filled.jpg"]
        assert archive.read("a-filled.png") == by_command_line(files, "photo.png", "--model", "telea")
    studio.client.delete(at)
    assert studio.client.get(f"{at}/zip").status_code == 410


def test_a_mask_of_its_own_goes_before_the_one_for_all(studio: Studio, files: Path):
    session = studio.session()
    at = batch(studio, session, dict.fromkeys(("a.png", "b.png"), (files / "photo.png").read_bytes()))
    other = np.zeros((45, 61, 1), np.uint8)
    other[30:35, 5:10] = 255
    write_image(files / "other.png", other)
    studio.ask(f"{at}/masks", content=(files / "mask.png").read_bytes())
    studio.ask(f"{at}/masks", params={"number": 2}, content=(files / "other.png").read_bytes())
    assert studio.ask(f"{at}/fill", json={"model": "telea"})["filled"] == 2
    with zipfile.ZipFile(io.BytesIO(studio.client.get(f"{at}/zip").content)) as archive:
        assert archive.read("b-filled.png") == by_command_line(files, "photo.png", "--model", "telea", mask="other.png")
    picture = studio.open(session, files / "photo.png")["picture"]
    assert studio.client.post(f"/sessions/{session}/batches/{picture}/fill", json={"model": "telea"}).status_code == 404
    key = at.rpartition("/")[2]
    compared = {"picture": picture, "result": key, "methods": ["telea", "telea"], "score": False}
    asked = (
        studio.client.get(f"/sessions/{session}/pictures/{key}/source"),
        studio.client.post(f"/sessions/{session}/pictures/{key}/full"),
        studio.client.post(f"/sessions/{session}/pictures/{key}/mask", content=(files / "mask.png").read_bytes()),
        studio.client.post(f"/sessions/{session}/pictures/{key}/select", json={"points": [{"x": 0.5, "y": 0.5}]}),
        studio.client.post(f"/sessions/{session}/pictures/{key}/fill", json={"model": "telea", "mask": "data:,"}),
        studio.client.post(f"/sessions/{session}/links", json=compared),
    )
    assert [answer.status_code for answer in asked] == [404] * 6
    wrong = studio.client.post(f"{at}/fill", json={"model": "telea", "region": {"box": [0, 0, 2, 1], "drawn": [10, 10]}})
    assert wrong.status_code == 400


def test_many_pictures_are_read_as_one_is(studio: Studio, files: Path):
    """An animation, a mask that is nearly all white, colours on black, annotations: none asks for what the page cannot give."""
    first = np.array(Image.open(files / "photo.png"))
    frames = [Image.fromarray(np.roll(first, 9 * i, 1)) for i in range(3)]
    frames[0].save(files / "anim.gif", save_all=True, append_images=frames[1:])
    nearly = np.full((45, 61, 1), 255, np.uint8)
    nearly[:2, :3] = 0
    write_image(files / "nearly.png", nearly)
    coloured = np.zeros((45, 61, 3), np.uint8)
    coloured[10:20, 15:40] = (255, 0, 0)
    write_image(files / "coloured.png", coloured)
    (files / "polygon.json").write_text(json.dumps([[15, 10, 40, 10, 40, 20, 15, 20]]))
    animation, photo = ((files / name).read_bytes() for name in ("anim.gif", "photo.png"))
    pictures = {"anim.gif": animation, "white.png": photo, "a.png": photo, "b.png": photo, "all.png": photo, "c.png": photo}
    at = batch(studio, studio.session(), pictures)
    for i, mask in enumerate(("mask.png", "nearly.png", "coloured.png", "polygon.json", "all.png", "photo.png")):
        studio.ask(f"{at}/masks", params={"number": i + 1}, content=(files / mask).read_bytes())
    said = studio.ask(f"{at}/fill", json={"model": "telea"})
    outcomes: list[dict[str, Any]] = said["files"]  # type: ignore[assignment]
    assert [one["error"] for one in outcomes[:4]] == [None] * 4
    assert "animation: the first of 3 is taken" in outcomes[0]["notes"][0]
    assert "the mask: 99.8% of it is white, and a hole is rarely so large" in outcomes[1]["notes"]
    assert "covers the whole picture" in outcomes[4]["error"]
    assert re.match("cannot tell which part of the mask is the hole: it has colours.*Make it white on", outcomes[5]["error"])
    with zipfile.ZipFile(io.BytesIO(studio.client.get(f"{at}/zip").content)) as archive:
        expected = by_command_line(files, "photo.png", "--model", "telea")
        assert archive.read("a-filled.png") == archive.read("b-filled.png") == expected
        words = ("--model", "telea", "--first-frame")
        assert archive.read("anim-filled.png") == by_command_line(files, "anim.gif", *words)
        white = by_command_line(files, "photo.png", "--model", "telea", "--hole", "white", mask="nearly.png")
        assert archive.read("white-filled.png") == white


def test_messages_on_many_pictures_have_the_names_they_came_with(studio: Studio, files: Path):
    data = io.BytesIO()
    Image.fromarray(COLOUR).save(data, "PNG")
    write_image(files / "small.png", np.full((9, 9, 1), 255, np.uint8))
    at = batch(
        studio,
        studio.session(),
        {"liar.jpg": data.getvalue(), "broken.gif": data.getvalue()[:99], "small.png": data.getvalue()},
    )
    studio.ask(f"{at}/masks", content=(files / "mask.png").read_bytes())
    studio.ask(f"{at}/masks", params={"number": 3}, content=(files / "small.png").read_bytes())
    said = studio.ask(f"{at}/fill", json={"model": "telea"})
    liar, broken, small = said["files"]  # type: ignore[misc]
    assert "liar.jpg is a PNG by its content" in liar["notes"]
    assert str(broken["error"]).startswith("broken.gif is damaged")
    assert str(small["error"]).startswith("the mask is 9×9, its picture 61×45")
    assert not re.search("000[123]", json.dumps(said))


def test_what_lies_in_the_folder_of_a_batch_has_its_name():
    from mend.studio.tasks import _hide_folder

    said = {"photos/0001.jpg": "a b.jpg", "masks/0001-read.png": "its mask", "mask": "the mask"}
    for file, name in said.items():
        assert _hide_folder(f"/tmp/x/1a/{file} is damaged.", "/tmp/x/1a", "a b.jpg") == f"{name} is damaged."


def test_want_of_memory_or_of_room_is_no_fault_of_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any):
    from mend.studio import process, tasks
    from mend.studio.messages import Failed

    def fail(error: Exception) -> Any:
        def task(*_: Any) -> Any:
            raise error

        return task

    (tmp_path / "0001.png").write_bytes(b"")
    monkeypatch.setattr(tasks, "_check_size", fail(MemoryError()))
    pair, _ = tasks._pair_photo(tmp_path, "0001.png", "a.png", None)
    assert "not enough memory" in pair.problem
    monkeypatch.setitem(tasks.TASKS, "full", fail(OSError(errno.ENOSPC, "No space left on device")))
    said = process.do_task("full", {}, print)
    assert isinstance(said, Failed)
    assert "no space is left" in said.error
    assert capfd.readouterr().err == ""


def test_a_file_may_be_large_wherever_one_is_sent(studio: Studio, files: Path):
    session = studio.session()
    at = f"/sessions/{session}/batches"
    at = f"{at}/{studio.ask(at)['batch']}"
    large = (files / "photo.png").read_bytes() + bytes(21_000_000)
    assert studio.ask(f"{at}/pictures", params={"name": "a.png"}, content=large) == {"number": 1}
    assert studio.ask(f"{at}/masks", content=large) == {}
    picture = studio.open(session, files / "photo.png")["picture"]
    answer = studio.client.post(f"/sessions/{session}/pictures/{picture}/mask", content=large)
    assert answer.status_code != 413, answer.text


def test_a_model_that_is_asked_for_stays_until_its_task_is_over(monkeypatch: pytest.MonkeyPatch):
    import asyncio

    from mend.studio.messages import Done
    from mend.studio.workers import MODELS, Messages, Worker, Workers

    async def ask() -> tuple[int, int, list[str]]:
        workers, over = Workers(), asyncio.Event()

        async def work(self: Worker, task: str, arguments: dict[str, Any]) -> Messages:
            await over.wait()
            yield Done({})

        async def listen(name: str) -> None:
            async for _ in workers.run_model(name, "warm"):
                pass

        monkeypatch.setattr(Worker, "_ask", work)
        names = [str(i) for i in range(MODELS + 2)]
        at_work = [asyncio.create_task(listen(name)) for name in names]
        await asyncio.sleep(0.01)
        meanwhile = len(workers.models)
        over.set()
        await asyncio.gather(*at_work)
        await listen("last")
        return meanwhile, len(names), list(workers.models)

    meanwhile, asked, kept = asyncio.run(ask())
    assert meanwhile == asked, "one gave way before its task"
    assert len(kept) == MODELS
    assert kept[-1] == "last"


def test_a_mask_is_loaded_as_the_command_line_reads_it(studio: Studio, files: Path):
    """Annotations, and the picture itself painted over; one that marks nothing is refused, and what was marked stays."""
    session = studio.session()
    opened = studio.open(session, files / "photo.png")
    at = f"/sessions/{session}/pictures/{opened['picture']}"
    pixels = np.array(Image.open(files / "photo.png"))
    height, width = pixels.shape[:2]
    pixels[5:15, 10:30] = (255, 0, 0)
    write_image(files / "painted.png", pixels)
    write_image(files / "black.png", np.zeros((height, width, 1), np.uint8))
    for content in ((files / "painted.png").read_bytes(), json.dumps([[10, 5, 30, 5, 30, 15, 10, 15]]).encode()):
        shown = read_url(studio.ask(f"{at}/mask", content=content)["image"]) > 127
        assert shown.shape == (height, width)
        assert shown[5:15, 10:30].all()
        assert shown.sum() == 200
    answer = studio.client.post(f"{at}/mask", content=(files / "black.png").read_bytes())
    assert "nothing in this mask is marked" in answer.text
