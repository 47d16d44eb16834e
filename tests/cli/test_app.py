from importlib import import_module

import pytest
from conftest import mend

from mend.filling.lists import LISTS, list_names


@pytest.mark.parametrize("name", LISTS)
def test_help_lists_what_the_tables_hold(name: str):
    file, table = LISTS[name]
    module = import_module(f"mend.{file.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}")
    assert list_names(name) == ", ".join(getattr(module, table))


def test_a_help_page_shows_the_lists(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "400")
    for verb, lists in (
        ("train", ("networks", "losses", "drawn")),
        ("evaluate", ("metrics", "classical")),
        ("masks", ("segmenters", "drawn")),
    ):
        code, page, _ = mend(capsys, verb, "--help")
        assert code == 0
        assert all(list_names(name) in page for name in lists)
        assert "{" not in page.replace("{'mse': 1.0}", "")
