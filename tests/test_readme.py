import re
from functools import partial
from pathlib import Path

import pytest
import torch

from mend import models
from mend.models import build, refine
from mend.models.unet import UNet

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_refinement_module_of_the_readme_works_as_printed(monkeypatch: pytest.MonkeyPatch):
    code = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "WideRefinement" in block)
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 10
    monkeypatch.setattr(refine, "REFINEMENTS", refine.REFINEMENTS)
    exec(code, vars(refine))
    try:
        monkeypatch.setitem(models.MODELS, "unet-wide", partial(UNet, refine="wide"))
        raw = build("unet-wide", width=2)(torch.rand(1, 3, 16, 16), torch.ones(1, 1, 16, 16))
        assert raw.shape == (1, 3, 16, 16)
    finally:
        del refine.REFINEMENTS["wide"]


def test_every_link_of_the_readme_leads_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert len(links) > 5
    assert not [link for link in links if not link.startswith("http") and not (Path(__file__).parent.parent / link).exists()]
