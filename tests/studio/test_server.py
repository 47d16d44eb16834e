"""The studio without a browser: what it answers, what it refuses, and what it leaves behind."""

import base64
import contextlib
import hashlib
import http.client
import io
import json
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, smooth
from PIL import Image
from running_studio import Studio, stuck

from mend.cli import main
from mend.images import write_image

pytest.importorskip("gradio", reason="the extra [studio] is not installed")

PAGE = ROOT / "mend" / "studio" / "page"


# What Python runs first, in the server and in every process of it: a network that ends at this machine.


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the studio's processes are found in /proc")


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    running = Studio(tmp_path_factory.mktemp("studio"))
    yield running
    running.end()


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
    out = files / f"filled-{photo}"
    with contextlib.suppress(SystemExit):
        main(["fill", str(files / photo), "--mask", str(files / mask), "-o", str(out), *words])
    return out.read_bytes()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("photo", ["photo.png", "photo.jpg"])
def test_the_same_file_as_the_command_line(studio: Studio, files: Path, photo: str):
    from gradio_client import Client, handle_file

    expected = digest(by_command_line(files, photo, "--model", "telea"))
    sent = {"image": (files / photo).open("rb"), "mask": (files / "mask.png").open("rb")}
    answer = studio.client.post("/fill", files=sent, data={"model": "telea"})
    assert answer.status_code == 200, answer.text
    assert digest(answer.content) == expected
    assert f'filename="photo-mended{Path(photo).suffix}"' in answer.headers["content-disposition"]
    client = Client(f"{studio.address}/gradio/", verbose=False, httpx_kwargs={"timeout": 120})
    sent = handle_file(files / photo), handle_file(files / "mask.png")
    results = [client.submit(*sent, model, api_name="/fill") for model in ("mean-colour", "telea", "mean-colour")]
    results = [Path(one.result()).read_bytes() for one in results]
    assert digest(results[1]) == expected
    assert results[0] == results[2] != results[1]
    assert not list(studio.temporary.rglob(f"*{photo}*")), "a name became a path"

    session = studio.session()
    picture = studio.open(session, files / photo, photo)
    assert (picture["width"], picture["height"], picture["name"]) == (61, 45, photo)
    at = f"/sessions/{session}/pictures"
    mask = base64.b64encode((files / "mask.png").read_bytes()).decode()
    painted = studio.ask(f"{at}/{picture['picture']}/fill", json={"model": "telea", "mask": f"data:image/png;base64,{mask}"})
    assert digest(studio.client.get(f"{at}/{painted['picture']}/result").content) == expected
    key = studio.ask(f"{at}/{picture['picture']}/mask", content=(files / "mask.png").read_bytes())["mask"]
    loaded = studio.ask(f"{at}/{picture['picture']}/fill", json={"model": "telea", "loaded": key, "score": True})
    assert digest(studio.client.get(f"{at}/{loaded['picture']}/result").content) == expected
    assert 5 < float(str(loaded["psnr"])) < 60
    # the result as the next input: nothing marked in vain, and what was filled is what is filled on
    again = studio.ask(f"{at}/{loaded['picture']}/fill", json={"model": "mean-colour", "mask": f"data:,{mask}", "grow": 3})
    assert float(str(again["share"])) > 0.0911


def test_texture_as_by_the_command_line(studio: Studio, files: Path):
    sent = {name: (files / f"{file}.png").read_bytes() for name, file in (("image", "photo"), ("mask", "mask"))}
    smooth_one, textured = (studio.client.post("/fill", files=sent, data={"model": m}) for m in ("mend", "mend with texture"))
    assert digest(smooth_one.content) == digest(by_command_line(files, "photo.png"))
    assert digest(textured.content) == digest(by_command_line(files, "photo.png", "--texture"))
    assert textured.content != smooth_one.content


def test_what_is_to_be_said_of_a_filling_is_said(studio: Studio, files: Path):
    session = studio.session()
    mask = base64.b64encode((files / "mask.png").read_bytes()).decode()
    clear = np.dstack([smooth(45, 61, 1), np.zeros((45, 61), np.uint8)])
    write_image(files / "clear.png", clear)
    for file, notes in (
        ("photo.png", []),
        ("clear.png", ["250 of the 250 pixels of the hole are not opaque, and stay so"]),
    ):
        at = f"/sessions/{session}/pictures/{studio.open(session, files / file)['picture']}"
        assert studio.ask(f"{at}/fill", json={"model": "telea", "mask": f"data:,{mask}"})["notes"] == notes


