from pathlib import Path

import pytest
from pictures import mask, picture


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three pictures in two folders, and their masks."""
    for seed, name in enumerate(("a.png", "b/a.png", "b/Ünïcode name.png")):
        picture(tmp_path / "photos" / name, seed)
        mask(tmp_path / "masks" / name)
    return tmp_path
