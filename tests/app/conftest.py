"""Something to start real processes with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.processes import Zygote, processes


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    with processes() as made:
        yield made
