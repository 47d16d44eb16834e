"""What every verb shares: the application, and flags that several have."""

import ast
import re
from typing import Annotated, Any, get_args

from cyclopts import App, Parameter
from cyclopts.config import Dict
from cyclopts.help import DefaultFormatter

from mend.data.assets import ASSETS, VERSION
from mend.errors import InputError
from mend.filling.options import Options
from mend.train.config import read_recipe

SEGMENTER = Options.segmenter
Device = Annotated[str, Parameter(help="auto, cpu, cuda, cuda:1, mps …")]
QUIET = Parameter(negative=(), show_default=lambda value: None if value is None or value is False else str(value))
Flag = Annotated[bool, QUIET]
LISTS = {
    "classical": ("inpaint/classical.py", "CLASSICAL"),
    "drawn": ("masks/draw.py", "DRAWN"),
    "holes": ("masks/hole.py", "MARKS"),
    "losses": ("train/losses.py", "LOSSES"),
    "metrics": ("evaluate/metrics.py", "METRICS"),
    "networks": ("models/__init__.py", "MODELS"),
    "segmenters": ("segment/networks.py", "SEGMENTERS"),
}
"""What a help text lists where one of these names stands in braces: the keys of a dict, and the file where it stands."""


def _whole_numbers(app: App, commands: tuple[str, ...], arguments: Any) -> None:
    """1.5 is refused where a whole number is expected: cyclopts would round it."""
    for argument in arguments:
        for token in argument.tokens if int in (argument.hint, *get_args(argument.hint)) else ():
            if isinstance(token.value, str) and not token.value.lstrip("+-").isdecimal():
                raise InputError(f"{token.keyword or argument.name} is {token.value}; expected a whole number.")


def _recipe(app: App, commands: tuple[str, ...], arguments: Any) -> None:
    """The recipe's keys stand in for flags that were not given."""
    given = [token.value for argument in arguments for token in argument.tokens if argument.name == "--recipe"]
    if commands == ("train",) and given:
        Dict(read_recipe(given[-1]), use_commands_as_keys=False, source=given[-1])(app, commands, arguments)


def _show_help(console: Any, options: Any, panel: Any) -> None:
    """Print a panel of a help page, with lists in the place of their names."""
    for entry in panel.entries:
        text = entry.description.primary_renderable
        text.plain = re.sub(r"{(\w+)}", lambda found: list_names(found[1]) or found[0], " ".join(text.plain.split()))
    DefaultFormatter()(console, options, panel)


def list_names(name: str) -> str:
    """The keys of a dict of `LISTS`, or the names of what comes with mend, such as "a, b, c"; "" for another name.

    The keys are read from its source: to import it may take PyTorch's two seconds, or an extra that is not installed.
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
            assert isinstance(statement.value, ast.Dict)
            return ", ".join(ast.literal_eval(key) for key in statement.value.keys if key)
    raise LookupError(f"{file} has no dict {table}")


app = App(
    name="mend",
    help="Remove things from photographs; train, score and compare inpainting networks.",
    version=VERSION,
    config=[_recipe, _whole_numbers],
    help_format="plaintext",
    help_formatter=_show_help,
    print_error=False,
    exit_on_error=False,
    suppress_keyboard_interrupt=False,
)
