"""The invariants of the design, checked over everything there is: `check_world` and `doctor`.

Run after every crash, fault and load test; `reelgate doctor` runs it on a live installation.
"""

import asyncio
import hashlib
from functools import partial
from pathlib import Path

from reelgate.domain.task import Task
from reelgate.flows.gateway import Gateway
from reelgate.store import tasks, world

_READ_BYTES = 1024 * 1024
_SHOWN_MAX = 20


async def check_world(gateway: Gateway, *, read_bytes: bool = True) -> list[str]:
    """Every broken invariant, in words; empty when all hold.

    `read_bytes` also reads every stored video and compares its SHA-256.
    """
    broken = await gateway.db.read(world.check_books)
    completed: list[Task] = []
    await gateway.db.read(lambda tx: tasks.each_completed(tx, completed.append))
    verify = _bytes_problem if read_bytes else _size_problem
    for task in completed:
        path = gateway.media.path(task.result.key if task.result else "")
        problem = await asyncio.to_thread(verify, task, path)
        # A result may expire or be deleted while we look.
        if problem and not await _gone_by_now(gateway, task):
            broken.append(problem)
    broken += await _orphans(gateway)
    return broken


async def _gone_by_now(gateway: Gateway, task: Task) -> bool:
    now = await gateway.db.point(lambda tx: tasks.get(tx, task.id))
    return now is None or now.purged_at_ms is not None or now.deleted_at_ms is not None


def _size_problem(task: Task, path: Path) -> str | None:
    if task.result is None:
        return f"{task.id} is completed without a result"
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return f"{task.id} is completed, but its bytes are missing"
    if size != task.result.bytes:
        return f"{task.id} has {size} bytes, recorded are {task.result.bytes}"
    return None


def _bytes_problem(task: Task, path: Path) -> str | None:
    problem = _size_problem(task, path)
    if problem is not None or task.result is None:
        return problem
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            digest.update(chunk)
    if digest.hexdigest() != task.result.sha256:
        return f"the bytes of {task.id} are not those that were recorded"
    return None


async def _orphans(gateway: Gateway) -> list[str]:
    """Bytes without a row, older than the janitor lets them get."""
    limit_ms = 2 * gateway.policy.orphan_age_ms
    old = [key for key, age_ms in await gateway.media.keys("results") if age_ms > limit_ms]
    if not old:
        return []
    gone_since_ms = gateway.clock.now_ms() - limit_ms
    kept = await gateway.db.read(partial(world.kept_results, gone_since_ms=gone_since_ms))
    return [f"{key} belongs to no task" for key in old if key.rpartition(".")[0] not in kept][
        :_SHOWN_MAX
    ]
