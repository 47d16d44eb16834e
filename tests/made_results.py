"""Results of evaluations that were never made."""

from dataclasses import replace
from pathlib import Path

from conftest import ROOT

from mend.evaluate.result import Score, read_result, write_result


def write_means(out: Path, title: str, n: int, methods: dict[str, dict[str, float]]) -> None:
    """Write a result whose methods have these means by column."""
    smoke = read_result(ROOT / "results" / "smoke.json")
    method = next(iter(smoke.methods.values()))
    made = {
        name: replace(method, metrics={column: Score(mean=mean, n=n) for column, mean in means.items()})
        for name, means in methods.items()
    }
    write_result(out, replace(smoke, protocol=replace(smoke.protocol, title=title), n=n, methods=made))
