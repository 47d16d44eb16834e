import math
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from made_networks import KEYS, write_toml

from mend.errors import InputError
from mend.inpaint.contracts import NETWORKS, SHIPPED, Contract, grow_hole, read_contract, write_contract


def test_the_shipped_contracts_are_whole():
    assert set(NETWORKS) == {"lama", "lama-int8", "migan"}
    assert set(SHIPPED) - set(NETWORKS) == {"big-lama"}, "TorchScript runs code, and is never fetched"
    for contract in SHIPPED.values():
        assert contract.licence
        assert contract.source
        assert contract.bytes
        assert contract.sha256
    assert len({contract.sha256 for contract in SHIPPED.values()}) == len(SHIPPED)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"colour": "RGB"}, "Did you mean 'colours'"),
        ({"licence": None}, "has no licence"),
        ({"licence": ""}, "has no licence"),
        ({"mask_hole": None, "dtype": None}, "has no dtype, no mask_hole"),
        ({"dtype": "double"}, "dtype in net.toml is 'double'; expected float32 or float16 or uint8"),
        ({"colours": "GBR"}, "expected RGB or BGR or probe"),
        ({"image_range": 255}, "expected the values of black and white"),
        ({"output_range": [255, 0]}, "expected the values of black and white"),
        ({"mask_hole": "white"}, "expected a number"),
        ({"mask_hole": math.inf}, "mask_hole in net.toml is inf; expected a number"),
        ({"mask_hole": math.nan}, "expected a number"),
        ({"image_range": [0, math.inf]}, "expected the values of black and white"),
        ({"mask_hole": 0}, "both 0"),
        (
            {"multiple": None, "fixed": 1_000_000},
            "fixed in net.toml is 1000000; expected a whole number of pixels, from 16 to 8",
        ),
        ({"multiple": 1_000_000, "largest": 1_000_000}, "expected a whole number of pixels, from 1 to 8192"),
        ({"largest": 1_000_000}, "from 16 to 8192"),
        ({"fixed": 512}, "either fixed"),
        ({"multiple": None}, "either fixed"),
        ({"multiple": 0}, "expected a whole number"),
        ({"multiple": 800, "largest": 500}, "must not be below it"),
        ({"multiple": None, "fixed": 512, "largest": 512}, "largest in net.toml goes with multiple"),
        ({"grow": -1}, "expected a whole number"),
        ({"keeps_known": 1}, "true or false"),
        ({"hub": "lama"}, "expected owner/name"),
        ({"sha256": "abc"}, "64 hexadecimal"),
        ({"memory": 0}, "expected a whole number of bytes"),
        ({"bytes": True}, "expected a whole number"),
    ],
)
def test_a_contract_is_read_strictly(tmp_path: Path, keys: dict[str, Any], says: str):
    with pytest.raises(InputError, match="net.toml") as caught:
        read_contract(write_toml(tmp_path / "net.toml", **keys))
    assert says in str(caught.value)


def test_a_contract_is_read(tmp_path: Path):
    contract = read_contract(write_toml(tmp_path / "net.toml", multiple=8, largest=512, image=0))
    assert (contract.side, contract.image, contract.image_range, contract.licence) == (512, 0, (0, 1), "CC0-1.0")
    assert read_contract(write_toml(tmp_path / "net.toml", multiple=None, fixed=256)).side == 256
    assert read_contract(write_toml(tmp_path / "net.toml")).side == 1024
    assert read_contract(write_toml(tmp_path / "net.toml", multiple=24)).side == 1008


def test_a_contract_that_was_written_is_read_again(tmp_path: Path):
    for one in (*SHIPPED.values(), contract(licence='"free" as in ½\\n', memory=7, keeps_known=False)):
        write_contract(one, tmp_path / "net.toml")
        assert read_contract(tmp_path / "net.toml") == one
    assert "grow" not in (tmp_path / "net.toml").read_text(encoding="utf-8"), "keys that say nothing are left out"


def contract(**keys: Any) -> Contract:
    return Contract(**{"file": "net.onnx", **KEYS, "image_range": (0, 1), "output_range": (0, 1), **keys})


def test_values_go_in_and_out_as_the_contract_says():
    image = np.zeros((1, 3, 8, 8), np.float32)
    image[:, 0] = 0.8  # red
    hole = np.zeros((1, 1, 8, 8), np.float32)
    hole[..., 3:5, 3:5] = 1
    given, mask = contract(colours="BGR", dtype="uint8", image_range=(0, 255), mask_hole=0, mask_known=255).encode(image, hole)
    assert (given.dtype, mask.dtype) == (np.uint8, np.uint8)
    assert given[0, :, 0, 0].tolist() == [0, 0, 204]
    assert given[0, :, 3, 3].tolist() == [0, 0, 0], "nothing is shown under the hole"
    assert (mask[0, 0, 0, 0], mask[0, 0, 3, 3]) == (255, 0)
    given, mask = contract(image_range=(-1, 1), grow=2).encode(image, hole)
    assert given[0, :, 0, 0] == pytest.approx([0.6, -1, -1])
    assert given[0, :, 3, 3].tolist() == [0, 0, 0]
    assert given[0, 0, 2, 2] == pytest.approx(0.6), "known, though the mask's hole is larger"
    assert mask.sum() == 36
    for low, high in ((0, 1), (0, 255), (-1, 1)):
        one = contract(image_range=(low, high), output_range=(low, high), colours="BGR")
        assert one.decode(one.encode(image, 0 * hole)[0]) == pytest.approx(image, abs=1e-6)


def test_a_hole_grows_on_every_side():
    hole = np.zeros((2, 1, 9, 9), np.float32)
    hole[0, 0, 4, 4], hole[1, 0, 0, 0] = 1, 1
    larger = grow_hole(hole, 2)
    assert larger.shape == hole.shape
    assert larger[0, 0, 2:7, 2:7].all()
    assert (larger[0].sum(), larger[1].sum()) == (25, 9)
    assert np.array_equal(grow_hole(hole, 0), hole)


def test_the_guide_has_every_key_and_whole_examples(tmp_path: Path):
    guide = (ROOT / "docs/networks.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)`", "\n".join(line.split("|")[1] for line in guide.splitlines() if line.startswith("| `"))))
    assert {field.name for field in fields(Contract)} - {"hub"} <= named, "hub is for shipped ones"
    examples = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        (tmp_path / "net.toml").write_text(example, encoding="utf-8")
        read_contract(tmp_path / "net.toml")
    for name, contract in NETWORKS.items():
        (row,) = [line for line in guide.splitlines() if line.startswith(f"| `{name}` |")]
        assert all(
            str(said) in row
            for said in (contract.file, contract.hub, contract.licence, f"{(contract.bytes or 0) / 1e6:.0f} MB")
        )
