from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "inpainting.ipynb"


@pytest.mark.slow
def test_the_notebook_runs_from_first_cell_to_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As it stands, but for one epoch, a narrower network, and a third of the photographs' cuts."""
    monkeypatch.setenv("MEND_CACHE", str(tmp_path / "cache"))  # other tests want all the cuts
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert 8 <= len(code) <= 12
    switch = next(cell for cell in code if cell.source.startswith("# The switch"))
    switch.source += "\nWIDTH, EPOCHS = 2, 1\nimport mend.data.photos, torch\nmend.data.photos.STEPS = {64: 96, 128: 96}"
    switch.source += "\ntorch.set_num_threads(1)"
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "runs" / "notebook" / "report" / "report.html").exists()
    shown = [output for cell in code for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(shown) == 5
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)


def test_the_committed_notebook_has_no_output_and_no_path_of_ours():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells)
    nbformat.validate(notebook)
