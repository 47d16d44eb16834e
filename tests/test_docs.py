"""The docs: what they tell a reader to type works, what they say of the results is so, and the site asks no other host."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from conftest import ROOT

import mend
from mend import models
from mend.data.assets import ASSETS
from mend.evaluate.metrics import METRICS
from mend.models import build, refine
from mend.models.unet import UNet

DOCS = ROOT / "docs"
FILES = (ROOT / "README.md", *sorted(DOCS.glob("*.md")))
PAGES = {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in FILES}
BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>.+) -->\n)?```(?P<kind>bash|python)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE
)
# They import PyTorch.
SLOW = {
    f"docs/{name}.md" for name in ("batches", "context", "masks", "networks", "protocols", "results", "scale", "score", "train")
}
STUDIO = "docs/studio.md"  # which tests/studio/test_server.py runs, beside a server


def blocks(page: str) -> Iterator[tuple[str, str, str]]:
    """The kind, the code, and why it is not run, of each piece of a page that a reader may paste."""
    for found in BLOCK.finditer(PAGES[page]):
        yield found["kind"], found["code"], found["reason"] or ""


# --- What a reader types ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [pytest.param(page, marks=[pytest.mark.slow] if page in SLOW else []) for page in PAGES])
def test_what_a_page_says_can_be_pasted(page: str, tmp_path: Path):
    code = [(kind, text) for kind, text, reason in blocks(page) if not reason]
    if page == STUDIO or not code:
        pytest.skip("it needs a server: tests/studio/test_server.py" if page == STUDIO else "nothing of it is run here")
    if os.name != "posix" or shutil.which("bash") is None:
        pytest.skip("the pages are written for a POSIX shell")
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=lambda folder, names: set(names) - examples())
    (tmp_path / "results").symlink_to(ROOT / "results")
    script = "\n".join(text if kind == "bash" else f"python - <<'CODE'\n{text}CODE\n" for kind, text in code)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "encoding": "utf-8"}
    run = subprocess.run(["bash", "-euxo", "pipefail", "-c", script], **options)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]


def examples() -> set[str]:
    """The names of the example files that are committed, without what somebody's commands left beside them."""
    files = subprocess.run(["git", "ls-files", "examples"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True).stdout
    return {part for file in files.splitlines() for part in Path(file).parts}


@pytest.mark.parametrize("page", [page for page in PAGES if page not in ("README.md", "docs/index.md", STUDIO)])
def test_a_page_begins_with_a_command_that_works(page: str):
    found = BLOCK.search(PAGES[page])
    assert found, "there is nothing to type"
    assert not found["reason"]
    assert re.fullmatch(r"# .+\s+", PAGES[page][: found.start()]), "something stands before it"


def test_the_refinement_module_of_the_docs_works_as_printed(monkeypatch: pytest.MonkeyPatch):
    code = next(code for _, code, _ in blocks("docs/architecture.md") if "WideRefinement" in code)
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 10
    exec(code, vars(refine))
    try:
        monkeypatch.setitem(models.MODELS, "unet-wide", partial(UNet, refine="wide"))
        raw = build("unet-wide", width=2)(torch.rand(1, 3, 16, 16), torch.ones(1, 1, 16, 16))
        assert raw.shape == (1, 3, 16, 16)
    finally:
        del refine.REFINEMENTS["wide"]


# --- The site --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it: a link that leads nowhere is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8")
    assert run.returncode == 0, run.stdout + run.stderr
    return folder


class Loaded(HTMLParser):
    """What a browser fetches for a page without being asked."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "link" and given.get("rel") not in ("next", "prev", "canonical"):
            self.found.append(given.get("href") or "")
        self.found += [given[name] or "" for name in ("src", "srcset", "poster") if name in given]


def test_the_site_asks_no_other_host(site: Path):
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(PAGES) - 2
    for page in pages:
        loaded = Loaded(page.read_text(encoding="utf-8")).found
        assert loaded
        assert not [address for address in loaded if re.match(r"(https?:)?//", address)], page
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", style.read_text(encoding="utf-8")), style


def test_the_site_has_every_page_and_every_public_name(site: Path):
    assert all((site / ("" if page.stem == "index" else page.stem) / "index.html").exists() for page in DOCS.glob("*.md"))
    api = (site / "api" / "index.html").read_text(encoding="utf-8")
    assert not [name for name in mend.__all__ if f'id="mend.{name}"' not in api]
    assert "<li><code>photo</code>: a file, its bytes" in api.replace("<p>", ""), "columns of a docstring became a paragraph"


def test_the_tests_find_what_a_page_loads():
    text = '<link rel="stylesheet" href="https://a/b.css"><img src="//c/d.png"><a href="https://e">f</a><script src="g.js">'
    assert Loaded(text).found == ["https://a/b.css", "//c/d.png", "g.js"]


# --- What the pages say ----------------------------------------------------------------------------------------------


def test_the_readme_is_short_and_its_links_lead_somewhere():
    assert len(PAGES["README.md"].splitlines()) <= 150
    links = re.findall(r"\]\(([^)]+)\)", PAGES["README.md"])
    assert len(links) > 5
    assert not [link for link in links if not link.startswith("http") and not (ROOT / link.partition("#")[0]).exists()]


def test_every_protocol_and_metric_is_explained():
    page = PAGES["docs/protocols.md"]
    protocols = [file.stem for file in (ASSETS / "protocols").glob("*.toml")]
    assert protocols
    assert not [name for name in (*protocols, *METRICS) if f"`{name}`" not in page]


def test_every_network_is_explained():
    assert not [name for name in models.MODELS if f"`{name}`" not in PAGES["docs/train.md"]]


def test_tables_made_of_results_are_those_of_now(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from pages import TABLES

    for (page, name), table in TABLES.items():
        assert f"<!-- {name} -->\n{table()}<!-- /{name} -->" in PAGES[page], f"{name} of {page}: python benchmarks/pages.py"


def test_the_version_to_cite_is_this_one():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [mend.__version__]
