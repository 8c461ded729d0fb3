"""The only loop: claim due work, drive it with bounded concurrency, drain on stop.

A worker holds one lease that covers all its tasks. When the lease is lost (the process stood
still for too long), everything in hand is dropped: by then it may be somebody else's.
"""

import asyncio
import contextlib
import logging
import math
import random
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from functools import partial

from reelgate.domain.crashpoints import crash_point
from reelgate.domain.errors import StoreError
from reelgate.domain.ids import new_id
from reelgate.domain.lane import Lane
from reelgate.domain.task import State, Task
from reelgate.flows import advance, sweep, switches
from reelgate.flows.drive import Drive
from reelgate.flows.gateway import Gateway
from reelgate.store import leases, tasks
from reelgate.store.database import Writer

log = logging.getLogger("reelgate.worker")

_LOOK_MS = 1_000
_RENEWALS_PER_LEASE = 4
_STORE_TROUBLE_MS = 1_000
# Between two looks at the queue, however often something is said to be there.
_LOOK_MS_MIN = 10
# Queued tasks of one lane that are in hand but can't be sent yet: their source is being measured,
# or an upstream has just declined them.
_ASIDE_MAX = 100
# At one upstream: one that hands out its results slowly must not hold up those of others.
_COLLECTING_MAX = 16
_BURY_MS = 2_000
_FORGOTTEN_MS = 10_000

# (what, how often in ms): the chores of every worker, harmless when several do them.
_CHORES: tuple[tuple[Callable[[Gateway], Awaitable[int]], int], ...] = (
    (switches.refresh, 2_000),
    (switches.tell_troubles, 2_000),
    (sweep.expire_unsent, 5_000),
    (sweep.purge_expired, 15_000),
    (sweep.forget_idempotency_keys, 3_600_000),
    (sweep.remove_orphans, 3_600_000),
    (sweep.tidy_upstreams, 3_600_000),
)


