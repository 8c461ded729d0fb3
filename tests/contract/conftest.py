"""Accounts and inputs for the tests that are a user of the API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clips import make_clip, make_image
from tests.support.files import file_server
from tests.support.live import Account, Live

RED, GREEN, BLUE = (200, 40, 40), (40, 180, 60), (40, 60, 200)


@pytest.fixture
def api(live: Live) -> Account:
    """A fresh account with 100 USD on the shared gateway."""
    return live.account()


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of real pictures and clips; each test of a name says what it needs of it."""
    folder = tmp_path_factory.mktemp("inputs")
    make_image(folder / "red.png", RED, (320, 240))
    make_image(folder / "green.jpg", GREEN, (240, 320))
    make_image(folder / "blue.webp", BLUE, (200, 200))
    make_clip(folder / "two.mp4", frames=48)
    make_clip(folder / "half.mp4", frames=12)
    make_clip(folder / "ten.mp4", frames=240, size=(64, 48))
    make_clip(folder / "mpeg4.mp4", frames=48, codec="mpeg4")
    return folder


@pytest.fixture(scope="session")
def files(inputs: Path) -> Iterator[str]:
    """Base URL of `inputs`."""
    with file_server(inputs) as url:
        yield url
