import pytest

from mend.errors import InputError, as_flags, pick


def test_pick_offers_the_nearest_and_lists_the_known():
    with pytest.raises(InputError, match=r"unknown model 'unet-asp'\. Did you mean 'unet-aspp'\? Known: unet, unet-aspp\."):
        pick({"unet": 1, "unet-aspp": 2}, "unet-asp", "model")
    assert pick({"unet": 1}, "unet", "model") == 1


def test_arguments_are_flags_on_the_command_line():
    for said, shown in (
        ("give `grow=3` or more", "give --grow 3 or more"),
        ('add `hole="black"`, or `texture=True`.', "add --hole black, or --texture."),
        ("leave `max_memory` out", "leave --max-memory out"),
        ('`pattern="{stem} m"`', "--pattern '{stem} m'"),
        ("`Photo 1`.png and {hole} stay", "`Photo 1`.png and {hole} stay"),
    ):
        assert as_flags(said) == shown
