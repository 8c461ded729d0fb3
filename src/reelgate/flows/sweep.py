"""What time does: dead workers' tasks are freed, old bytes and old keys go."""

import logging
from functools import partial

from reelgate.domain.crashpoints import crash_point
from reelgate.domain.ids import is_task_id
from reelgate.flows import inputs, pictures, send
from reelgate.flows.gateway import Gateway
from reelgate.flows.settle import settle
from reelgate.store import idempotency, leases, tasks
from reelgate.store.database import Reader

log = logging.getLogger("reelgate.sweep")

_FORGET_BATCH = 500
_PURGE_BATCH = 100
_EXPIRE_BATCH = 500
_LOOK_BATCH = 500


async def free_dead_workers(gateway: Gateway, *, but: str | None = None) -> int:
    """Make the tasks of workers whose lease ran out claimable; returns how many.

    `but` is the worker that asks: as long as nobody else has buried it, it lives.
    """
    now_ms = gateway.clock.now_ms()
    freed = 0
    for worker_id in await gateway.db.read(lambda tx: leases.dead(tx, now_ms)):
        if worker_id == but:
            continue
        count = await gateway.db.write(partial(leases.bury, worker_id=worker_id, now_ms=now_ms))
        log.warning("a worker is gone", extra={"worker_id": worker_id, "tasks": count})
        freed += count
    return freed


async def expire_unsent(gateway: Gateway) -> int:
    """End tasks that nobody could send before their deadline; returns how many."""
    now_ms = gateway.clock.now_ms()
    ended = 0
    for task in await gateway.db.read(lambda tx: tasks.overdue(tx, now_ms, _EXPIRE_BATCH)):
        if await settle(gateway, task, send.overdue(task)):
            log.warning("no upstream took a task in time", extra={"task_id": task.id})
            await inputs.forget(gateway, task)
            ended += 1
    return ended


async def tidy_upstreams(gateway: Gateway) -> int:
    """Have every upstream drop what it keeps for no use any more; returns how much that was."""
    return sum([await upstream.provider.tidy() for upstream in gateway.upstreams])


async def purge_expired(gateway: Gateway) -> int:
    """Remove the bytes of results past their time; returns how many."""
    now_ms = gateway.clock.now_ms()
    purged = 0
    while due := await gateway.db.read(lambda tx: tasks.to_purge(tx, now_ms, _PURGE_BATCH)):
        for task in due:
            crash_point("sweep.before_purge")
            # The row first: bytes without a row are the janitor's, a row without bytes a fault.
            await gateway.db.write(partial(tasks.mark_purged, task_id=task.id, now_ms=now_ms))
            crash_point("sweep.after_purge")
            if task.result is not None:
                await pictures.remove_all(gateway, task.result.key)
            gateway.watch.changed(task.id)
        purged += len(due)
    return purged


async def forget_idempotency_keys(gateway: Gateway) -> int:
    """Drop idempotency keys past their time; returns how many."""
    before_ms = gateway.clock.now_ms() - gateway.policy.idempotency_ttl_ms
    forget = partial(idempotency.forget_older, before_ms=before_ms, limit=_FORGET_BATCH)
    forgotten = 0
    while count := await gateway.db.write(forget):  # in pieces: others want to write too
        forgotten += count
    return forgotten


async def remove_orphans(gateway: Gateway) -> int:
    """Remove old bytes that no task owns: leftovers of crashes; returns how many."""
    aged = await gateway.media.keys("")
    old = [key for key, age_ms in aged if age_ms >= gateway.policy.orphan_age_ms]
    removed = 0
    for at in range(0, len(old), _LOOK_BATCH):
        orphans = await gateway.db.read(partial(_orphans, keys=old[at : at + _LOOK_BATCH]))
        for key in orphans:
            await gateway.media.delete(key)
        removed += len(orphans)
    return removed


def _orphans(tx: Reader, keys: list[str]) -> list[str]:
    return [key for key in keys if not _owned(tx, key)]


def _owned(tx: Reader, key: str) -> bool:
    """Whether a live task, or one whose result is kept, still needs these bytes."""
    folder, _, name = key.rpartition("/")
    task_id = name.partition(".")[0]
    task = tasks.get(tx, task_id) if is_task_id(task_id) else None
    if task is None:
        return False
    if not folder.startswith("results"):
        return not task.ended
    if not task.ended:
        return True
    kept = task.result is not None and task.purged_at_ms is None and task.deleted_at_ms is None
    # Pictures lie beside their video; another worker's copy of it does not.
    return kept and task.result is not None and _stem(key) == _stem(task.result.key)


def _stem(key: str) -> str:
    return key.rpartition(".")[0]
