"""The parts of the page that need no browser, by node's own test runner: zoom, undo, masks, recovery."""

import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_zoom_undo_masks_and_recovery(tmp_path: Path):
    assert NODE is not None
    for part in ("mend/studio/page", "tests/studio/page"):
        shutil.copytree(ROOT / part, tmp_path / part)
    (tmp_path / "package.json").write_text('{"type": "module"}')  # else older versions take the files for CommonJS
    done = subprocess.run([NODE, "--test", "tests/studio/page/"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
