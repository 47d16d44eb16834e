"""The list of modules is the architecture: each imports only from those above it."""

import ast
from pathlib import Path

import mend

PACKAGE = Path(mend.__file__).parent
ORDER = (
    "errors", "chance", "ranks", "device", "progress", "recipes", "images", "coco", "holes", "photos", "data", "duplicates",
    "masks", "tiles", "models", "classical", "texture", "seam", "classifier", "losses", "metrics", "checkpoint", "export",
    "plan", "light", "inpaint", "runtime", "verify", "folders", "protocol", "statistics", "evaluate", "compare", "train",
    "reproduce", "report", "demo", "studio", "cli", "__main__",
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


def test_every_module_has_its_test():
    tests = {p.stem.removeprefix("test_") for p in Path(__file__).parent.glob("test_*.py")}
    tested_elsewhere = {"tiles": "models", "__main__": "train", "photos": "data", "progress": "progress"}
    assert {tested_elsewhere.get(name, name) for name in ORDER} <= tests


def test_the_public_surface():
    assert mend.__all__ == ["Inpainter", "fill", "load"]
    assert all(getattr(mend, name) for name in mend.__all__)
