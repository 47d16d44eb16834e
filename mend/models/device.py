"""The device that does the work: found by name, described for results, asked what it can."""

import torch

from mend import distributed
from mend.errors import InputError


def find_device(name: str) -> torch.device:
    """The device of that name; "auto" is a GPU where there is one. InputError for one that is not on this machine.

    Where several processes share a machine, "auto" and "cuda" are a GPU of this process's own.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        if distributed.WORLD == 1:
            return torch.device(name)
    if name == "cuda" and distributed.WORLD > 1:
        name = f"cuda:{distributed.LOCAL}"
    try:
        torch.zeros(1, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        said = str(error).splitlines()[0]
        fewer = "" if distributed.WORLD == 1 else ", and start no more processes than there are GPUs"
        raise InputError(f'`device="{name}"` is not to be had here ({said}). Use auto, cpu, cuda or mps{fewer}.') from error


def device_name(device: torch.device) -> str:
    """The device's own name for results: the GPU's, or the CPU's with the threads in use; and how many processes had one."""
    on_gpu = device.type == "cuda"
    count = torch.get_num_threads()
    name = torch.cuda.get_device_name(device) if on_gpu else f"{device.type.upper()}, {count} thread{'s' * (count != 1)}"
    return name if distributed.WORLD == 1 else f"{distributed.WORLD} × {name}"


def best_precision() -> str:
    """How the device that will be used trains fastest without losing much: bf16 where it multiplies that natively, on another
    GPU fp16 (with a loss that is scaled, since its numbers are few), else fp32."""
    if has_bf16():
        return "bf16"
    return "fp16" if torch.cuda.is_available() else "fp32"


def has_bf16() -> bool:
    """Whether the device that will be used multiplies bfloat16 natively."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    probes = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(probe() for probe in probes if probe is not None)
