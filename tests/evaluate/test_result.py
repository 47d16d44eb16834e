import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from mend.errors import InputError
from mend.evaluate.result import add_methods, find_result_file, find_result_folder, read_result, write_result

COMMITTED = [ROOT / "results" / f"{name}.json" for name in ("cifar10-object-v1", "smoke")]


def without_defaults(value: Any) -> Any:
    """What JSON says, where null, {} and what is absent are the same."""
    if isinstance(value, dict):
        return {k: without_defaults(v) for k, v in value.items() if v is not None and v != {}}
    return [without_defaults(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize("file", COMMITTED, ids=lambda file: file.stem)
def test_what_is_read_is_written_again_as_it_was(file: Path, tmp_path: Path):
    there, new = tmp_path / "there.json", tmp_path / "new.json"
    shutil.copy(file, there)
    result = read_result(there)
    write_result(there, result)
    assert there.read_bytes() == file.read_bytes(), "nothing changed"
    write_result(new, result)
    assert read_result(new) == result
    old, written = (json.loads(one.read_text(encoding="utf-8")) for one in (file, new))
    assert written.pop("version") == old.pop("version", 1) == 1
    assert without_defaults(written) == without_defaults(old)


def test_a_method_is_added_to_what_another_process_wrote_meanwhile(tmp_path: Path):
    mine = read_result(COMMITTED[1])
    names = list(mine.methods)
    one, other = ({name: mine.methods[name]} for name in names[:2])
    empty = replace(mine, methods={})
    add_methods(tmp_path / "r", empty, one)
    both = add_methods(tmp_path / "r", empty, other)
    assert read_result(tmp_path / "r") == both
    assert list(both.methods) == names[:2]


def test_files_of_a_result_are_found_by_either_name():
    assert find_result_file("a/r") == find_result_file("a/r.json") == Path("a/r.json")
    assert find_result_folder("a/r") == find_result_folder(Path("a/r.json")) == Path("a/r")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "version 2; this is mend for version 1. Install a newer mend"),
        ({"methods": []}, "is no result of 'mend evaluate'"),
        ({"protocol": {"name": "x"}}, "is no result of 'mend evaluate'"),
        ({"colour": "red"}, "is no result of 'mend evaluate': .*colour"),
    ],
)
def test_other_files_are_refused(change: dict[str, Any], said: str, tmp_path: Path):
    values = json.loads(COMMITTED[1].read_text(encoding="utf-8"))
    (tmp_path / "r.json").write_text(json.dumps({**values, **change}), encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read_result(tmp_path / "r.json")
    with pytest.raises(InputError, match="there is no result"):
        read_result(tmp_path / "none.json")