def test_twenty_four_megapixels_are_filled_at_their_full_size(studio: Studio, files: Path):
    pixels = smooth(4000, 6000, 6)
    Image.fromarray(pixels).save(files / "huge.png")
    session = studio.session()
    picture = studio.open(session, files / "huge.png")
    at = f"/sessions/{session}/pictures/{picture['picture']}"
    preview = Image.open(io.BytesIO(studio.client.get(f"{at}/preview").content))
    assert preview.size == (1600, 1067)
    mask = np.zeros((1067, 1600, 1), np.uint8)  # as it is painted on the preview
    mask[400:500, 700:900] = 255
    write_image(files / "painted.png", mask)
    painted = base64.b64encode((files / "painted.png").read_bytes()).decode()
    result = studio.ask(f"{at}/fill", json={"model": "mend", "mask": f"data:,{painted}"})
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
    image = (files / "photo.png").read_bytes()
    Image.fromarray(mask).resize((122, 90), Image.Resampling.NEAREST).save(files / "twice.png")
    expected = by_command_line(files, "photo.png", "--model", "telea", mask="twice.png")
    answer = studio.client.post(
        "/fill", files={"image": image, "mask": (files / "twice.png").read_bytes()}, data={"model": "telea"}
    )
    assert digest(answer.content) == digest(expected)
    Image.fromarray(255 - mask).save(files / "inverted.png")
    sent = {"image": image, "mask": (files / "inverted.png").read_bytes()}
    answer = studio.client.post("/fill", files=sent, data={"model": "telea", "hole": "black"})
    assert digest(answer.content) == digest(expected)
    answer = studio.client.post("/fill", files={"image": image, "mask": image})
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


def test_the_images_of_an_evaluation_are_sorted(studio: Studio):
    folder = studio.folder / "results"
    (folder / "mine").mkdir(parents=True)
    values = {"psnr": [20.0, 30.0, 25.0], "ssim": [0.9, 0.7, 0.8]}
    table = pd.DataFrame({"row": range(3), "name": ["a", "b", "c"], "image": ["1", "2", "3"], **values})
    table.to_parquet(folder / "mine" / "net.parquet")
    means = {"psnr": {"mean": 25.0}, "psnr_hole": {"mean": 9.0}}
    said = {"protocol": {"title": "Mine"}, "n": 3, "methods": {"net": {"metrics": means}, "gone": {"metrics": means}}}
    (folder / "mine.json").write_text(json.dumps(said))
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
    from mend.studio import work

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    work._segmenter.cache_clear()
    assert work._segmenter() is None
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    weights = deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, aux_loss=True).state_dict()
    torch.save(weights, tmp_path / "hub" / "checkpoints" / "deeplabv3_mobilenet_v3_large-fc3c493d.pth")
    work._segmenter.cache_clear()
    found = work._segmenter()
    work._segmenter.cache_clear()
    assert isinstance(found, segment.Segmenter)

    class Finder:
        def masks(self, pixels: np.ndarray) -> np.ndarray:
            return (pixels[..., 0] == 200).astype(np.uint8)

    pixels = np.random.default_rng(0).integers(0, 100, (60, 90, 3), np.uint8)  # nothing that a graph would hold together
    pixels[20:40, 30:60, 0] = 200
    Image.fromarray(pixels).save(tmp_path / "preview.webp", lossless=True)
    monkeypatch.setattr(work, "_segmenter", Finder)
    work.select(lambda *said: None, str(tmp_path), 0.5, 0.5, str(tmp_path / "found"))
    mask = np.asarray(Image.open(tmp_path / "found")) > 0
    assert mask[20:40, 30:60].all()
    assert mask.sum() < 1.5 * 20 * 30


def test_a_click_selects_what_is_there(studio: Studio, files: Path):
    pixels = np.full((80, 120, 3), 200, np.uint8)
    pixels[20:50, 30:70] = (200, 30, 30)
    write_image(files / "box.png", pixels)
    session = studio.session()
    picture = studio.open(session, files / "box.png")["picture"]
    found = studio.ask(f"/sessions/{session}/pictures/{picture}/select", json={"x": 0.4, "y": 0.4})
    (files / "found.png").write_bytes(base64.b64decode(str(found["image"]).partition(",")[2]))
    mask = np.asarray(Image.open(files / "found.png")) > 0
    truth = pixels[..., 1] == 30
    assert (mask & truth).sum() / (mask | truth).sum() > 0.85


