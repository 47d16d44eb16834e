import pytest

from mend.errors import InputError, pick


def test_pick_offers_the_nearest_and_lists_the_known():
    with pytest.raises(InputError, match=r"unknown model 'unet-asp'\. Did you mean 'unet-aspp'\? Known: unet, unet-aspp\."):
        pick({"unet": 1, "unet-aspp": 2}, "unet-asp", "model")
    assert pick({"unet": 1}, "unet", "model") == 1
