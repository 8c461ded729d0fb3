"""The operator's guide to upstreams says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reelgate.domain.model import Operation
from reelgate.flows.upstreams import RESTS
from reelgate.providers.base import Cause
from reelgate.providers.dialects import DIALECTS
from reelgate.settings import UpstreamSettings
from reelgate.settings_load import load_settings

GUIDE = (Path(__file__).parent.parent / "docs" / "guide" / "upstreams.md").read_text("utf-8")
ROWS = [line.split("|")[1:-1] for line in GUIDE.splitlines() if line.startswith("| `")]


def spoken(ms: int) -> str:
    return f"{ms // 60_000} min" if ms >= 60_000 else f"{ms // 1000} s"


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_and_its_rest(cause: Cause) -> None:
    (row,) = [row for row in ROWS if row[0].strip() == f"`{cause.value}`"]
    rest = RESTS[cause]
    said = f"{spoken(rest.first_ms)} to {spoken(rest.longest_ms)}"
    said = f"after {rest.failures}: {said}" if rest.failures > 1 else said
    assert row[2].strip().removesuffix(", or what it asks for") == said


def test_every_setting_and_dialect() -> None:
    settings = set(UpstreamSettings.__struct_fields__) - {"api_key"}
    told = {name for row in ROWS for name in re.findall(r"`(\w+)`", row[0])}
    assert settings <= told
    assert all(f"`{name}`" in GUIDE for name in DIALECTS)


@pytest.mark.parametrize("example", re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL))
def test_every_example_can_be_used(example: str, tmp_path: Path) -> None:
    (tmp_path / "reelgate.toml").write_text(example)
    found = load_settings({}, tmp_path).upstreams
    assert len(found) == example.count("[[upstream]]")


def test_only_these_dialects_edit_and_extend() -> None:
    able = {name for name, row in DIALECTS.items() if Operation.EDIT_VIDEO in row.calls}
    assert able == {"openai", "reelgate"}