def bomb(files: Path) -> bytes:
    """A PNG of a few bytes that says it is 60,000 pixels wide and high."""
    data = bytearray((files / "photo.png").read_bytes())
    data[16:24] = (60000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize(
    ("image", "mask", "model", "sentence"),
    [
        (lambda files: b"not a picture", "mask.png", "telea", "photo.png is not a picture"),
        (lambda files: b"", "mask.png", "telea", "photo.png is empty"),
        (lambda files: (files / "photo.png").read_bytes()[:200], "mask.png", "telea", "photo.png is damaged"),
        (bomb, "mask.png", "telea", "3600 megapixels|far more"),
        (lambda files: (files / "photo.png").read_bytes(), "all.png", "telea", "covers the whole picture"),
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


def test_only_formats_of_pictures_are_read(studio: Studio, files: Path):
    """Pillow would hand an EPS to Ghostscript, and knows readers that nobody asks for; what is taken comes back as it came."""
    from PIL import features

    session = studio.session()
    for suffix in (".eps", ".ppm", ".tga"):
        Image.open(files / "photo.png").save(files / f"photo{suffix}")
        said = studio.open(session, files / f"photo{suffix}", f"photo{suffix}")
        assert "is not a picture that Pillow can read. Expected PNG, JPEG" in str(said["error"])
    mask = base64.b64encode((files / "mask.png").read_bytes()).decode()
    for suffix, feature, back, kind, lossy in (
        (".avif", "avif", ".avif", "AVIF", True), (".jp2", "jpg_2000", ".png", "JPEG 2000", False),
        (".webp", "webp", ".webp", "WebP", False), (".jpg", "jpg", ".jpg", "JPEG", True),
    ):  # fmt: skip
        if features.check(feature):
            options = {"lossless": True} if suffix == ".webp" else {}
            Image.open(files / "photo.png").save(files / f"photo-{suffix}", **options)
            picture = studio.open(session, files / f"photo-{suffix}")
            assert (picture["suffix"], picture["kind"]) == (back, f"{kind}, colour, 8 bits")
            at = f"/sessions/{session}/pictures/{picture['picture']}/fill"
            assert studio.ask(at, json={"model": "mean-colour", "mask": f"data:,{mask}"})["lossy"] == lossy


def test_a_thin_mask_is_seen_and_a_huge_one_refused(studio: Studio, files: Path):
    write_image(files / "wide.png", smooth(200, 4000, 4))
    thin = np.zeros((200, 4000, 1), np.uint8)
    thin[:, 1000] = thin[100, :] = 255
    write_image(files / "thin.png", thin)
    session = studio.session()
    picture = studio.open(session, files / "wide.png")["picture"]
    at = f"/sessions/{session}/pictures/{picture}"
    shown = str(studio.ask(f"{at}/mask", content=(files / "thin.png").read_bytes())["image"])
    preview = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown.partition(",")[2]))))
    assert preview.shape == (80, 1600)
    assert preview.any(0).all()
    assert preview.any(1).all()
    huge = base64.b64encode(bomb(files)).decode()
    said = studio.ask(f"{at}/fill", json={"model": "telea", "mask": f"data:,{huge}"})
    assert re.match("the mask has (3600|far more than that many) megapixels", str(said["error"]))


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
    shares = [studio.ask(f"{at[0]}/fill", json={"model": "telea", "loaded": key})["share"] for key in keys]
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
        ("select", '{"x": null, "y": 0.5}', 400, "x is not what was expected: input should be a valid number"),
        ("select", '{"x": 0.5, "y": 7}', 400, "less than or equal to 1"),
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
    from mend.studio.methods import Method

    class Stuck(workers.Worker):
        said: Exception

        async def do(self, task: str, **arguments: object):
            raise Stuck.said
            yield {}

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
        at = "/gradio/gradio_api"
        paths = client.post(f"{at}/upload", files=[("files", data) for data in sent.values()]).json()
        given = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in paths]
        for data, said in (([*given, "telea"], "a fault of mend itself (OSError)"), ([], "fill takes an image, a mask")):
            called = client.post(f"{at}/call/fill", json={"data": data}).json()["event_id"]
            answer = client.get(f"{at}/call/fill/{called}").text
            assert "event: error" in answer
            assert said in answer
            assert "secret" not in answer


