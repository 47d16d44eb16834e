import pytest
import torch

from mend.errors import InputError
from mend.models.device import best_precision, device_name, find_device, has_bf16


def test_devices_are_found_by_name():
    assert find_device("cpu").type == "cpu"
    assert find_device("auto").type in ("cpu", "cuda")
    assert device_name(torch.device("cpu")).startswith("CPU, ")
    assert has_bf16() in (True, False)


@pytest.mark.parametrize("name", ["cuda:63", "gpu", "tpu"])
def test_a_device_that_is_not_there_is_refused(name: str):
    with pytest.raises(InputError, match=f'`device="{name}"` is not to be had here'):
        find_device(name)


@pytest.mark.parametrize(("gpu", "bf16", "best"), [(True, True, "bf16"), (True, False, "fp16"), (False, False, "fp32")])
def test_a_gpu_without_bfloat16_trains_in_fp16(gpu: bool, bf16: bool, best: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, probe, lambda: bf16, raising=False)
    assert best_precision() == best
