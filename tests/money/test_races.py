"""Many at once, from several processes: what there is can be spent once, and to the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from reelgate.domain.money import MICRO_PER_USD
from reelgate.domain.order import Draft
from reelgate.domain.task import State, Task
from reelgate.flows import accounts
from reelgate.flows.gateway import Caller, Gateway
from reelgate.flows.submit import Repeatable, submit
from reelgate.flows.world import check_world
from reelgate.store import ledger, tasks
from reelgate.store.accounts import Limits
from reelgate.store.database import Writer
from tests.money.racers import BYTES, Race, run
from tests.support.world import MODEL

RACERS = 64
TURNS = 12
FUNDS = 100 * MICRO_PER_USD  # the racers want about four times that
TASKS = 1_000


@dataclass
class Arena:
    """A database with one account and its key, and the races that go on in it."""

    url: str
    media: Path
    processes: int
    account_id: str = ""
    key_id: str = ""

    def races(self, turns: int) -> list[Race]:
        racers = RACERS // self.processes
        where = (self.url, str(self.media), self.key_id)
        return [Race(*where, racers, turns, seed) for seed in range(self.processes)]

    @contextmanager
    def gateway(self) -> Iterator[tuple[Gateway, asyncio.Runner]]:
        with asyncio.Runner() as runner:
            gateway = runner.run(_opened(self.races(1)[0]))
            yield gateway, runner
            runner.run(gateway.db.close())


async def _opened(race: Race) -> Gateway:
    return race.gateway()


@pytest.fixture
def arena(database_url: str, tmp_path: Path) -> Arena:
    return Arena(database_url, tmp_path / "media", 2 if "sqlite" in database_url else 4)


async def _fund(arena: Arena, gateway: Gateway, funds: int, limits: Limits) -> None:
    arena.account_id = (await accounts.create_account(gateway, "racers", funds)).id
    arena.key_id = (await accounts.create_key(gateway, arena.account_id, limits=limits)).key.id


async def _books(arena: Arena, gateway: Gateway) -> ledger.Balance:
    assert await check_world(gateway, read_bytes=False) == []
    balance = await gateway.db.read(partial(ledger.balance, account_id=arena.account_id))
    assert balance is not None
    return balance


# ---- spending -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("funds", "limits", "code"),
    [
        (FUNDS, Limits(), "insufficient_balance"),
        (10 * FUNDS, Limits(spend_total_max_micro=FUNDS), "spend_limit_exceeded"),
    ],
    ids=["account", "key"],
)
def test_64_clients_spend_all_there_is_and_not_a_micro_dollar_more(
    arena: Arena, funds: int, limits: Limits, code: str
) -> None:
    with arena.gateway() as (gateway, runner):
        runner.run(_fund(arena, gateway, funds, limits))
        got = run("spend", arena.races(TURNS))
        balance = runner.run(_books(arena, gateway))
    assert len(got) == RACERS * TURNS
    assert {one["code"] for one in got} == {None, code}
    assert {one["node"] for one in got if one["code"] is None} == set(range(arena.processes))
    accepted = sum(one["micro"] for one in got if one["code"] is None)
    assert accepted <= FUNDS
    assert (balance.available_micro, balance.held_micro) == (funds - accepted, accepted)
    # Holds only grow here: whoever was refused wanted more than there was even at the end.
    left = FUNDS - accepted
    assert left < min(one["micro"] for one in got if one["code"])


def test_as_many_tasks_in_flight_as_allowed_on_all_nodes_together(arena: Arena) -> None:
    with arena.gateway() as (gateway, runner):
        runner.run(_fund(arena, gateway, 10 * FUNDS, Limits(tasks_in_flight_max=101)))
        got = run("spend", arena.races(turns=4))
        runner.run(_books(arena, gateway))
    assert Counter(one["code"] for one in got) == {
        None: 101,
        "rate_limit_exceeded": RACERS * 4 - 101,
    }


# ---- settling -----------------------------------------------------------------------------


async def _make_tasks(arena: Arena, gateway: Gateway) -> list[Task]:
    """A thousand tasks, every other one at the point where its result is collected."""
    await _fund(arena, gateway, 10 * FUNDS, Limits())
    key = await gateway.db.read(lambda tx: accounts.key_in(tx, arena.key_id))
    caller = Caller(arena.account_id, key)
    draft = partial(Draft, MODEL, prompt="p", seconds=3)
    made = await asyncio.gather(
        *(submit(gateway, caller, draft(), [], Repeatable()) for _ in range(TASKS))
    )
    found = [one.task for one in made]
    await gateway.db.write(partial(_bring_to_collecting, some=found[::2]))
    return found


def _bring_to_collecting(tx: Writer, some: list[Task]) -> None:
    for task in some:
        moved: Task | None = task
        for state in (State.SENDING, State.RUNNING, State.COLLECTING):
            assert moved is not None
            moved = tasks.move(tx, moved, state, task.created_at_ms)


def test_64_settlers_over_1_000_tasks_end_each_once(arena: Arena) -> None:
    with arena.gateway() as (gateway, runner):
        made = runner.run(_make_tasks(arena, gateway))
        results = arena.media / "results"
        results.mkdir()
        for task in made:
            (results / f"{task.id}.mp4").write_bytes(BYTES)
        got = run("end", arena.races(turns=TASKS // 16))
        balance = runner.run(_books(arena, gateway))
    winners = Counter(one["id"] for one in got)
    assert set(winners.values()) == {1}
    # Four settlers came by each task on average; few were left out by all.
    assert len(winners) > TASKS * 0.95
    charged = sum(one["micro"] for one in got)
    assert charged > 0
    still_held = (TASKS - len(winners)) * 150_000  # 3 x 0.05 each
    assert balance.held_micro == still_held
    assert balance.available_micro == 10 * FUNDS - charged - still_held