def test_nothing_marked_and_a_mask_of_another_size(studio: Studio, files: Path):
    session = studio.session()
    picture = studio.open(session, files / "photo.png")["picture"]
    at = f"/sessions/{session}/pictures/{picture}"
    write_image(files / "small.png", np.full((9, 9, 1), 255, np.uint8))
    assert "9×9, its picture 61×45" in str(studio.ask(f"{at}/mask", content=(files / "small.png").read_bytes()))
    write_image(files / "none.png", np.zeros((45, 61, 1), np.uint8))
    mask = base64.b64encode((files / "none.png").read_bytes()).decode()
    assert "nothing is marked" in str(studio.ask(f"{at}/fill", json={"model": "telea", "mask": f"data:,{mask}"}))
    assert "no mask came" in studio.client.post("/fill", files={"image": b"x"}).json()["error"]
    assert studio.client.get("/").status_code == 200


def test_no_file_outside_the_session_can_be_read(studio: Studio, files: Path):
    session, other = studio.session(), studio.session()
    picture = studio.open(session, files / "photo.png", "../../../../etc/passwd")
    assert picture["name"] == "passwd"
    secret = files / "secret.txt"
    cached = studio.folder / ".gradio" / "cached_examples" / "secret.txt"  # where Gradio would look
    cached.parent.mkdir(parents=True)
    for place in (secret, cached, studio.folder / "secret.txt"):
        place.write_text("secret")
    key = picture["picture"]
    source = next(studio.temporary.rglob("source"))
    tries = [
        "/page/..%2fserver.py", "/page/../server.py", "/page/%2e%2e/server.py", "/examples/..%2f..%2fetc%2fpasswd",
        f"/sessions/{other}/pictures/{key}/preview", f"/sessions/{session}/pictures/{key}/source",
        f"/sessions/{session}/pictures/{key}/..%2f..%2fsource", f"/sessions/{session}/pictures/..%2f{key}/preview",
        f"/sessions/..%2f{session}/pictures/{key}/preview", f"/gradio/gradio_api/file={secret}", f"/gradio/file={secret}",
        "/gradio/gradio_api/startup-events", "/gradio/gradio_api/call/nope",
        "/gradio/gradio_api/file=/etc/passwd", "/gradio/gradio_api/file=//etc/passwd", f"//gradio/gradio_api/file={secret}",
        f"/gradio/gradio_api/file={cached}", f"/gradio/gradio_api/file={studio.folder}/secret.txt",
        f"/gradio/gradio_api/file={source}", f"/gradio/gradio_api/file={studio.temporary}/uploads/../{source}",
        "/gradio/gradio_api/file=http://127.0.0.1:1/", "/gradio/gradio_api/proxy=http://127.0.0.1:1/", "/gradio/",
        "/gradio/gradio_api/deep_link", "/gradio/monitoring", "/gradio/gradio_api/vibe-code", "/docs", "/openapi.json",
    ]  # fmt: skip
    for path in tries:
        request = httpx.Request("GET", f"{studio.address}{path}")
        request.url = request.url.copy_with(raw_path=path.encode())  # httpx would tidy the dots away
        answer = studio.client.send(request)
        assert answer.status_code in (400, 403, 404), path
        request.method = "HEAD"
        assert studio.client.send(request).status_code >= 400, path
        assert "secret" not in answer.text.replace("secret.txt", "")
        assert "root:" not in answer.text


def test_a_client_can_name_no_file_of_this_machine(studio: Studio, files: Path):
    """Gradio's client says where its upload lies: only there is looked, and no address is fetched."""
    at = f"{studio.address}/gradio/gradio_api"
    for extra in ({}, {"meta": {"_type": "gradio.FileData"}}, {"url": f"{studio.address}/page/icon.svg"}):
        data = [{"path": str(files / name), **extra} for name in ("photo.png", "mask.png")]
        called = studio.client.post(f"{at}/call/fill", json={"data": [*data, "telea"]})
        answer = studio.client.get(f"{at}/call/fill/{called.json()['event_id']}").text
        assert "event: error" in answer, answer
        assert "complete" not in answer
    uploaded = studio.client.post(f"{at}/upload", files=[("files", (files / "photo.png").read_bytes())]).json()[0]
    file = {"path": uploaded, "meta": {"_type": "gradio.FileData"}}
    for wrong in (["photo.png", "mask.png", "telea"], [file, file, file], [None, file, "telea"]):
        called = studio.client.post(f"{at}/call/fill", json={"data": wrong})
        assert "event: error" in studio.client.get(f"{at}/call/fill/{called.json()['event_id']}").text