class Worker:
    """Drives tasks until stopped. `concurrency` bounds how many are in hand at once."""

    def __init__(
        self, gateway: Gateway, *, concurrency: int = 5_000, claim_batch: int = 200
    ) -> None:
        self._gateway = gateway
        self._concurrency = concurrency
        self._claim_batch = claim_batch
        self._id = ""
        self._wake = asyncio.Event()
        self._drives: dict[str, asyncio.Task[None]] = {}
        self._forgotten: set[str] = set()
        self._unsent: dict[str, Drive] = {}
        self._lanes: list[Lane] = []
        self._lease_s = gateway.policy.lease_ms / 1000
        self._calm_since = math.inf
        self._stopping = False
        self._sleeping: set[asyncio.Task[None]] = set()
        self._collecting: dict[str | None, asyncio.Semaphore] = defaultdict(
            partial(asyncio.Semaphore, _COLLECTING_MAX)
        )

    @property
    def in_hand(self) -> int:
        """How many tasks this worker drives now."""
        return len(self._drives)

    async def run(self, stop: asyncio.Event, grace_s: float) -> None:
        """Work until `stop`, then finish the calls under way, within `grace_s`, and hand back."""
        self._gateway.watch.on_work(self._wake.set)
        try:
            await self._register()
        except StoreError as error:
            # Until it is registered it can claim nothing; the renewal sees to that.
            log.warning("worker not registered", extra={"detail": str(error)})
        async with asyncio.TaskGroup() as group:
            loops = [
                group.create_task(self._claim_loop()),
                group.create_task(self._renew_loop()),
                *(group.create_task(self._chore_loop(*chore)) for chore in _CHORES),
                group.create_task(self._chore_loop(self._bury_dead, _BURY_MS)),
                group.create_task(self._chore_loop(self._let_go_forgotten, _FORGOTTEN_MS)),
            ]
            await stop.wait()
            self._stopping = True
            loops[0].cancel()
            await self._drain(grace_s)
            for loop in loops:
                loop.cancel()
        await self._sign_off()

    # ---- the lease ------------------------------------------------------------------------

    async def _register(self) -> None:
        now_ms = self._gateway.clock.now_ms()
        self._id = new_id("worker", now_ms)
        until_ms = now_ms + self._gateway.policy.lease_ms

        def register(tx: Writer) -> None:
            if not self._gateway.db.shared:
                # One SQLite file has one worker, and it is this one: the others are dead.
                leases.bury_everyone(tx)
            leases.register(tx, self._id, now_ms, until_ms)

        await self._gateway.db.write(register)
        crash_point("worker.after_register_commit")
        log.info("worker started", extra={"worker_id": self._id})

    async def _renew_loop(self) -> None:
        """Until it is known to be buried a worker goes on: its writes are fenced anyway, and what
        an upstream has answered it may yet be able to record.
        """
        while True:
            await asyncio.sleep(self._lease_s / _RENEWALS_PER_LEASE)
            try:
                if not await self._renew():
                    await self._lose_everything()
                    await self._register()
                self._calm_since = min(self._calm_since, time.monotonic())
            except StoreError as error:
                self._calm_since = math.inf
                log.warning("lease not renewed", extra={"detail": str(error)})

    async def _renew(self) -> bool:
        until_ms = self._gateway.clock.now_ms() + self._gateway.policy.lease_ms
        return await self._gateway.db.write(
            partial(leases.renew, worker_id=self._id, lease_until_ms=until_ms)
        )

    async def _lose_everything(self) -> None:
        log.warning("lease lost: dropping all tasks in hand", extra={"worker_id": self._id})
        dropped = list(self._drives.values())
        for drive in dropped:
            drive.cancel()
        await asyncio.gather(*dropped, return_exceptions=True)

    async def _sign_off(self) -> None:
        with contextlib.suppress(StoreError):
            await self._gateway.db.write(lambda tx: leases.sign_off(tx, self._id))
        log.info("worker stopped", extra={"worker_id": self._id})

    # ---- claiming -------------------------------------------------------------------------

    async def _claim_loop(self) -> None:
        while True:
            looked_at = time.monotonic()
            try:
                full = await self._claim()
            except StoreError as error:
                log.warning("can't claim tasks", extra={"detail": str(error)})
                full = False
            except Exception:
                log.exception("can't claim tasks")
                full = False
            if not full:
                look_ms = min(_LOOK_MS, self._gateway.upstreams.wait_ms(self._lanes))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(look_ms / 1000):
                        await self._wake.wait()
                self._wake.clear()
                pause_s = looked_at + _LOOK_MS_MIN / 1000 - time.monotonic()
                await asyncio.sleep(max(0.0, pause_s))

    async def _claim(self) -> bool:
        """Take what is due: all that was sent before, and what can be sent now. What has to wait
        for a place upstream waits in the queue, in order. Returns whether there may be more.
        """
        room = min(self._claim_batch, self._concurrency - len(self._drives))
        if room <= 0:
            return False
        worker_id, now_ms = self._id, self._gateway.clock.now_ms()
        sent, lanes = await self._gateway.db.read(partial(tasks.waiting, now_ms=now_ms))
        quotas = self._quotas([Lane.parse(lane) for lane in lanes], room)
        if not sent and not quotas:
            return False
        claimed = await self._gateway.db.write(
            partial(
                leases.claim,
                worker_id=worker_id,
                now_ms=now_ms,
                room=room,
                sent=sent,
                quotas=quotas,
            )
        )
        crash_point("claim.after_commit")
        if worker_id != self._id:
            return False  # the lease was lost meanwhile, and these with it
        for task in claimed:
            self._start(task)
        return len(claimed) >= room

    def _quotas(self, lanes: list[Lane], room: int) -> dict[Lane, int]:
        """How many tasks of each lane to take in hand."""
        unsent = self._unsent.values()
        aside = Counter(drive.task.lane for drive in unsent if not drive.in_line)
        self._lanes = [lane for lane in lanes if aside[lane] < _ASIDE_MAX]
        going = [drive.task.lane for drive in unsent if drive.in_line]
        return self._gateway.upstreams.quotas(self._lanes, going, room)

    def _start(self, task: Task) -> None:
        drive = Drive(task)
        job = asyncio.create_task(self._drive(drive), name=task.id)
        self._drives[task.id] = job
        self._look_at(drive)
        job.add_done_callback(self._forget)

    def _forget(self, job: asyncio.Task[None]) -> None:
        """Unless the task has come back since, and another drive has it."""
        if self._drives.get(job.get_name()) is job:
            del self._drives[job.get_name()]
            self._unsent.pop(job.get_name(), None)

    # ---- driving --------------------------------------------------------------------------

    async def _drive(self, drive: Drive) -> None:
        """Step after step until the task has ended, is somebody else's, or the worker stops."""
        try:
            wait_ms: int | None = 0
            while wait_ms is not None:
                if wait_ms > 0:
                    await self._sleep(wait_ms)
                if self._stopping:
                    return
                slot = drive.slot
                wait_ms = await self._step(drive)
                self._look_at(drive)
                if slot not in (None, drive.slot) and self._lanes:
                    self._wake.set()  # there is a place upstream for another
        finally:
            drive.release()

    def _look_at(self, drive: Drive) -> None:
        """Note whether a task is still to be sent."""
        if drive.task.state is State.QUEUED:
            self._unsent[drive.task.id] = drive
        else:
            self._unsent.pop(drive.task.id, None)

    async def _sleep(self, wait_ms: int) -> None:
        if self._stopping:
            return
        me = asyncio.current_task()
        assert me is not None
        self._sleeping.add(me)
        try:
            await asyncio.sleep(wait_ms / 1000)
        finally:
            self._sleeping.discard(me)

    async def _step(self, drive: Drive) -> int | None:
        try:
            if drive.task.state is State.COLLECTING:
                async with self._collecting[drive.task.upstream]:
                    if self._stopping:
                        return None
                    return await advance.step(self._gateway, drive)
            return await advance.step(self._gateway, drive)
        except StoreError as error:
            log.warning("step failed", extra={"task_id": drive.task.id, "detail": str(error)})
            return int(_STORE_TROUBLE_MS * random.uniform(1.0, 3.0))
        except Exception:
            log.exception("step failed", extra={"task_id": drive.task.id})
            return int(_STORE_TROUBLE_MS * random.uniform(5.0, 15.0))

    async def _drain(self, grace_s: float) -> None:
        """Those that sleep stop at once; those in the middle of a call get `grace_s`."""
        drives = list(self._drives.values())
        if not drives:
            return
        log.info("draining", extra={"tasks": len(drives)})
        for sleeper in list(self._sleeping):
            sleeper.cancel()
        _, late = await asyncio.wait(drives, timeout=grace_s)
        for drive in late:
            drive.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _bury_dead(self, gateway: Gateway) -> int:
        """Who could not renew himself can't tell who is dead: all may have been cut off."""
        if time.monotonic() - self._calm_since < self._lease_s:
            return 0
        return await sweep.free_dead_workers(gateway, but=self._id)

    async def _let_go_forgotten(self, gateway: Gateway) -> int:
        """Hand back what is leased to this worker but in nobody's hands, seen so twice.

        That is what a drive leaves behind whose write may have happened or not.
        """
        worker_id = self._id
        leased = await gateway.db.read(partial(tasks.leased_by, worker_id=worker_id))
        forgotten = leased - self._drives.keys()
        twice, self._forgotten = sorted(forgotten & self._forgotten), forgotten
        if not twice:
            return 0
        log.warning("tasks without a drive", extra={"worker_id": worker_id, "tasks": len(twice)})
        return await gateway.db.write(
            partial(tasks.let_go, worker_id=worker_id, task_ids=twice[:500])
        )

    # ---- chores ---------------------------------------------------------------------------

    async def _chore_loop(self, chore: Callable[[Gateway], Awaitable[int]], every_ms: int) -> None:
        while True:
            try:
                if await chore(self._gateway):
                    self._wake.set()
            except StoreError as error:
                log.warning("chore failed", extra={"chore": chore.__name__, "detail": str(error)})
            except Exception:
                log.exception("chore failed", extra={"chore": chore.__name__})
            await asyncio.sleep(every_ms / 1000 * random.uniform(0.9, 1.1))
