"""A short form of benchmarks/mutations.py: damaged files through the commands, in this process."""

import importlib.util
from collections import Counter
from pathlib import Path

import pytest
from conftest import ROOT

spec = importlib.util.spec_from_file_location("mutations", ROOT / "benchmarks" / "mutations.py")
assert spec is not None
assert spec.loader is not None
mutations = importlib.util.module_from_spec(spec)
spec.loader.exec_module(mutations)


@pytest.mark.slow
def test_fifty_damaged_files_are_filled_or_named(tmp_path: Path):
    files, found = mutations.make_files(), Counter[str]()
    with mutations.open_studio() as client:
        for number in range(7, 7 + 50 * 29, 29):  # every kind of file and of damage
            name, kind, content = mutations.damage(files, number, seed=1)
            for command, (outcome, said) in mutations.run_all(tmp_path / "case", name, content, client).items():
                assert outcome in ("done", "refused"), f"{number}, {name}, {kind}: {command} says {said}"
                found[command, outcome] += 1
    for command in ("fill", "POST /fill"):
        assert min(found[command, "done"], found[command, "refused"]) > 5, f"one of both is hardly tried by {command}"


def test_a_number_is_always_the_same_damage_and_a_fault_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    files = mutations.make_files()
    assert mutations.damage(files, 47) == mutations.damage(mutations.make_files(), 47)

    def fail(*_: object) -> None:
        raise KeyError("no such thing")

    with mutations.open_studio() as client:
        monkeypatch.setattr("mend.filling.verify.verify", fail)
        monkeypatch.setattr("mend.studio.workers.Workers.model", fail)
        outcomes = mutations.run_all(tmp_path / "case", "colour.png", files["colour.png"], client)
    assert outcomes["verify"][0] == outcomes["POST /fill"][0] == "fault"
