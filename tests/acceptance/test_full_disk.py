"""A disk that is full: what is made waits for room, what can't be kept is not promised."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from reelgate.app.parts import open_gateway
from reelgate.domain.money import MICRO_PER_USD
from reelgate.flows.accounts import create_account, create_key
from reelgate.flows.world import check_world
from reelgate.settings_load import load_settings
from tests.support.disks import fill
from tests.support.nodes import Nodes, installation, until


async def customer(nodes: Nodes) -> str:
    async with open_gateway(load_settings(nodes.environment(), nodes.folder)) as gateway:
        account = await create_account(gateway, "customer", 10 * MICRO_PER_USD)
        return (await create_key(gateway, account.id)).secret


def world_of(nodes: Nodes) -> list[str]:
    async def check() -> list[str]:
        async with open_gateway(load_settings(nodes.environment(), nodes.folder)) as gateway:
            return await check_world(gateway)

    return asyncio.run(check())


def client(url: str, key: str) -> httpx.Client:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.Client(base_url=url, headers=headers, timeout=70, trust_env=False)


BODY = {"model": "grok-imagine", "prompt": "a boat", "duration": 1}


def test_a_finished_video_waits_for_room(small_disk_folder: Path, tmp_path: Path) -> None:
    with installation(tmp_path / "one", REELGATE_MEDIA_URL=f"file://{small_disk_folder}") as nodes:
        node = nodes.start()
        key = asyncio.run(customer(nodes))
        ballast = fill(small_disk_folder)
        with client(node.url, key) as http:
            task_id = http.post("/v1/videos", json=BODY).json()["id"]
            until(lambda: "result could not be collected yet" in node.said(), 20)
            assert http.get(f"/v1/videos/{task_id}").json()["status"] == "in_progress"
            ready = http.get("/readyz")
            assert ready.status_code == 503
            assert "media" in ready.json()["parts"]
            ballast.unlink()
            task = http.get(f"/v1/videos/{task_id}", headers={"prefer": "wait=30"}).json()
            assert task["status"] == "completed"
            assert task["billing"]["cost"] == "0.05"
        assert node.stop() == 0
        assert world_of(nodes) == []


def test_a_create_that_cannot_be_kept_is_refused(small_disk_folder: Path, tmp_path: Path) -> None:
    database = f"sqlite:///{small_disk_folder / 'reelgate.sqlite3'}"
    with installation(tmp_path / "one", REELGATE_DATABASE_URL=database) as nodes:
        node = nodes.start()
        key = asyncio.run(customer(nodes))
        with client(node.url, key) as http:
            ballast = fill(small_disk_folder)
            # A page or two may be left in the log of the database: ask until it is full.
            answers = [http.post("/v1/videos", json=BODY) for _ in range(40)]
            refused = [answer for answer in answers if answer.status_code != 200]
            assert refused
            assert {answer.status_code for answer in refused} == {507}
            assert refused[0].json()["error"]["code"] == "storage_full"

            ballast.unlink()
            for answer in answers:
                if answer.status_code == 200:
                    path = f"/v1/videos/{answer.json()['id']}"
                    ended = http.get(path, headers={"prefer": "wait=30"}).json()
                    assert ended["status"] == "completed"
            accepted = len(answers) - len(refused)
            assert len(http.get("/v1/videos?limit=100").json()["data"]) == accepted
            balance = http.get("/v1/balance").json()
            assert balance["held"] == "0.00"
            assert balance["available"] == f"{10 - accepted * 0.05:.2f}"
            assert http.post("/v1/videos", json=BODY).status_code == 200
        assert node.stop() == 0
        assert world_of(nodes) == []
