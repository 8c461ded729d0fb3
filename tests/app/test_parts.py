"""Settings become parts, each upstream with its own limits and allowances, and all is closed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from reelgate.app.parts import open_gateway
from reelgate.domain.errors import OperatorError
from reelgate.domain.lane import Lane
from reelgate.domain.model import Operation
from reelgate.net.client import Client
from reelgate.net.guard import Guard, Policy
from reelgate.settings_load import load_settings

CONFIG = """
[[upstream]]
name = "one"
kind = "xai"

[[upstream]]
name = "two"
kind = "openai"
dialect = "sglang"
base_url = "http://10.0.0.7:30010"
models = { "grok-imagine" = "wan" }
operations = ["text_to_video"]
sizes = ["480p"]
priority = 3
weight = 7
max_in_flight = 2
submits_per_second = 0.5
allow_private_network = true

[[upstream]]
name = "three"
kind = "sandbox"
"""


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many guards and clients are open, by kind."""
    count: Counter[str] = Counter()

    def watch(kind: Any) -> None:
        begin, end = kind.__init__, kind.close

        def made(self: Any, *args: Any, **kwargs: Any) -> None:
            begin(self, *args, **kwargs)
            count[kind.__name__] += 1

        async def closed(self: Any) -> None:
            await end(self)
            count[kind.__name__] -= 1

        monkeypatch.setattr(kind, "__init__", made)
        monkeypatch.setattr(kind, "close", closed)

    watch(Guard)
    watch(Client)
    return count


def settings(folder: Path, key: str = "xai-key") -> Any:
    (folder / "reelgate.toml").write_text(CONFIG)
    return load_settings({"XAI_API_KEY": key}, folder)


async def test_all_that_is_opened_is_closed(tmp_path: Path, opened: Counter[str]) -> None:
    async with open_gateway(settings(tmp_path)):
        assert opened["Guard"] >= 3  # customers' links, and two upstreams' results
        assert opened["Client"] == 2
    assert set(opened.values()) == {0}


async def test_what_was_opened_before_it_failed_is_closed(
    tmp_path: Path, opened: Counter[str]
) -> None:
    with pytest.raises(OperatorError, match="no key has"):
        async with open_gateway(settings(tmp_path, key="two words")):
            pytest.fail("it opened")
    assert opened["Guard"] == 0


async def test_each_upstream_has_its_own_limits(tmp_path: Path) -> None:
    async with open_gateway(settings(tmp_path)) as gateway:
        two = gateway.upstreams.get("two")
        assert two is not None
        assert (two.priority, two.weight, two.max_in_flight) == (3, 7, 2)
        assert (two.bucket.per_second, two.tiers) == (0.5, frozenset({"480p"}))
        assert two.operations == frozenset({Operation.TEXT_TO_VIDEO})
        lane = Lane("grok-imagine", "text_to_video", "480p")
        assert two.can_do(lane)
        assert not two.can_do(lane._replace(operation="image_to_video"))


async def test_what_one_upstream_is_allowed_no_other_is_and_no_customer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policies: list[Policy] = []
    begin = Guard.__init__

    def made(self: Guard, policy: Policy, **kwargs: Any) -> None:
        begin(self, policy, **kwargs)
        policies.append(policy)

    monkeypatch.setattr(Guard, "__init__", made)
    async with open_gateway(settings(tmp_path)) as gateway:
        assert not gateway.guard.policy.allow_private_network
    private = [policy for policy in policies if policy.allow_private_network]
    assert len(private) == 1
    assert private[0].allow_http and private[0].ports is None
    assert all(not policy.allow_http for policy in policies if policy not in private)
