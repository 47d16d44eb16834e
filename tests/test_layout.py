"""The list of modules is the architecture: each imports only from those above it."""

import ast
from pathlib import Path

import mend

PACKAGE = Path(mend.__file__).parent
ORDER = (
    "errors", "distributed", "progress", "images", "data", "masks", "inpaint", "models", "segment", "filling", "evaluate",
    "train", "report", "studio", "cli", "__main__",
)  # fmt: skip


def test_modules_import_only_from_those_above():
    for file in sorted(PACKAGE.rglob("*.py")):
        own = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            names: list[str] = []
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "mend":
                names = [node.module] if node.module != "mend" else [f"mend.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names if alias.name.split(".")[0] == "mend"]
            for name in names:
                if name in ("mend", "mend.__version__"):
                    continue
                other = name.split(".")[1]
                assert ORDER.index(other) <= ORDER.index(own), f"{file.name} imports {name}, which stands below it"


def test_the_list_is_complete():
    there = {p.name.removesuffix(".py") for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert there - {"__init__"} == set(ORDER)


def test_every_package_has_its_tests():
    tests = Path(__file__).parent
    packages = {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").exists()}
    assert packages <= {p.name for p in tests.iterdir() if any(p.glob("test_*.py"))}


def test_the_public_surface():
    assert mend.__all__ == ["Inpainter", "fill", "load"]
    assert all(getattr(mend, name) for name in mend.__all__)
