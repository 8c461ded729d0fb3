"""What time does: dead workers' tasks are freed, old bytes and old keys go."""

import logging
from functools import partial

from reelgate.domain.crashpoints import crash_point
from reelgate.domain.ids import is_task_id
from reelgate.flows import pictures
from reelgate.flows.gateway import Gateway
from reelgate.store import idempotency, leases, tasks
from reelgate.store.database import Reader

log = logging.getLogger("reelgate.sweep")

_PURGE_BATCH = 100


async def free_dead_workers(gateway: Gateway) -> int:
    """Make the tasks of workers whose lease ran out claimable; returns how many."""
    now_ms = gateway.clock.now_ms()
    freed = 0
    for worker_id in await gateway.db.read(lambda tx: leases.dead(tx, now_ms)):
        count = await gateway.db.write(partial(leases.bury, worker_id=worker_id, now_ms=now_ms))
        log.warning("a worker is gone", extra={"worker_id": worker_id, "tasks": count})
        freed += count
    return freed


async def purge_expired(gateway: Gateway) -> int:
    """Remove the bytes of results past their time; returns how many."""
    now_ms = gateway.clock.now_ms()
    due = await gateway.db.read(lambda tx: tasks.to_purge(tx, now_ms, _PURGE_BATCH))
    for task in due:
        if task.result is not None:
            crash_point("sweep.before_purge")
            await pictures.remove_all(gateway, task.result.key)
            crash_point("sweep.after_purge")
        await gateway.db.write(partial(tasks.mark_purged, task_id=task.id, now_ms=now_ms))
        gateway.watch.changed(task.id)
    return len(due)


async def forget_idempotency_keys(gateway: Gateway) -> int:
    """Drop idempotency keys past their time; returns how many."""
    before_ms = gateway.clock.now_ms() - gateway.policy.idempotency_ttl_ms
    return await gateway.db.write(lambda tx: idempotency.forget_older(tx, before_ms))


async def remove_orphans(gateway: Gateway) -> int:
    """Remove old bytes that no task owns: leftovers of crashes; returns how many."""
    removed = 0
    for key, age_ms in await gateway.media.keys(""):
        if age_ms < gateway.policy.orphan_age_ms or await _owned(gateway, key):
            continue
        await gateway.media.delete(key)
        removed += 1
    return removed


async def _owned(gateway: Gateway, key: str) -> bool:
    """Whether a live task, or one whose result is kept, still needs these bytes."""
    folder, *rest = key.split("/")
    task_id = next((part for part in (p.partition(".")[0] for p in rest) if is_task_id(part)), None)
    if task_id is None:
        return False

    def find(tx: Reader) -> bool:
        task = tasks.get(tx, task_id)
        if task is None:
            return False
        if folder == "results":
            return task.result is not None and task.purged_at_ms is None
        return not task.ended

    return await gateway.db.point(find)
