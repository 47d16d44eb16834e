import errno
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from conftest import mend
from huggingface_hub import constants, file_download
from made_networks import made_graph
from pictures import mask, picture

from mend.errors import InputError
from mend.inpaint import contracts, networks
from mend.inpaint.contracts import NETWORKS, Contract
from mend.inpaint.download import fetch
from mend.inpaint.networks import load_network

CONTENT = os.urandom(300_000)
FILE = "/Carve/LaMa-ONNX/resolve/main/lama_fp32.onnx"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def contract(content: bytes, **keys: Any) -> Contract:
    return replace(NETWORKS["lama"], bytes=len(content), sha256=hashlib.sha256(content).hexdigest(), **keys)


class Hub:
    """The Hugging Face Hub on this machine: one file. It hangs up after as many bytes as `breaks` says, once for each."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.breaks: list[int] = []
        self.ranges: list[str | None] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.answer(200 if self.path == FILE else 404, len(hub.content))

            def do_GET(self) -> None:
                if self.path != FILE:
                    return self.answer(404, 0)
                asked = self.headers.get("Range")
                hub.ranges.append(asked)
                start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
                self.answer(206 if asked else 200, len(hub.content) - start)
                self.wfile.write(hub.content[start : start + hub.breaks.pop(0)] if hub.breaks else hub.content[start:])
                return None

            def answer(self, code: int, length: int) -> None:
                self.send_response(code)
                for name, value in {"ETag": '"abc"', "X-Repo-Commit": COMMIT, "Content-Length": str(length)}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *words: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's library, which is not offline, and does not wait."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)  # what came before a break is kept in whole chunks
    monkeypatch.setattr(file_download.time, "sleep", lambda seconds: None)
    return tmp_path / "hub"


@pytest.fixture
def hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub(CONTENT)
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.address + "/{repo_id}/resolve/{revision}/{filename}")
    yield hub
    hub.server.shutdown()
    hub.server.server_close()


def files(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file() and ".locks" not in path.parts and path.stat().st_size > 1000]


def test_a_file_is_fetched_once_and_its_licence_said_before(hub: Hub, cache: Path, capsys: pytest.CaptureFixture[str]):
    path = fetch("lama", contract(CONTENT))
    assert path.read_bytes() == CONTENT
    assert cache in path.parents
    said = capsys.readouterr().err
    assert f"lama: fetching lama_fp32.onnx from {hub.address}/Carve/LaMa-ONNX, 300,000 bytes, licence Apache-2.0" in said
    hub.server.shutdown()
    assert fetch("lama", contract(CONTENT)) == path
    assert len(hub.ranges) == 1
    assert capsys.readouterr().err == "", "nothing is asked of the hub, and nothing is said"


def test_a_download_that_breaks_goes_on(hub: Hub):
    hub.breaks = [100_000, 150_000]
    assert fetch("lama", contract(CONTENT)).read_bytes() == CONTENT
    assert hub.ranges == [None, "bytes=100000-", "bytes=250000-"]


def test_a_download_that_never_ends_leaves_nothing_that_is_used(hub: Hub, cache: Path):
    hub.breaks = [100_000] + [0] * 6
    with pytest.raises(InputError, match="lama_fp32.onnx .*Nothing of it is used. The same command tries again"):
        fetch("lama", contract(CONTENT))
    assert files(cache) == []
    assert fetch("lama", contract(CONTENT)).read_bytes() == CONTENT, "the next try has it"


def test_what_a_killed_process_had_is_removed_when_the_whole_is_there(hub: Hub, cache: Path):
    blobs = fetch("lama", contract(CONTENT)).resolve().parent
    (blobs / "abc").unlink()
    halves = [blobs / "abc.0123abcd.incomplete", blobs / "def.0123abcd.incomplete"]
    for half in halves:
        half.write_bytes(CONTENT[:5000])
    assert fetch("lama", contract(CONTENT)).read_bytes() == CONTENT
    assert [half.exists() for half in halves] == [False, True], "another file may be on its way"


def test_a_half_file_in_the_cache_is_fetched_again(hub: Hub):
    path = fetch("lama", contract(CONTENT))
    path.resolve().write_bytes(CONTENT[:1000])
    assert fetch("lama", contract(CONTENT)).read_bytes() == CONTENT
    path.resolve().write_bytes(bytes(len(CONTENT)))  # as long, and another
    assert fetch("lama", contract(CONTENT)).read_bytes() == CONTENT


def test_another_file_than_expected_is_removed(hub: Hub, cache: Path):
    with pytest.raises(InputError, match="has the SHA-256 .*It was removed"):
        fetch("lama", replace(contract(CONTENT), sha256="0" * 64))
    assert files(cache) == []
    with pytest.raises(InputError, match="300,000 bytes; 208,044,816 were expected"):
        fetch("lama", NETWORKS["lama"])


def test_a_file_that_the_hub_has_not_is_said(hub: Hub):
    with pytest.raises(InputError, match="does not give other.onnx: .*give its path instead of lama"):
        fetch("lama", contract(CONTENT, file="other.onnx"))


def test_offline_is_one_sentence(cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError) as caught:
        load_network("migan")
    for said in (
        "migan_pipeline_v2.onnx",
        str(cache),
        "cannot be reached",
        "andraniksargsyan/migan",
        "the network that comes with it",
    ):
        assert said in str(caught.value)


def test_a_hub_that_does_not_answer_is_one_sentence_at_once(hub: Hub, caplog: pytest.LogCaptureFixture):
    hub.server.shutdown()
    hub.server.server_close()
    with pytest.raises(InputError, match="cannot be reached"):
        fetch("lama", contract(CONTENT))
    assert not caplog.records, "the library would try five times more, and wait between"


@pytest.mark.parametrize("kind", ["permission", "no folder"])
def test_a_cache_that_cannot_be_written_is_one_sentence(hub: Hub, cache: Path, kind: str, monkeypatch: pytest.MonkeyPatch):
    if kind == "no folder":
        cache.write_bytes(b"")
    else:
        monkeypatch.setattr(file_download.os, "makedirs", fail_with(errno.EACCES, cache))
    with pytest.raises(InputError, match="be written: .* Set HF_HOME to another folder.$") as caught:
        fetch("lama", contract(CONTENT))
    assert str(caught.value).startswith(str(cache))


def test_a_cache_on_a_disk_that_can_only_be_read_is_one_sentence(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(file_download.os, "makedirs", fail_with(errno.EROFS, cache))
    with pytest.raises(InputError) as caught:
        fetch("lama", contract(CONTENT))
    assert str(caught.value) == f"{cache} cannot be written: its disk can only be read. Set HF_HOME to another folder."


def test_the_command_line_says_that_a_cache_can_only_be_read(
    hub: Hub, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(file_download.os, "makedirs", fail_with(errno.EROFS, cache))
    words = ("fill", picture(tmp_path / "p.png"), "--mask", mask(tmp_path / "m.png"), "--model", "lama")
    code, _, errors = mend(capsys, *words)
    said = f"mend: {cache} cannot be written: its disk can only be read. Set HF_HOME to another folder."
    assert (code, errors.splitlines()[-1]) == (1, said)
    assert not (tmp_path / "p-filled.png").exists()


@pytest.mark.parametrize("when", ["before", "during"])
def test_a_full_disk_says_how_much_room_it_has_and_needs(hub: Hub, cache: Path, when: str, monkeypatch: pytest.MonkeyPatch):
    usage = shutil.disk_usage(cache.parent)
    if when == "before":
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=200_000))
    else:
        monkeypatch.setattr(file_download, "http_get", fail_with(errno.ENOSPC))
    with pytest.raises(InputError, match="or set HF_HOME to a folder on another disk") as caught:
        fetch("lama", contract(CONTENT))
    assert str(caught.value).startswith(f"no space left on the disk for {cache}: lama_fp32.onnx takes 0.3 MB, and ")
    if when == "before":
        assert "and 0.2 MB are free" in str(caught.value)
        assert hub.ranges == [], "nothing of it was asked for"


def fail_with(code: int, file: Path | None = None) -> Callable[..., None]:
    def fail(*given: Any, **how: Any) -> None:
        raise OSError(code, os.strerror(code), *([str(file)] if file else []))

    return fail


def test_what_is_in_a_cache_that_cannot_be_written_is_used(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    path = fetch("lama", contract(CONTENT))

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail_with(errno.EACCES))
    assert fetch("lama", contract(CONTENT)) == path


def test_a_network_is_loaded_by_its_name(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    lama = NETWORKS["lama"]
    hub.content = made_graph(output_range=lama.output_range, fixed=lama.fixed).SerializeToString()
    monkeypatch.setitem(networks.NETWORKS, "lama", contract(hub.content))
    network = load_network("lama")
    assert (network.name, network.contract.licence) == ("lama", "Apache-2.0")
    assert contracts.NETWORKS is networks.NETWORKS
