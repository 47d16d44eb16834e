"""A studio for the tests of a module, and its page in a browser."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import open_browser, open_page
from conftest import smooth
from PIL import Image
from running_studio import Studio

from mend.images import write_image


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    running = Studio(tmp_path_factory.mktemp("studio"))
    yield running
    running.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from open_browser()


@pytest.fixture(params=["desktop", "phone"])
def page(request: pytest.FixtureRequest, browser: Any, studio: Studio) -> Iterator[Any]:
    yield from open_page(browser, studio, request.param)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.asarray(Image.fromarray(smooth(300, 400, 5))).copy()
    pixels[100:180, 150:250] = (30, 40, 200)
    write_image(tmp_path / "photo.png", pixels)
    return tmp_path / "photo.png"
