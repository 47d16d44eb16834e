"""Faults put into mend's own code, one at a time: how many of them the tests find.

python benchmarks/mutants.py results/mutants.json [COUNT [SEED [MODULE ...]]]
python benchmarks/mutants.py results/mutants.json again

COUNT mutants (40) are drawn of each MODULE, by default of all of MODULES, which read, fill, write and score pictures: one
comparison, sum, condition, number or call is changed or left out. The tests that run its line are run on each, in a copy of the
repository. A mutant is killed when a test fails, or runs three times as long as usual; else it survives. Left out is what only
changes the words of an error, and what stands outside of functions: numbers that somebody chose. EQUAL lists survivors that
change no result. Modules that are in the file already and not measured stay in it. With `again` the survivors are tried once
more, after tests were added; those whose line was deleted or written anew are not counted any more.
"""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import coverage
import numpy as np

ROOT = Path(__file__).parent.parent
PICTURES = ("tests/images", "tests/filling/test_jpeg.py", "tests/filling/test_verify.py", "tests/filling/test_job.py")
MASKS = ("tests/masks/test_hole.py", "tests/filling/test_job.py")
MODULES = {
    "mend/images/reading.py": PICTURES,
    "mend/images/writing.py": PICTURES,
    "mend/images/formats.py": PICTURES,
    "mend/masks/hole.py": MASKS,
    "mend/masks/reading.py": MASKS,
    "mend/masks/facts.py": MASKS,
    "mend/masks/painted.py": MASKS,
    "mend/filling/huffman.py": ("tests/filling/test_jpeg.py",),
    "mend/filling/jpeg.py": ("tests/filling/test_jpeg.py", "tests/filling/test_verify.py"),
    "mend/images/bit_depth.py": PICTURES,
    "mend/images/picture.py": PICTURES,
    "mend/images/metadata.py": PICTURES,
    "mend/filling/verify.py": ("tests/filling/test_verify.py", "tests/filling/test_jpeg.py", "tests/images"),
    "mend/evaluate/metrics.py": ("tests/evaluate/test_metrics.py",),
    "mend/evaluate/statistics.py": ("tests/evaluate/test_statistics.py",),
}
EQUAL = (
    ("mend/filling/huffman.py", "16", "17", "1 << 16", "a table has room that nothing uses"),
    ("mend/filling/jpeg.py", "1", "2", "bottom, right = ", "more is looked at, and nothing of it changes"),
    ("mend/evaluate/metrics.py", "> MOST", ">= MOST", "seen or device", "both ways give the same distance where half differs"),
    ("mend/evaluate/metrics.py", "1", "2", "clamp(0, 1)", "no picture is above 1"),
    ("mend/evaluate/metrics.py", "1", "2", "kid_subsets", "a subset of all images is the same, drawn once or twice"),
    ("mend/evaluate/statistics.py", "True", "False", "strict=True", "both have as many, two"),
    ("mend/evaluate/statistics.py", "1", "2", "np.zeros(1)", "a second zero, which nobody reads"),
    (  # this module and the next are in the file by the names that they had when they were measured
        "mend/images/deep.py",
        "1",
        "2",
        "Image.new",
        "a picture is thrown away after its metadata was written, whatever its size",
    ),
    ("mend/images/deep.py", "22", "23", "1 << 22", "more memory is written to than is needed"),
    ("mend/images/bit_depth.py", "22", "23", "1 << 22", "more memory is written to than is needed"),
    ("mend/images/writing.py", "1", "2", "Image.new", "as above: a picture of one pixel is thrown away"),
)
"""Survivors that change no result: the module, what ends their code before and after, a part of their line, and why."""
COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
CALCULATED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult, ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip


class Mutant(NamedTuple):
    """A module with one change, which is described by its line and what stands there before and after."""

    line: int
    before: str
    after: str
    source: str


def is_equal(module: str, survivor: dict[str, Any]) -> bool:
    """Whether a survivor is one of `EQUAL`."""
    before, after, line = survivor["before"], survivor["after"], survivor.get("code", "")
    return any(
        module == name and before.endswith(old) and after.endswith(new) and part in line for name, old, new, part, _ in EQUAL
    )


