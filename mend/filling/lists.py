"""What a help text lists: the names in a dict, without an import of where it stands."""

import ast
import re

from mend.data.assets import ASSETS

LISTS = {
    "classical": ("inpaint/classical.py", "CLASSICAL"),
    "drawn": ("masks/draw.py", "DRAWN"),
    "folder_metrics": ("evaluate/run.py", "FOLDER_METRICS"),
    "holes": ("masks/facts.py", "MARKS"),
    "losses": ("train/losses.py", "LOSSES"),
    "metrics": ("evaluate/metrics.py", "METRICS"),
    "networks": ("models/__init__.py", "MODELS"),
    "segmenters": ("segment/networks.py", "SEGMENTERS"),
}
"""What is listed where one of these names stands in braces: the file, and the dict in it, whose keys count, or the tuple."""


def insert_lists(text: str) -> str:
    """A help text with lists in the place of their names in braces; other braces stay."""
    return re.sub(r"{(\w+)}", lambda found: list_names(found[1]) or found[0], text)


def list_names(name: str) -> str:
    """The names in a dict or tuple of `LISTS`, or those of what comes with mend, such as "a, b, c"; "" for another name.

    They are read from its source: to import it may take PyTorch's two seconds, or an extra that is not installed.
    """
    if name == "fetched":
        from mend.inpaint.contracts import NETWORKS

        return ", ".join(NETWORKS)
    if name in ("protocols", "recipes"):
        return ", ".join(sorted(file.stem for file in (ASSETS / name).glob("*.toml")))
    if name not in LISTS:
        return ""
    file, table = LISTS[name]
    tree = ast.parse((ASSETS.parent / file).read_text(encoding="utf-8"))
    for statement in tree.body:
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == table:
            assert isinstance(statement.value, ast.Dict | ast.Tuple)
            names = statement.value.keys if isinstance(statement.value, ast.Dict) else statement.value.elts
            return ", ".join(ast.literal_eval(name) for name in names if name)
    raise LookupError(f"{file} has no {table}")
