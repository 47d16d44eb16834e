"""What every verb shares: the application, and flags that several have."""

import re
from importlib import import_module
from typing import Annotated, Any, get_args

from cyclopts import App, Parameter
from cyclopts.config import Dict
from cyclopts.help import DefaultFormatter

from mend.data.assets import VERSION
from mend.errors import InputError
from mend.filling.options import Options
from mend.train.config import read_recipe

SEGMENTER = Options.segmenter
Device = Annotated[str, Parameter(help="auto, cpu, cuda, cuda:1, mps …")]
Flag = Annotated[bool, Parameter(negative=())]
LISTS = {
    "holes": "mend.masks.hole:MARKS",
    "models": "mend.inpaint.classical:CLASSICAL",
    "networks": "mend.inpaint.contracts:NETWORKS",
    "segmenters": "mend.segment.networks:SEGMENTERS",
}
"""What a help text lists where one of these names stands in braces: the names in a dict."""


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
    """A panel of a help page, in which lists stand for their names: only here, since they import what a verb may not need."""
    for entry in panel.entries:
        text = entry.description.primary_renderable
        text.plain = re.sub(r"{(\w+)}", lambda found: _listed(found[1]), " ".join(text.plain.split()))
    DefaultFormatter()(console, options, panel)


def _listed(name: str) -> str:
    if name not in LISTS:  # {stem}
        return f"{{{name}}}"
    module, table = LISTS[name].split(":")
    try:
        return ", ".join(getattr(import_module(module), table))
    except ImportError:
        return "those of an extra that is not installed"


app = App(
    name="mend",
    help="Train, measure and use image-inpainting networks. A mask is white where the picture is to be filled.",
    version=VERSION,
    config=[_recipe, _whole_numbers],
    help_format="plaintext",
    help_formatter=_show_help,
    suppress_keyboard_interrupt=False,
)
