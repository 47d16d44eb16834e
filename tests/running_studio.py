"""A studio in a process of its own, for the tests of the server and of the page."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from conftest import ROOT

CUT = """
import sys

def cut(event, given):
    host = {"socket.connect": lambda: given[1][0], "socket.getaddrinfo": lambda: given[0]}.get(event, lambda: None)()
    if host not in (None, "127.0.0.1", b"127.0.0.1"):
        print(f"left the machine: {event} {host}", file=sys.stderr, flush=True)
        raise OSError("the network is cut")

sys.addaudithook(cut)
"""


class Studio:
    """A studio that runs, as a program talks to it, with the network cut."""

    def __init__(self, folder: Path, *words: str, port: int = 0) -> None:
        if os.name != "posix":
            pytest.skip("a studio is ended by the signal that Ctrl-C sends, which a program on Windows cannot")
        self.folder, self.temporary = folder, folder / "temporary"
        for made in (self.temporary, folder / "cut"):
            made.mkdir(parents=True, exist_ok=True)  # one that was killed may have been here
        (folder / "cut" / "sitecustomize.py").write_text(CUT)
        environment = {
            **os.environ,
            "PYTHONPATH": f"{folder / 'cut'}{os.pathsep}{ROOT}",
            "TMPDIR": str(self.temporary),
            "OMP_NUM_THREADS": "1",
            "NO_PROXY": "*",
        }
        self.log = (folder / "log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mend", "studio", "--port", str(port), "--no-open-page", *words],
            cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=self.log, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert "http" in said, (folder / "log").read_text()
        self.address = said.split()[2]
        self.client = httpx.Client(base_url=self.address, timeout=300, trust_env=False)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                self.client.get("/")
                break
            except httpx.TransportError:
                time.sleep(0.02)

    def session(self) -> str:
        return self.client.post("/sessions").json()["session"]

    def ask(self, path: str, method: str = "POST", **words: object) -> dict[str, object]:
        """The facts or the error that an address of the page answers last."""
        answer = self.client.request(method, path, **words)  # type: ignore[arg-type]
        last = json.loads(answer.text.splitlines()[-1])
        return last.get("done", last)

    def open(self, session: str, file: Path, name: str = "photo.png") -> dict[str, object]:
        return self.ask(f"/sessions/{session}/pictures", params={"name": name}, content=file.read_bytes())

    def workers(self) -> list[int]:
        """The processes that do its tasks; none where there is no /proc."""
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(child) for file in children for child in file.read_text().split()]

    def end(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it, and see that it left nothing: no folder, no process, no traceback, no request to another machine."""
        self.client.close()
        workers = self.workers()
        self.process.send_signal(how)
        try:
            assert self.process.wait(60) == 0
        finally:
            self.process.kill()
        assert not list(self.temporary.glob("mend-studio-*")), "a folder was left behind"
        assert not [one for one in workers if Path(f"/proc/{one}").exists()], "a process was left behind"
        self.log.seek(0)
        assert not re.search("Traceback|left the machine", said := self.log.read()), said


@contextlib.contextmanager
def stuck(studio: Studio) -> Iterator[list[int]]:
    """Whatever is asked of the studio's processes meanwhile takes for ever."""
    workers = studio.workers()
    if not workers:
        pytest.skip("the studio's processes are found in /proc, which is not here")
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    try:
        yield workers
    finally:
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):  # it was ended, which is what cancelling does
                os.kill(worker, signal.SIGCONT)
