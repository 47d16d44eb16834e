"""Faults put into mend's own code, one at a time: how many of them the tests find.

python benchmarks/mutants.py results/mutants.json [COUNT [SEED]]

COUNT mutants (40) are drawn of each of MODULES, which read, fill and write pictures: one comparison, sum, condition, number or
call is changed or left out. The tests of the module run on each, in a copy of the repository. A mutant is killed when a test
fails, or runs three times as long as usual; else it survives. What only changes the words of an error is left out.
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).parent.parent
PICTURES = ("tests/images", "tests/filling/test_jpeg.py", "tests/filling/test_verify.py", "tests/filling/test_job.py")
MODULES = {
    "mend/images/files.py": PICTURES,
    "mend/images/picture.py": PICTURES,
    "mend/images/metadata.py": PICTURES,
    "mend/images/deep.py": PICTURES,
    "mend/filling/jpeg.py": ("tests/filling/test_jpeg.py", "tests/filling/test_verify.py"),
    "mend/filling/verify.py": ("tests/filling", "tests/images"),
    "mend/masks/hole.py": ("tests/masks/test_hole.py", "tests/filling/test_job.py"),
}
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


# --- Mutants of a module ---------------------------------------------------------------------------------------------


def make_mutants(source: str) -> list[Mutant]:
    """All mutants of a module, in the order of the source."""
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
    return sorted(made, key=lambda mutant: mutant.line)


def _changes(tree: ast.Module) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Nodes of a tree, and what may stand in their place."""
    said = {part for node in ast.walk(tree) if isinstance(node, ast.Raise | ast.Assert) for part in ast.walk(node)}
    typed = [vars(node).get(name) for node in ast.walk(tree) for name in ("annotation", "returns")]
    said |= {part for node in typed if node for part in ast.walk(node)}
    said |= {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in [node for node in ast.walk(tree) if node not in said]:
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


def run_tests(copy: Path, tests: tuple[str, ...], seconds: float) -> str:
    """ "survived", "killed" or "too long": the tests in the copy of the repository, in a process with all libraries loaded."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.chdir(copy)
        sys.path.insert(0, str(copy))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        import pytest

        code = 3
        try:
            code = int(pytest.main(["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", *tests]))
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


def measure(count: int = 40, seed: int = 0) -> Iterator[dict[str, Any]]:
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
        copy = Path(folder) / "mend"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__", "build"))
        os.environ |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        os.environ["NUMBA_CACHE_DIR"] = str(Path(folder) / "numba")
        for name, tests in MODULES.items():
            source = (copy / name).read_text(encoding="utf-8")
            mutants = make_mutants(source)
            rng = np.random.default_rng([seed, len(modules)])
            drawn = sorted(rng.choice(len(mutants), min(count, len(mutants)), replace=False))
            begun = time.monotonic()
            (copy / name).write_text(ast.unparse(ast.parse(source)) + "\n", encoding="utf-8")
            usual = run_tests(copy, tests, 600)
            assert usual == "survived", f"the tests of {name} fail without a mutant: {usual}"
            limit = 3 * (time.monotonic() - begun) + 20
            survivors = []
            for i in drawn:
                (copy / name).write_text(mutants[i].source + "\n", encoding="utf-8")
                if run_tests(copy, tests, limit) == "survived":
                    survivors.append(mutants[i]._replace(source="")._asdict())
                    print(f"{name}:{mutants[i].line}: {mutants[i].before!r} as {mutants[i].after!r}", file=sys.stderr)
            (copy / name).write_text(source, encoding="utf-8")
            modules[name] = {"mutants": len(mutants), "drawn": len(drawn), "survived": survivors}
            print(f"{name}: {len(drawn) - len(survivors)} of {len(drawn)} killed", file=sys.stderr)
            yield {"seed": seed, "modules": modules}


if __name__ == "__main__":
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    for record in measure(*map(int, sys.argv[2:])):
        Path(sys.argv[1]).write_text(json.dumps({"commit": commit.stdout.strip(), **record}, indent=2) + "\n", encoding="utf-8")
