"""The GitHub workflow, which runs elsewhere: what it calls is there."""

import re
import tomllib

import yaml
from conftest import ROOT
from packaging.specifiers import SpecifierSet


def test_the_workflow_calls_what_is_there():
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "check.yml").read_text(encoding="utf-8"))["jobs"]["check"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = [target for step in job["steps"] for target in re.findall(r"\bmake ([a-z]+)", step.get("run", ""))]
    assert {"check", "docs"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    (uploaded,) = (step["with"]["path"] for step in job["steps"] if "upload" in step.get("uses", ""))
    assert f"site_dir: {uploaded}\n" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    needed = SpecifierSet(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"])
    matrix = job["strategy"]["matrix"]
    versions = {*matrix["python"], *(one["python"] for one in matrix["include"])}
    assert all(version in needed for version in versions), versions
