import pytest

from mend.errors import InputError, find_extra, name_missing_extra, pick, show_flags


def test_pick_offers_the_nearest_and_lists_the_known():
    with pytest.raises(InputError, match=r"unknown model 'unet-asp'\. Did you mean 'unet-aspp'\? Known: unet, unet-aspp\."):
        pick({"unet": 1, "unet-aspp": 2}, "unet-asp", "model")
    assert pick({"unet": 1}, "unet", "model") == 1


def test_arguments_are_flags_on_the_command_line():
    for said, shown in (
        ("give `grow=3` or more", "give --grow 3 or more"),
        ('add `hole="black"`, or `smooth=True`.', "add --hole black, or --smooth."),
        ("leave `max_memory` out", "leave --max-memory out"),
        ('`pattern="{stem} m"`', "--pattern '{stem} m'"),
        ("`Photo 1`.png and {hole} stay", "`Photo 1`.png and {hole} stay"),
    ):
        assert show_flags(said) == shown


@pytest.mark.parametrize(
    ("module", "extra"),
    [("mend.train.run", "train"), ("mend.train.reproduce", "all"), ("mend.masks.hole", None), ("mend", None), ("train", None)],
)
def test_the_extra_of_a_module_is_that_of_its_nearest_part(module: str, extra: str | None):
    assert find_extra(module) == extra


def test_a_missing_package_is_one_sentence_with_the_extra_of_the_outermost_part():
    inner = {"__name__": "mend.models.unet"}
    exec("def build():\n import no_such_package.sub", inner)
    outer = {"__name__": "mend.evaluate.run", "build": inner["build"]}
    exec("def evaluate():\n build()", outer)
    sentence = r"^no_such_package is not installed\. Run in the folder of mend: pip install '.\[eval\]'\.$"
    with pytest.raises(InputError, match=sentence), name_missing_extra():
        outer["evaluate"]()


@pytest.mark.parametrize(("where", "name"), [("mend.train.run", "mend.no_such_module"), ("mend.masks.hole", "no_such_package")])
def test_a_fault_of_mend_itself_is_no_missing_extra(where: str, name: str):
    with pytest.raises(ModuleNotFoundError), name_missing_extra():
        exec(f"import {name}", {"__name__": where})
