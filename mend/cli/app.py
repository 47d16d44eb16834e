"""What every verb shares: the application, and flags that several have."""

from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import App, Parameter, Token
from cyclopts.config import Dict

from mend import __version__
from mend.train.config import read_recipe

SEGMENTER = "deeplabv3_resnet101"
Device = Annotated[str, Parameter(help="auto, cpu, cuda, cuda:1, mps …")]


def _whole(_: object, tokens: Sequence[Token]) -> int:
    if not tokens[0].value.lstrip("+-").isdecimal():  # cyclopts would round 1.5
        raise ValueError(f"{tokens[0].value!r} is no whole number")
    return int(tokens[0].value)


Whole = Annotated[int, Parameter(converter=_whole)]
Flag = Annotated[bool, Parameter(negative=())]


def _recipe(app: App, commands: tuple[str, ...], arguments: Any) -> None:
    """The recipe's keys stand in for flags that were not given."""
    given = [token.value for argument in arguments for token in argument.tokens if argument.name == "--recipe"]
    if commands == ("train",) and given:
        Dict(read_recipe(given[-1]), use_commands_as_keys=False, source=given[-1])(app, commands, arguments)


app = App(
    name="mend",
    help="Train, measure and use image-inpainting networks. A mask is white where the picture is to be filled.",
    version=__version__,
    config=_recipe,
    suppress_keyboard_interrupt=False,
)
