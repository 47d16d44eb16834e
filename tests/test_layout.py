"""The list of packages is the architecture: each imports only from those above it, and no more than its extra brings."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

import mend
from mend.errors import EXTRAS, find_extra

PACKAGE = Path(mend.__file__).parent
TESTS = Path(__file__).parent
PROJECT = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ORDER = (
    "errors", "distributed", "progress", "images", "data", "masks", "inpaint", "models", "segment", "filling", "evaluate",
    "train", "report", "studio", "cli", "__main__",
)  # fmt: skip
ENTRIES = 18  # in mend/, at most; py.typed is a marker, not an entry
ARROWS = 85  # between packages, at most
FILES = sorted(PACKAGE.rglob("*.py"))


@cache
def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imports(file: Path) -> Iterator[str]:
    """The modules that a file imports at run time, anywhere in it."""
    return (name for _, name in imports_by_part(file))


def imports_by_part(file: Path) -> Iterator[tuple[str, str]]:
    """The same, each with the part that imports it: the file's module, or a function of it."""
    for statement in parse(file).body:
        part = [module_of(file), *([statement.name] if isinstance(statement, ast.FunctionDef) else [])]
        yield from ((".".join(part), name) for name in imports_below(statement))


def imports_below(statement: ast.AST) -> Iterator[str]:
    todo = [statement]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from [node.module] if node.module != "mend" else [f"mend.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        todo += ast.iter_child_nodes(node)


def module_of(file: Path) -> str:
    return ".".join(("mend", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


@cache
def homes_of(name: str) -> set[str]:
    """The installed distributions that bring what is imported by this name."""
    return {canonicalize_name(home) for home in installed().get(name, [name])}


installed = cache(packages_distributions)  # it reads the records of all of them


@cache
def distributions_of(extra: str | None) -> set[str]:
    """The distributions that the core, or the core with an extra, declares."""
    declared = PROJECT["optional-dependencies"][extra] if extra else []
    found = {canonicalize_name(Requirement(line).name) for line in [*PROJECT["dependencies"], *declared]}
    within = [inner for line in declared for inner in Requirement(line).extras]
    return found.union(*map(distributions_of, within))


def test_packages_import_only_from_those_above_and_not_from_all():
    arrows = set()
    for file in FILES:
        own = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        for name in imports(file):
            if name.startswith("mend.") and name != "mend.__version__":
                other = name.split(".")[1]
                assert ORDER.index(other) <= ORDER.index(own), f"{file.name} imports {name}, which stands below it"
                arrows.add((own, other))
    assert len([arrow for arrow in arrows if arrow[0] != arrow[1]]) <= ARROWS


def test_the_list_is_complete():
    there = {p.name.removesuffix(".py") for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert there - {"__init__"} == set(ORDER)


def test_contributors_see_the_same_order():
    text = (TESTS.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)/?` \|", text, re.MULTILINE)
    assert rows == [*ORDER[:-1], "assets"]


def test_the_package_is_small_at_its_top():
    assert len([p for p in PACKAGE.iterdir() if p.name not in ("py.typed", "__pycache__")]) <= ENTRIES


TENSORS = {"mend.filling.inpainter"}  # these import PyTorch where they are given a tensor, by somebody who has it


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_every_import_is_declared(file: Path):
    own = sys.stdlib_module_names | {"mend", *(["torch"] if module_of(file) in TENSORS else [])}
    for part, name in {(part, name.split(".")[0]) for part, name in imports_by_part(file)}:
        extra = find_extra(part)
        assert name in own or homes_of(name) & distributions_of(extra), (
            f"{part} imports {name}, which {extra or 'the core'} lacks"
        )


ASIDE = sorted(file for folder in ("tests", "benchmarks", "docs") for file in (TESTS.parent / folder).rglob("*.py"))


@pytest.mark.parametrize("file", [file for file in ASIDE if "benchmarks" not in file.parts], ids=lambda file: file.stem)
def test_every_import_of_the_tests_and_docs_is_declared(file: Path):
    own = sys.stdlib_module_names | {"mend", *(other.stem for other in ASIDE)}
    for name in {name.split(".")[0] for statement in parse(file).body for name in imports_below(statement)} - own:
        assert homes_of(name) & distributions_of("dev"), f"{file.name} imports {name}, which [dev] lacks"


def test_an_extra_brings_what_the_modules_import_on_which_it_builds():
    heads = {module_of(file): file for file in FILES}

    def reached(module: str, seen: set[str]) -> set[str]:
        """The top-level third-party imports of a module and of all that it imports from mend as it is imported."""
        if module in seen or module not in heads:
            return set()
        seen.add(module)
        found: set[str] = set()
        for node in parse(heads[module]).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
        inner = {name for name in found if name.split(".")[0] == "mend"}
        parents = {".".join(name.split(".")[:i]) for name in inner for i in range(2, name.count(".") + 2)}
        outer = {name.split(".")[0] for name in found - inner} - sys.stdlib_module_names
        return outer.union(*(reached(name, seen) for name in inner | parents))

    for part, extra in EXTRAS.items():
        for module in heads:
            if module == f"mend.{part}" or module.startswith(f"mend.{part}."):
                for name in reached(module, set()):
                    assert homes_of(name) & distributions_of(find_extra(module)), (
                        f"{module} leads to {name}, which [{extra}] lacks"
                    )


def test_the_extras_that_are_named_are_there():
    assert set(EXTRAS.values()) <= set(PROJECT["optional-dependencies"])
    for part in EXTRAS:
        path = PACKAGE / part.replace(".", "/")
        if not (path.is_dir() or path.with_suffix(".py").is_file()):
            assert f"\ndef {path.name}(" in path.parent.with_suffix(".py").read_text(encoding="utf-8")


def test_all_are_all_extras():
    extras = set(PROJECT["optional-dependencies"]) - {"all", "dev"}
    assert distributions_of("all") - {"mend-inpainting"} == set.union(*map(distributions_of, extras))
    assert distributions_of("all") < distributions_of("dev")


# numba imports scipy itself, where it is installed, to look at its version.
HEAVY = ("torch", "pandas", "scipy.ndimage", "scipy.sparse", "skimage", "matplotlib", "lightning", "transformers", "datasets")


CORE = (
    "import mend.images, mend.masks.reading, mend.masks.store, mend.masks.crops, mend.data.sources",
    "import mend.cli",
    "run('mask', 'check', 'm.png', '--photo', 'p.png', '-o', 'look.png')",
    "run('verify', 'p.png', 'm.png', 'p.png')",
    "import mend.inpaint.texture, mend.inpaint.blend",
    "run('fill', 'p.png', '--mask', 'm.png', '--model', 'telea', '-o', 'telea.png')",
    "run('fill', 'p.png', '--mask', 'm.png', '--smooth', '-o', 'smooth.png')",
    "run('fill', 'p.png', '--mask', 'm.png')",
    "import mend; mend.fill('p.png', 'm.png')",
    "run('fill', 'p.png', '--mask', 'polygons.json', '-o', 'polygons.png')",
)
ONE_BY_ONE = """
import sys

def run(*words):
    from mend.cli import main
    try:
        main(list(words))
    except SystemExit as ended:
        assert not ended.code, ended.code

heavy, *core = sys.argv[1:]
for code in core:
    exec(code)
    assert not set(heavy.split()) & set(sys.modules), code
"""


def test_the_core_imports_nothing_heavy(tmp_path: Path):
    Image.new("RGB", (40, 30), "teal").save(tmp_path / "p.png")
    mask = Image.new("L", (40, 30))
    mask.paste(255, (10, 8, 20, 16))
    mask.save(tmp_path / "m.png")
    (tmp_path / "polygons.json").write_text("[[10, 8, 20, 8, 20, 16, 10, 16]]")
    command = [sys.executable, "-c", ONE_BY_ONE, " ".join(HEAVY), *CORE]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "p-filled.png").exists()


def test_every_package_has_its_tests():
    tests = Path(__file__).parent
    packages = {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").exists()}
    assert packages <= {p.name for p in tests.iterdir() if any(p.glob("test_*.py"))}


@pytest.mark.parametrize(
    "line",
    [
        "from mend.classical import CLASSICAL",
        "from mend.data import load_images",
        "from mend.demo import fill_large",
        "from mend.evaluate import evaluate, read_protocol, read_summary",
        "from mend.evaluate import evaluate, read_summary",
        "from mend.evaluate.run import evaluate, read_summary",
        "from mend.masks import make_masks",
        "from mend.masks.show import contact_sheet",
        "from mend.models import SEED, build",
        "from mend.protocol import read_protocol",
        "from mend.recipes import TrainConfig, read_recipe",
        "from mend.report import readme_table, report",
        "from mend.report import report",
        "from mend.train import train",
    ],
)
def test_what_notebooks_of_version_0_1_import_is_there(line: str):
    exec(line)


def test_a_module_has_one_copy_by_its_old_and_its_new_name():
    import mend.classical

    import mend.inpaint.classical

    assert mend.classical is mend.inpaint.classical
    assert mend.classical.__name__ == mend.classical.__spec__.name == "mend.inpaint.classical"


def test_the_public_surface():
    assert mend.__all__ == ["Inpainter", "fill", "load"]
    assert all(getattr(mend, name) for name in mend.__all__)