# --- Mutants of a module ---------------------------------------------------------------------------------------------


def make_mutants(source: str) -> list[Mutant]:
    """All mutants of a module; of the same code written in another way they are the same ones in the same order."""
    tree = ast.parse(source)
    made = []
    for node, new in _changes(tree):
        before, old = ast.unparse(node), dict(vars(node))
        vars(node).clear()
        vars(node).update(vars(new))
        old_class, node.__class__ = node.__class__, new.__class__
        made.append(Mutant(old["lineno"], before, ast.unparse(node), ast.unparse(tree)))
        node.__class__ = old_class
        vars(node).clear()
        vars(node).update(old)
    return made


def _changes(tree: ast.Module) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Nodes of a tree, and what may stand in their place."""
    said = {part for node in ast.walk(tree) if isinstance(node, ast.Raise | ast.Assert) for part in ast.walk(node)}
    typed = [vars(node).get(name) for node in ast.walk(tree) for name in ("annotation", "returns")]
    said |= {part for node in typed if node for part in ast.walk(node)}
    said |= {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    inside = dict.fromkeys(part for function in functions for one in function.body for part in ast.walk(one))
    for node in [node for node in inside if node not in said]:
        match node:
            case ast.Compare(left, [op], [right]) if type(op) in COMPARED:
                yield node, ast.Compare(left, [COMPARED[type(op)]()], [right])
            case ast.BinOp(left, op, right) if type(op) in CALCULATED:
                yield node, ast.BinOp(left, CALCULATED[type(op)](), right)
            case ast.BoolOp(ast.And(), values):
                yield node, ast.BoolOp(ast.Or(), values)
            case ast.BoolOp(ast.Or(), values):
                yield node, ast.BoolOp(ast.And(), values)
            case ast.UnaryOp(ast.Not(), operand):
                yield node, operand
            case ast.Constant(bool() as value):
                yield node, ast.Constant(not value)
            case ast.Constant(int() as value):
                yield node, ast.Constant(value + 1)
            case ast.If(test, body, orelse):
                yield node, ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)
            case ast.Expr(ast.Call()):
                yield node, ast.Pass()
            case ast.Return(value) if value is not None and not isinstance(value, ast.Constant):
                yield node, ast.Return(ast.Constant(None))


# --- The tests on one of them ----------------------------------------------------------------------------------------


def run_tests(copy: Path, tests: Sequence[str], seconds: float, measured: Path | None = None) -> str:
    """ "survived", "killed" or "too long": the tests in the copy of the repository, in a process with all libraries loaded.

    Which test runs which line is written to `measured`, if that is given.
    """
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.chdir(copy)
        sys.path.insert(0, str(copy))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        code = 3
        try:
            code = _run_here(tests, copy, measured)
        finally:
            os._exit(code)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return "survived" if status == 0 else "killed"
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "too long"


def _run_here(tests: Sequence[str], copy: Path, measured: Path | None) -> int:
    import pytest

    words = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", *tests]
    if measured is None:
        return int(pytest.main(words))
    watch = coverage.Coverage(data_file=str(measured), include=[f"{copy}/mend/*"], config_file=False)
    watch.set_option("run:dynamic_context", "test_function")
    watch.start()
    code = int(pytest.main(words))
    watch.stop()
    watch.save()
    return code


def find_tests(measured: Path, file: Path, tests: Sequence[str]) -> dict[int, list[str]]:
    """For the lines of a file those of the tests that run them; what only runs at the import, or compiled, is left out."""
    data = coverage.CoverageData(str(measured))
    data.read()
    places = {
        place.stem: place for name in tests for place in ([ROOT / name] if name.endswith(".py") else (ROOT / name).iterdir())
    }
    found: dict[int, list[str]] = {}
    for line, contexts in data.contexts_by_lineno(str(file)).items():
        for module, _, function in (context.rpartition(".") for context in contexts):
            if (stem := module.split(".")[-1]) in places:
                found.setdefault(line, []).append(f"{places[stem].relative_to(ROOT)}::{function}")
    return found


def measure(count: int = 40, seed: int = 0, names: Sequence[str] = tuple(MODULES)) -> Iterator[dict[str, Any]]:
    """What became of the mutants of the modules so far, after each."""
    import cv2  # noqa: F401 (here and not anew for each mutant)
    import hypothesis  # noqa: F401
    import numba  # noqa: F401
    import pytest  # noqa: F401
    import torch

    torch.set_num_threads(1)
    sys.dont_write_bytecode = True  # of two files of one size and one second Python would not see that they differ
    modules: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        copy, measured = Path(folder) / "mend", Path(folder) / "measured"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__", "build"))
        os.environ |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "NUMBA_CACHE_DIR": f"{folder}/numba"}
        for name in names:
            tests = MODULES[name]
            source = (ROOT / name).read_text(encoding="utf-8")
            plain = ast.unparse(ast.parse(source)) + "\n"
            places, mutants = [mutant.line for mutant in make_mutants(source)], make_mutants(plain)
            rng = np.random.default_rng([seed, list(MODULES).index(name)])
            drawn = rng.choice(len(mutants), min(count, len(mutants)), replace=False)
            begun = time.monotonic()
            (copy / name).write_text(plain, encoding="utf-8")
            measured.unlink(missing_ok=True)
            usual = run_tests(copy, tests, 1200, measured)
            assert "mend" not in sys.modules, "the tests would not import it from the copy"
            assert usual == "survived", f"the tests of {name} fail without a mutant: {usual}"
            limit, by_line = 3 * (time.monotonic() - begun) + 20, find_tests(measured, copy / name, tests)
            survivors = []
            for done, i in enumerate(drawn, 1):
                (copy / name).write_text(mutants[i].source + "\n", encoding="utf-8")
                if run_tests(copy, by_line.get(mutants[i].line, tests), limit) == "survived":
                    code = source.splitlines()[places[i] - 1].strip()
                    survivors.append({"line": places[i], "code": code, "before": mutants[i].before, "after": mutants[i].after})
                    print(f"{name}:{places[i]}: {mutants[i].before!r} as {mutants[i].after!r}", file=sys.stderr)
                modules[name] = {"seed": seed, "mutants": len(mutants), "drawn": done, "survived": survivors}
                yield modules
            (copy / name).write_text(source, encoding="utf-8")
            print(f"{name}: {len(drawn) - len(survivors)} of {len(drawn)} killed", file=sys.stderr)


def try_again(record: dict[str, Any]) -> dict[str, Any]:
    """A record of which the survivors were tried once more."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "mend"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__", "build"))
        os.environ |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "NUMBA_CACHE_DIR": f"{folder}/numba"}
        for name, module in record["modules"].items():
            source, still = (ROOT / name).read_text(encoding="utf-8"), []
            lines = source.splitlines()
            for one in module["survived"]:
                alike = [
                    mutant
                    for mutant in make_mutants(source)
                    if (mutant.before, mutant.after) == (one["before"], one["after"])
                    and lines[mutant.line - 1].strip() == one.get("code", lines[one["line"] - 1].strip())
                ]
                module["drawn"] -= not alike
                for mutant in alike:
                    (copy / name).write_text(mutant.source + "\n", encoding="utf-8")
                    if run_tests(copy, MODULES[name], 600) == "survived":
                        still.append({**one, "line": mutant.line})
                        break
            (copy / name).write_text(source, encoding="utf-8")
            module["survived"] = still
    return record


if __name__ == "__main__":
    # Not by mend's own function for it: what is imported here, the tests would not import from the copy.
    words = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    version = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    out = Path(sys.argv[1])
    record = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {"modules": {}}
    if sys.argv[2:] == ["again"]:
        out.write_text(json.dumps(try_again(record), indent=2) + "\n", encoding="utf-8")
    else:
        numbers = [int(word) for word in sys.argv[2:4]]
        count, seed = (*numbers, *(40, 0)[len(numbers) :])
        for found in measure(count, seed, sys.argv[4:] or tuple(MODULES)):
            record["modules"] |= {name: {"commit": version, **module} for name, module in found.items()}
            out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
