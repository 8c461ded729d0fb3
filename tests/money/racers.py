"""One process of a race for money: `python -m tests.money.racers JOB` with the rest on stdin.

The parent writes one line of JSON to say what to race for, and starts all processes at the same
moment: each says `ready` and waits for a line, once to begin and once more after its racers' first
turn, so that none is done before another has begun. What each racer got comes back as one line of
JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from reelgate.catalog import MODELS
from reelgate.domain.clock import ManualClock
from reelgate.domain.errors import Refusal, TaskError
from reelgate.domain.order import Draft
from reelgate.domain.quote import Bill, Line
from reelgate.domain.task import Result, State, Task
from reelgate.flows.gateway import Caller, Gateway
from reelgate.flows.settle import Ending, failed, settle
from reelgate.flows.submit import Repeatable, submit
from reelgate.flows.upstreams import Upstreams
from reelgate.media.disk import DiskStore
from reelgate.net.guard import Guard
from reelgate.net.guard import Policy as GuardPolicy
from reelgate.store import accounts, tasks
from tests.support.world import MODEL, open_database

BYTES = b"a film"
LINES_UP = 2


@dataclass(frozen=True)
class Race:
    """What the racers of one process do."""

    url: str
    media: str
    key_id: str
    racers: int
    turns: int
    seed: int

    def gateway(self) -> Gateway:
        """A node of its own."""
        return Gateway(
            db=open_database(self.url),
            clock=ManualClock(),
            models=MODELS,
            media=DiskStore(Path(self.media)),
            upstreams=Upstreams([]),
            guard=Guard(GuardPolicy()),
            secret=b"0" * 32,
        )


# ---- racing -------------------------------------------------------------------------------


async def spend(race: Race, gateway: Gateway) -> list[dict[str, Any]]:
    """Random orders, as fast as they go: what each would hold, and whether it could."""
    key = await gateway.db.read(partial(accounts.get_key, key_id=race.key_id))
    assert key is not None
    caller = Caller(key.account_id or "", key)

    chances = [random.Random(race.seed * 1_000 + number) for number in range(race.racers)]

    async def client(number: int, turns: int) -> list[dict[str, Any]]:
        chance, got = chances[number], list[dict[str, Any]]()
        for _ in range(turns):
            tier, seconds = chance.choice(["480p", "720p"]), chance.randint(1, 15)
            price = seconds * {"480p": 50_000, "720p": 70_000}[tier]
            draft = Draft(MODEL, prompt="p", seconds=seconds, size=tier)
            try:
                await submit(gateway, caller, draft, [], Repeatable())
                code = None
            except Refusal as refusal:
                code = refusal.code.value
            got.append({"node": race.seed, "micro": price, "code": code})
        return got

    first = await _all(partial(client, turns=1), race.racers)
    _line_up()
    return first + await _all(partial(client, turns=race.turns - 1), race.racers)


async def end(race: Race, gateway: Gateway) -> list[dict[str, Any]]:
    """Every racer ends its share of all tasks in its own way; which of them it was the one to."""
    found = await gateway.db.read(
        lambda tx: tasks.page(tx, None, after=None, limit=100_000, newest_first=True)
    )

    async def settler(number: int) -> list[dict[str, Any]]:
        chance, got = random.Random(race.seed * 1_000 + number), list[dict[str, Any]]()
        for task in chance.sample(found, race.turns):
            ending = _ending(task, chance)
            if await settle(gateway, task, ending) is not None:
                got.append({"id": task.id, "micro": ending.bill.total_micro})
        return got

    _line_up()
    return await _all(settler, race.racers)


def _ending(task: Task, chance: random.Random) -> Ending:
    if task.state is State.COLLECTING and chance.random() < 0.5:
        charged = chance.randint(1, task.held_micro)
        bill = Bill((Line("output_second_480p", 1, "second", charged),))
        result = Result(f"results/{task.id}.mp4", len(BYTES), "", 1000, 2, 2, 2)
        return Ending(State.COMPLETED, result=result, bill=bill)
    code = chance.choice([TaskError.TASK_FAILED, TaskError.CANCELLED])
    state = State.CANCELLED if code is TaskError.CANCELLED else State.FAILED
    return failed(code, "over", state=state)


async def _all(racer: Any, count: int) -> list[dict[str, Any]]:
    return [got for each in await asyncio.gather(*map(racer, range(count))) for got in each]


# ---- processes ----------------------------------------------------------------------------


def run(job: str, races: list[Race]) -> list[dict[str, Any]]:
    """Run one process for each race, all starting at once; what all racers got."""
    command = [sys.executable, "-m", "tests.money.racers", job]
    with ExitStack() as stack:
        children = [
            stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in races
        ]
        for child, race in zip(children, races, strict=True):
            _tell(child, json.dumps(vars(race)))
        for _ in range(LINES_UP):
            for child in children:
                assert child.stdout is not None and child.stdout.readline() == "ready\n"
            for child in children:
                _tell(child, "go")
        got = [json.loads(child.communicate()[0]) for child in children]
        assert [child.returncode for child in children] == [0] * len(children)
        return [one for each in got for one in each]


def _tell(child: subprocess.Popen[str], line: str) -> None:
    assert child.stdin is not None
    child.stdin.write(line + "\n")
    child.stdin.flush()


def _line_up() -> None:
    """Go on when all processes have come this far."""
    print("ready", flush=True)
    sys.stdin.readline()


async def _main(job: str) -> None:
    race = Race(**json.loads(sys.stdin.readline()))
    gateway = race.gateway()
    _line_up()
    got = await {"spend": spend, "end": end}[job](race, gateway)
    print(json.dumps(got), flush=True)
    await gateway.db.close()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
