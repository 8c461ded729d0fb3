"""Many workers on one PostgreSQL, one on a SQLite file: shared work, death, and standing still."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from reelgate.app.parts import open_gateway
from reelgate.domain.money import MICRO_PER_USD
from reelgate.flows.accounts import create_account, create_key
from reelgate.flows.world import check_world
from reelgate.providers.sandbox.jobs import submits
from reelgate.settings_load import load_settings
from tests.support.nodes import Nodes, installation, until

LEASE_S = 3
TAKE_OVER_S = 30
TASKS = 12


class Customer:
    """Somebody with money, at the door of one node."""

    def __init__(self, nodes: Nodes, url: str) -> None:
        self.nodes = nodes
        key = asyncio.run(_customer(nodes))
        self.http = httpx.Client(
            base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=70, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def create(self, prompt: str) -> str:
        body = {"model": "grok-imagine", "prompt": prompt, "duration": 1}
        answer = self.http.post("/v1/videos", json=body)
        assert answer.status_code == 200, answer.text
        task_id: str = answer.json()["id"]
        return task_id

    def look(self, task_id: str) -> dict[str, Any]:
        task: dict[str, Any] = self.http.get(f"/v1/videos/{task_id}").json()
        return task

    def all_in_progress(self, ids: list[str]) -> bool:
        return all(self.look(task_id)["status"] == "in_progress" for task_id in ids)

    def all_completed(self, ids: list[str]) -> bool:
        return all(self.look(task_id)["status"] == "completed" for task_id in ids)


async def _customer(nodes: Nodes) -> str:
    async with open_gateway(load_settings(nodes.environment(), nodes.folder)) as gateway:
        account = await create_account(gateway, "customer", 1000 * MICRO_PER_USD)
        return (await create_key(gateway, account.id)).secret


def assert_sound(nodes: Nodes, ids: list[str]) -> None:
    """The books agree, the bytes are there, and no job was made twice."""

    async def check() -> list[str]:
        async with open_gateway(load_settings(nodes.environment(), nodes.folder)) as gateway:
            return await check_world(gateway)

    assert asyncio.run(check()) == []
    counted = submits(nodes.folder / "data" / "sandbox")
    assert {task_id: counted[task_id] for task_id in ids} == dict.fromkeys(ids, 1)


@pytest.fixture
def nodes(postgres_url: str, tmp_path: Path) -> Iterator[Nodes]:
    env = {"REELGATE_DATABASE_URL": postgres_url, "REELGATE_LEASE_S": str(LEASE_S)}
    with installation(tmp_path / "many", **env) as found:
        yield found


def test_workers_share_the_work_and_outlive_each_other(nodes: Nodes) -> None:
    api = nodes.start("api")
    # A small batch leaves something for the other.
    first = nodes.start("worker", REELGATE_CLAIM_BATCH="1")
    second = nodes.start("worker", REELGATE_CLAIM_BATCH="1")
    with Customer(nodes, api.url) as customer:
        ids = [customer.create(f"a boat [sandbox:slow=6] {n}") for n in range(TASKS)]
        until(lambda: customer.all_in_progress(ids), 20)
        assert "to_state=running" in first.said()
        assert "to_state=running" in second.said()

        first.kill()
        killed_at = time.monotonic()
        until(lambda: customer.all_completed(ids), TAKE_OVER_S)
        assert time.monotonic() - killed_at < TAKE_OVER_S
        assert second.stop() == 0
        assert api.stop() == 0
        assert_sound(nodes, ids)


def test_a_worker_that_stood_still_changes_nothing(nodes: Nodes) -> None:
    api = nodes.start("api")
    frozen = nodes.start("worker")
    with Customer(nodes, api.url) as customer:
        ids = [customer.create(f"a boat [sandbox:slow=2] {n}") for n in range(TASKS // 2)]
        until(lambda: customer.all_in_progress(ids), 20)
        frozen.freeze()
        other = nodes.start("worker")
        until(lambda: customer.all_completed(ids), TAKE_OVER_S)
        before = [customer.look(task_id) for task_id in ids]

        frozen.thaw()
        until(lambda: "lease lost" in frozen.said(), 20)
        late = customer.create("one more boat")
        until(lambda: customer.all_completed([late]), 20)
        assert [customer.look(task_id) for task_id in ids] == before
        assert frozen.stop() == 0
        assert other.stop() == 0
        assert_sound(nodes, [*ids, late])


def test_a_sqlite_file_has_one_worker_and_any_number_of_apis(tmp_path: Path) -> None:
    with installation(tmp_path / "one") as nodes:
        worker = nodes.start("all")
        second = subprocess.run(
            [sys.executable, "-m", "reelgate", "serve"],
            cwd=nodes.folder,
            env=nodes.environment(),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert second.returncode == 2
        assert second.stderr.count("\n") == 1
        assert "another reelgate worker" in second.stderr
        assert "--role api" in second.stderr

        api = nodes.start("api")
        with Customer(nodes, api.url) as customer:
            task_id = customer.create("a boat")
            until(lambda: customer.all_completed([task_id]), 20)
        assert api.stop() == 0
        assert worker.stop() == 0
        assert_sound(nodes, [task_id])