def test_strangers_are_refused(studio: Studio):
    for headers in ({"Origin": "http://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}):
        answer = studio.client.post("/sessions", headers=headers)
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert studio.client.get("/", headers={"Host": "rebound.example"}).status_code == 421
    asked = http.client.HTTPConnection(studio.address.removeprefix("http://"))
    asked.putrequest("POST", "/fill")
    asked.putheader("Content-Length", str(10**9))
    asked.endheaders()
    assert asked.getresponse().status == 413
    asked.close()
    large = json.dumps({"data": ["A" * 2_000_000]}).encode()
    for body in (large, iter([large])):  # its length said, and not
        answer = studio.client.post("/gradio/gradio_api/call/fill", content=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, "larger than 1 MB" in answer.text) == (413, True)
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


def until(true: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)


def test_hanging_up_ends_whatever_is_at_work(studio: Studio, files: Path):
    session = studio.session()
    at = f"/sessions/{session}/pictures"
    picture = f"{at}/{studio.open(session, files / 'photo.png')['picture']}"
    mask = base64.b64encode((files / "mask.png").read_bytes()).decode()
    tasks = {
        at: (files / "photo.png").read_bytes(),
        f"{picture}/mask": (files / "mask.png").read_bytes(),
        f"{picture}/select": b'{"x": 0.5, "y": 0.5}',
        f"{picture}/fill": json.dumps({"model": "telea", "mask": f"data:,{mask}"}).encode(),
        f"{picture}/full": b"",
    }
    for path, content in tasks.items():
        assert "error" not in studio.ask(path, content=content), "its process is awake"
        for shown in studio.temporary.rglob("full.jpg"):
            shown.unlink()
        with stuck(studio) as workers:
            with pytest.raises(httpx.ReadTimeout):
                studio.client.post(path, content=content, timeout=1)
            until(lambda: one_ended(workers), f"{path} goes on")
        assert "error" not in studio.ask(path, content=content), path
    assert Image.open(io.BytesIO(studio.client.get(f"{picture}/full").content)).size == (61, 45)

    before = set(studio.temporary.rglob("*"))
    sent = {name: (files / f"{file}.png").read_bytes() for name, file in (("image", "photo"), ("mask", "mask"))}
    with stuck(studio) as workers:
        with pytest.raises(httpx.ReadTimeout):
            studio.client.post("/fill", files=sent, data={"model": "telea"}, timeout=1)
        until(lambda: one_ended(workers), "/fill goes on")
    until(lambda: set(studio.temporary.rglob("*")) <= before, "what was sent is still there")
    assert studio.client.post("/fill", files=sent, data={"model": "telea"}).status_code == 200


def test_hanging_up_ends_the_reading_of_scores(studio: Studio):
    folder = studio.folder / "results" / "read"
    folder.mkdir(parents=True)
    pd.DataFrame({"row": [0], "name": ["a"], "image": [""], "psnr": [20.0]}).to_parquet(folder / "net.parquet")
    said = {"protocol": {"title": "Read"}, "n": 1, "methods": {"net": {"metrics": {"psnr": {"mean": 20.0}}}}}
    folder.with_suffix(".json").write_text(json.dumps(said))
    assert studio.ask("/results/read/net", "GET")["of"] == 1
    with stuck(studio) as workers:
        with pytest.raises(httpx.ReadTimeout):
            studio.client.get("/results/read/net", timeout=1)
        until(lambda: one_ended(workers), "the reading goes on")
    assert studio.ask("/results/read/net", "GET")["of"] == 1


def test_a_client_of_gradio_that_hangs_up_or_cancels_ends_its_filling(studio: Studio, files: Path):
    from gradio_client import Client, handle_file

    at, names = "/gradio/gradio_api", ("photo.png", "mask.png")
    client = Client(f"{studio.address}/gradio/", verbose=False, httpx_kwargs={"timeout": 120})

    def call() -> str:
        """The address of the answer."""
        paths = studio.client.post(f"{at}/upload", files=[("files", (files / name).read_bytes()) for name in names]).json()
        data = [*({"path": path, "meta": {"_type": "gradio.FileData"}} for path in paths), "telea"]
        return f"{at}/call/fill/{studio.client.post(f'{at}/call/fill', json={'data': data}).json()['event_id']}"

    def cancelled() -> None:
        job = client.submit(*(handle_file(files / name) for name in names), "telea", api_name="/fill")
        until(lambda: "PROCESSING" in str(job.status().code), "it does not begin")
        job.cancel()

    def hung_up() -> None:
        with pytest.raises(httpx.ReadTimeout):
            studio.client.get(call(), timeout=1)

    for leave in (hung_up, cancelled):
        assert "event: complete" in studio.client.get(call()).text
        with stuck(studio) as workers:
            leave()
            until(lambda workers=workers: one_ended(workers), f"the filling goes on though it was {leave.__name__}")
    assert "event: complete" in studio.client.get(call()).text


@needs_proc
def test_one_call_is_cancelled_and_the_other_of_the_same_client_goes_on(studio: Studio, files: Path):
    from gradio_client import Client, handle_file

    client = Client(f"{studio.address}/gradio/", verbose=False, httpx_kwargs={"timeout": 120})
    sent = [handle_file(files / name) for name in ("photo.png", "mask.png")]
    assert client.predict(*sent, "telea", api_name="/fill"), "its process is awake"
    with stuck(studio):
        first, second = (client.submit(*sent, "telea", api_name="/fill") for _ in range(2))
        until(lambda: all("PROCESSING" in str(job.status().code) for job in (first, second)), "they do not begin")
        second.cancel()
        until(second.done, "it goes on")
        assert not first.done()
    filled = Path(first.result(timeout=60)).read_bytes()
    assert digest(filled) == digest(by_command_line(files, "photo.png", "--model", "telea"))


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
            async with contextlib.aclosing(worker.do("fill")) as messages:
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
            async for _ in model.do("warm", model="telea", device="cpu"):
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
    from mend.studio.sessions import Session, wanted

    session = Session(tmp_path)
    photo, _ = session.add("photo.png")
    results = [session.add("photo.png", compared=i >= 10)[0] for i in range(sessions.KEPT - 1)]
    for i in range(9):  # of comparisons there are nine
        assert session.item(photo)
        session.add("photo.png")
        assert results[10 + i] not in session.items
    with wanted(session.items[results[0]]):
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
    _, item = held.create()[1].add("photo.png" * 99)
    assert len(item.name) == 100
    (item.folder / "source").write_bytes(bytes(101))
    first, second = (held.link(item, item.folder / "source", [], False) for _ in range(2))
    assert first not in held.links
    folders = [one for one in held.folder.iterdir() if one.is_dir()]
    assert sorted(folders) == sorted([item.folder.parent, held.links[second].item.folder])
    held.end()


def test_files_of_gradios_clients_give_way_and_expire(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from mend.studio import sessions
    from mend.studio.sessions import Uploads

    uploads = Uploads(tmp_path / "uploads")
    first, second = uploads.new(), uploads.new(".png")
    for file in (first, second):
        file.write_bytes(bytes(60))
    monkeypatch.setattr(sessions, "ROOM", 100)
    third = uploads.new()
    assert list(uploads.files) == [str(second), str(third)]
    assert list(uploads.folder.iterdir()) == [second]
    uploads.expire()
    assert second.exists()
    monkeypatch.setattr(sessions, "UPLOADED", -1)
    uploads.expire()
    assert not uploads.files
    assert not list(uploads.folder.iterdir())
    named, more = uploads.new(), uploads.new()
    for file in (named, more):
        file.write_bytes(bytes(101))
    uploads.wanted = lambda: {str(named)}
    uploads.expire()
    assert list(uploads.files) == [str(named)], "what a call waits to use stays"
    uploads.new()
    assert named.exists()
    uploads.wanted = set
    uploads.expire()
    stays, goes = uploads.new(), uploads.new()
    stays.mkdir()  # which cannot be unlinked, as on Windows a file that is being read
    goes.touch()
    uploads.expire()
    assert list(uploads.folder.iterdir()) == [stays]


def test_an_upload_that_is_broken_off_leaves_nothing(studio: Studio):
    before = set(studio.temporary.rglob("*"))
    body = b'--edge\r\nContent-Disposition: form-data; name="files"; filename="photo.png"\r\n\r\n' + bytes(2_000_000)
    asked = http.client.HTTPConnection(studio.address.removeprefix("http://"))
    for path in ("/gradio/gradio_api/upload", "/fill"):
        asked.putrequest("POST", path)
        asked.putheader("Content-Type", "multipart/form-data; boundary=edge")
        asked.putheader("Content-Length", "9000000")
        asked.endheaders(body)
        time.sleep(0.5)
        asked.close()
        time.sleep(0.5)
    assert set(studio.temporary.rglob("*")) <= before


def test_a_session_at_work_is_not_closed(monkeypatch: pytest.MonkeyPatch):
    from mend.studio import sessions
    from mend.studio.sessions import Sessions, wanted
    from mend.studio.workers import Busy

    monkeypatch.setattr(sessions, "SESSIONS", 2)
    monkeypatch.setattr(sessions, "IDLE", -1)
    held = Sessions()
    (first, one), (second, two) = held.create(), held.create()
    with wanted(one.add("photo.png")[1]):
        held.create()
        assert first in held.open
        assert second not in held.open
        two = held.open[next(token for token in held.open if token != first)]
        with wanted(two.add("photo.png")[1]), pytest.raises(Busy, match="2 pages are open already"):
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


def test_calls_of_programs_take_no_pages_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from mend.studio import sessions
    from mend.studio.workers import Busy

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for limit in ("SESSIONS", "CALLS"):
        monkeypatch.setattr(sessions, limit, 1)
    held = sessions.Sessions()
    token, page = held.create()
    with held.call() as call:
        assert call.folder.exists()
        assert held.find(token) is page
        with pytest.raises(Busy, match="1 calls are at work"), held.call():
            pass
    assert not call.folder.exists()
    with held.call():
        pass
    page.heard = time.monotonic()
    with pytest.raises(Busy, match="1 pages are open"):
        held.create()
    held.end()


def test_a_call_that_waits_keeps_its_files(monkeypatch: pytest.MonkeyPatch, files: Path):
    import threading

    from starlette.testclient import TestClient

    from mend.studio import calls, server, sessions, workers
    from mend.studio.methods import Method

    going_on = threading.Event()

    class Slow(workers.Worker):
        async def do(self, task: str, **arguments: object):
            while not going_on.is_set():
                await server.asyncio.sleep(0.05)
            if task == "fill":
                (Path(str(arguments["out"])) / "result.png").write_bytes(b"filled")
            yield {"done": {"suffix": ".png", "height": 45, "width": 61}}

    monkeypatch.setattr(workers, "Worker", Slow)
    monkeypatch.setattr(server, "EXPIRING", 0.05)
    monkeypatch.setattr(calls, "REMEMBERED", 2)
    app = server.make_app({"telea": Method("telea", "")}, [], "cpu", None, None)
    # What is asked for while it expires is an error of Starlette's, and the next answer is 404.
    with TestClient(app, raise_server_exceptions=False) as client:
        at = "/gradio/gradio_api"

        def sent() -> list[str]:
            data = [("files", (files / name).read_bytes()) for name in ("photo.png", "mask.png")]
            return client.post(f"{at}/upload", files=data).json()

        called = []
        for _ in range(4):  # two are at work at once
            given = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in sent()]
            called.append(client.post(f"{at}/call/fill", json={"data": [*given, "telea"]}).json()["event_id"])
        unnamed, _ = sent()
        with monkeypatch.context() as full:
            full.setattr(sessions, "CALLS", 2)  # as many as are at work
            assert "2 calls are at work already" in client.post(f"{at}/upload", files=[("files", b"more")]).text
        with monkeypatch.context() as soon:
            soon.setattr(sessions, "UPLOADED", -1)
            until(lambda: client.head(f"{at}/file={unnamed}").status_code == 404, "nothing expires")
        going_on.set()
        for event in called:
            assert "event: complete" in client.get(f"{at}/call/fill/{event}").text
    gradio = next(route.app for route in app.routes if getattr(route, "path", "") == "/gradio")
    assert len(gradio.state_holder.session_data) == len(gradio.get_blocks()._queue.event_analytics) == 2, "of four clients"


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
    from mend.studio.work import _named

    folder = r"C:\temporary\1a2b"
    assert _named(rf"{folder}\source is empty", {"folder": folder, "name": "a b.png"}) == "a b.png is empty"


def test_a_closed_session_leaves_nothing(studio: Studio, files: Path):
    before = set(studio.temporary.rglob("*"))
    session = studio.session()
    studio.open(session, files / "photo.png")
    assert set(studio.temporary.rglob("*")) - before
    studio.client.post(f"/sessions/{session}/close")
    assert set(studio.temporary.rglob("*")) <= before
    assert "session is over" in str(studio.ask(f"/sessions/{session}/pictures", content=b""))


@needs_proc
def test_fifty_requests_leave_memory_as_it_is(studio: Studio):
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from studio_soak import soak

    found = soak(studio.address, studio.process.pid, requests=50, warm=10)
    assert found["lost"] == 0
    # Twenty requests that each left a picture behind, of 0.36 MB, would be 0.6 %.
    assert found["growth"] < 0.004, found


def test_auth_asks_for_a_password():
    from starlette.responses import JSONResponse
    from starlette.testclient import TestClient
    from starlette.websockets import WebSocketDisconnect

    from mend.studio.door import Door

    client = TestClient(Door(JSONResponse({}), None, "anna:secret"))
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/"):  # of which the studio has none
        pass
    for path in ("/", "/gradio/config"):
        assert client.get(path).status_code == 401
        assert "Basic" in client.get(path).headers["www-authenticate"]
        assert client.get(path, auth=("anna", "wrong")).status_code == 401
        assert client.get(path, auth=("anna", "secret")).status_code == 200


def test_programs_send_the_password_in_a_header(tmp_path: Path, files: Path):
    from gradio_client import Client, handle_file

    locked = Studio(tmp_path, "--auth", "anna:secret")
    try:
        assert locked.client.get("/").status_code == 401
        headers = {"Authorization": "Basic " + base64.b64encode(b"anna:secret").decode()}
        client = Client(f"{locked.address}/gradio/", verbose=False, headers=headers, httpx_kwargs={"timeout": 120})
        result = client.predict(handle_file(files / "photo.png"), handle_file(files / "mask.png"), "telea", api_name="/fill")
        assert digest(Path(result).read_bytes()) == digest(by_command_line(files, "photo.png", "--model", "telea"))
    finally:
        locked.end()


@pytest.mark.parametrize("how", [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)])
def test_a_model_that_does_not_load_is_said_and_nothing_is_left(tmp_path: Path, files: Path, how: signal.Signals):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{")
    running = Studio(tmp_path / "studio", str(tmp_path / "mine"))
    try:
        session = running.session()
        picture = running.open(session, files / "photo.png")["picture"]
        mask = base64.b64encode((files / "mask.png").read_bytes()).decode()
        at = f"/sessions/{session}/pictures/{picture}/fill"
        said = running.ask(at, json={"model": "mine", "mask": f"data:,{mask}"})
        assert re.match("mine/config.json is no model configuration", str(said["error"])), said
        assert "share" in running.ask(at, json={"model": "telea", "mask": f"data:,{mask}"})
    finally:
        running.end(how)


def test_a_long_queue_is_refused():
    import asyncio

    from mend.errors import InputError
    from mend.studio.workers import WAITING, Worker

    worker = Worker()
    worker.wanted = WAITING + 1

    async def ask() -> None:
        async for _ in worker.do("warm"):
            pass

    with pytest.raises(InputError, match="waiting already"):
        asyncio.run(ask())


def test_runs_and_networks_of_one_name_are_all_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from mend.studio.methods import offered
    from mend.studio.runs import find_runs

    monkeypatch.chdir(tmp_path)
    for folder in ("runs/exp", "a/exp", "b/exp", "telea"):
        Path(folder).mkdir(parents=True)
        Path(folder, "config.toml").write_text("")
    found = find_runs(["a/exp", "b/exp", "runs/exp"])
    assert {name: place.parent.name for name, place in found.items()} == {"exp": "a", "exp (2)": "b", "exp (3)": "runs"}
    Path("telea", "config.json").write_text("{}")
    assert Path(offered(["telea"])["telea"].model).is_absolute(), "a folder, and not the filler of that name"


def test_the_names_agree_with_what_they_stand_for():
    from mend.filling.inpainter import DEFAULT
    from mend.inpaint.classical import CLASSICAL
    from mend.studio.examples import EXAMPLES
    from mend.studio.methods import CLASSICAL as offered
    from mend.studio.methods import DEFAULT as default

    assert set(offered) == set(CLASSICAL)
    assert default == DEFAULT
    assert all(example.file.is_file() for example in EXAMPLES.values())


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
    from mend.studio.methods import DEFAULT, Method, offered

    for name in ("telea", "mend"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "fresh").mkdir()
    (tmp_path / "fresh" / "config.toml").write_text("")
    found = offered([str(tmp_path / name) for name in ("telea", "mend", "fresh")])
    assert list(found)[:2] == ["telea", "mend"]
    assert found["telea"].model == str(tmp_path / "telea")
    assert found["telea (built in)"].model == "telea"
    assert found["mend (built in)"].model == str(DEFAULT)
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
    assert found["nan"] == {"config": {"model": "unet"}, "rows": [{"epoch": 1, "loss": 0.5}, {"epoch": 2}], "samples": []}
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
