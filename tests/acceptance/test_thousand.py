"""The thousand tasks with kills among them, in small; by hand see `thousand.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.thousand import run
from tests.support.processes import Zygote


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_tasks_survive_any_kill(
    request: pytest.FixtureRequest, zygote: Zygote, tmp_path: Path, database: str
) -> None:
    url = request.getfixturevalue("postgres_url") if database == "postgres" else None
    outcome = run(zygote, tmp_path, count=60, kills=5, seed=20261122, database_url=url)
    assert outcome.wrong == []
    assert outcome.ends.total() == 60
    assert outcome.ends["completed"] > 30
