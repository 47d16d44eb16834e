import pytest
import torch

from mend.errors import InputError
from mend.models.device import device_name, find_device, has_bf16


def test_devices_are_found_by_name():
    assert find_device("cpu").type == "cpu"
    assert find_device("auto").type in ("cpu", "cuda")
    assert device_name(torch.device("cpu")).startswith("CPU, ")
    assert has_bf16() in (True, False)


@pytest.mark.parametrize("name", ["cuda:63", "gpu", "tpu"])
def test_a_device_that_is_not_there_is_refused(name: str):
    with pytest.raises(InputError, match=f"the device '{name}' is not to be had here"):
        find_device(name)
