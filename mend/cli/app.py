"""What every verb shares: the application, and flags that several have."""

from typing import Annotated, Any, get_args

from cyclopts import App, Parameter
from cyclopts.config import Dict
from cyclopts.help import DefaultFormatter

from mend.data.assets import VERSION
from mend.errors import InputError
from mend.filling.lists import insert_lists
from mend.filling.options import Options
from mend.train.config import read_recipe

SEGMENTER = Options.segmenter
Device = Annotated[str, Parameter(help="auto, cpu, cuda, cuda:1, mps …")]
QUIET = Parameter(negative=(), show_default=lambda value: None if value is None or value is False else str(value))
Flag = Annotated[bool, QUIET]


def _check_whole_numbers(app: App, commands: tuple[str, ...], arguments: Any) -> None:
    """1.5 is refused where a whole number is expected: cyclopts would round it."""
    for argument in arguments:
        for token in argument.tokens if int in (argument.hint, *get_args(argument.hint)) else ():
            if isinstance(token.value, str) and not token.value.lstrip("+-").isdecimal():
                raise InputError(f"{token.keyword or argument.name} is {token.value}; expected a whole number.")


def _apply_recipe(app: App, commands: tuple[str, ...], arguments: Any) -> None:
    """The recipe's keys stand in for flags that were not given."""
    given = [token.value for argument in arguments for token in argument.tokens if argument.name == "--recipe"]
    if commands == ("train",) and given:
        Dict(read_recipe(given[-1]), use_commands_as_keys=False, source=given[-1])(app, commands, arguments)


def _show_help(console: Any, options: Any, panel: Any) -> None:
    """Print a panel of a help page, with lists in the place of their names."""
    for entry in panel.entries:
        text = entry.description.primary_renderable
        text.plain = insert_lists(" ".join(text.plain.split()))
    DefaultFormatter()(console, options, panel)


app = App(
    name="mend",
    help="Remove things from photographs; train, score and compare inpainting networks.",
    version=VERSION,
    config=[_apply_recipe, _check_whole_numbers],
    help_format="plaintext",
    help_formatter=_show_help,
    print_error=False,
    exit_on_error=False,
    suppress_keyboard_interrupt=False,
)
