"""Which upstream gets a job: by what it can do, priority, weight, its limits and its health."""

import logging
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from reelgate.domain.lane import Lane
from reelgate.domain.model import Operation
from reelgate.providers.base import Cause, CheckReport, Provider
from reelgate.store import pacing

log = logging.getLogger("reelgate.upstream")

LOOK_AGAIN_MS = 500
_UNLIMITED = 1_000_000
_WISH_MS_MAX = 300_000
# Submits without an answer: should the upstream have gone silent, each is a stranded task.
_UNANSWERED_MIN = 8
_UNANSWERED_S = 10

Monotonic = Callable[[], float]


@dataclass(slots=True)
class TokenBucket:
    """Lets `per_second` things happen, with a burst of one second's worth (at least one)."""

    per_second: float
    clock: Monotonic = time.monotonic
    _next_us: int = 0

    def turns(self) -> int:
        """How many may happen now."""
        return pacing.turns(self._next_us, self._now_us(), self._interval_us)

    def wait_ms(self) -> int:
        """0 when one may happen now, else how long until one may."""
        return _ms(pacing.wait_us(self._next_us, self._now_us(), self._interval_us))

    def take(self) -> None:
        """One happens."""
        self._next_us = max(self._next_us, self._now_us()) + self._interval_us

    def hold(self, wait_ms: int) -> None:
        """None for so long: other nodes have had theirs."""
        ahead_us = pacing.burst_us(self._interval_us) + wait_ms * 1000
        self._next_us = max(self._next_us, self._now_us() + ahead_us)

    @property
    def _interval_us(self) -> int:
        return pacing.interval_us(self.per_second)

    def _now_us(self) -> int:
        return round(self.clock() * 1_000_000)


def _ms(us: int) -> int:
    return -(-us // 1000)


@dataclass(frozen=True, slots=True)
class Rest:
    """After how many failures in a row an upstream is left alone, and for how long: `first_ms`,
    twice as long after every probe that fails, up to `longest_ms`.
    """

    failures: int
    first_ms: int
    longest_ms: int


_DOWN = Rest(failures=3, first_ms=5_000, longest_ms=300_000)
_BUSY = Rest(failures=1, first_ms=1_000, longest_ms=60_000)
# Time alone will not mend these: the operator has to act.
_LASTING = Rest(failures=1, first_ms=60_000, longest_ms=300_000)
RESTS: Mapping[Cause, Rest] = {
    Cause.NETWORK: _DOWN,
    Cause.UNREADABLE: _DOWN,
    Cause.JOB_UNKNOWN: _DOWN,
    Cause.OVERLOADED: _DOWN,
    Cause.RATE_LIMITED: _BUSY,
    Cause.CREDITS_EXHAUSTED: _LASTING,
    Cause.BAD_CREDENTIALS: _LASTING,
    Cause.MODEL_UNAVAILABLE: _LASTING,
    Cause.ZERO_DATA_RETENTION: _LASTING,
}


def what_is_wrong(report: CheckReport) -> Cause | None:
    """What a check has found; None when nothing speaks against sending a job."""
    if not report.reachable:
        return Cause.NETWORK
    if report.authorized is False:
        return Cause.BAD_CREDENTIALS
    return Cause.MODEL_UNAVAILABLE if report.models_missing else None


@dataclass(slots=True)
class Breaker:
    """Leaves an upstream alone that does not work; after a rest, one job at a time tries it.

    What was sent before a rest says nothing about the time after it: each submit belongs to a
    `round`, which a rest ends.
    """

    clock: Monotonic = time.monotonic
    cause: Cause | None = None
    detail: str = ""
    round: int = 0
    _failures: int = 0
    _rest_ms: int = 0
    _rests_until: float = 0.0
    _probing: bool = False

    @property
    def stage(self) -> tuple[int, bool]:
        """Changes whenever there is something to tell of it."""
        return self.round, self.resting

    @property
    def resting(self) -> bool:
        """Whether it has been left alone and no job has gone through since."""
        return self._rest_ms > 0

    def turns(self) -> int:
        """How many jobs may be sent now."""
        if not self.resting:
            return _UNLIMITED
        return 0 if self._probing or self.wait_ms() else 1

    def wait_ms(self) -> int:
        """How much of the rest is left."""
        return max(0, math.ceil(round((self._rests_until - self.clock()) * 1000, 3)))

    def begin(self) -> bool:
        """A job goes out; whether it is the one that tries."""
        self._probing = self._probing or self.resting
        return self.resting

    def good(self) -> None:
        """The upstream answered like one that works."""
        self.cause, self.detail = None, ""
        self._failures, self._rest_ms, self._rests_until = 0, 0, 0.0
        self._probing = False

    def bad(self, cause: Cause, detail: str = "", wish_ms: int | None = None) -> bool:
        """It did not; whether it rests now. `wish_ms` is how long it asks to be left alone."""
        self.cause, self.detail = cause, detail
        self._failures += 1
        rest = RESTS[cause]
        if not self.resting and self._failures < rest.failures and wish_ms is None:
            return False
        self._rest_ms = max(rest.first_ms, min(self._rest_ms * 2, rest.longest_ms))
        wait_ms = max(self._rest_ms, min(wish_ms or 0, _WISH_MS_MAX))
        self._rests_until = self.clock() + wait_ms / 1000
        self._probing = False
        self.round += 1
        return True

    def untold(self) -> None:
        """The one that tried was not sent after all, or nobody knows what became of it."""
        self._probing = False


@dataclass(slots=True)
class Upstream:
    """One configured upstream and how it is doing. `in_flight` counts its jobs of this node;
    `told` is the stage of its breaker that other processes know of.
    """

    name: str
    provider: Provider
    models: Mapping[str, str]
    priority: int = 0
    weight: int = 1
    max_in_flight: int = 200
    bucket: TokenBucket = field(default_factory=lambda: TokenBucket(1.0))
    breaker: Breaker = field(default_factory=Breaker)
    operations: frozenset[Operation] = frozenset(Operation)
    tiers: frozenset[str] = frozenset()
    in_flight: int = 0
    unanswered: int = 0
    disabled: bool = False
    told: tuple[int, bool] | None = None

    def can_do(self, lane: Lane) -> bool:
        """Whether it could ever take a task of this lane."""
        return (
            lane.model in self.models
            and lane.operation in self.operations
            and lane.operation in self.provider.operations
            and (not self.tiers or not lane.tier or lane.tier in self.tiers)
        )

    def turns(self) -> int:
        """How many jobs it may be sent now."""
        if self.disabled:
            return 0
        unanswered_max = max(_UNANSWERED_MIN, int(self.bucket.per_second * _UNANSWERED_S))
        return max(
            0,
            min(
                self.max_in_flight - self.in_flight,
                unanswered_max - self.unanswered,
                self.bucket.turns(),
                self.breaker.turns(),
            ),
        )

    def wait_ms(self) -> int:
        """0 when it may be sent a job now, else when to look again."""
        if self.turns() > 0:
            return 0
        return max(self.bucket.wait_ms(), self.breaker.wait_ms()) or LOOK_AGAIN_MS

    def begin(self) -> "Attempt":
        """Take a turn for a job that is about to be sent."""
        self.bucket.take()
        self.unanswered += 1
        return Attempt(self, self.breaker.round, self.breaker.begin())

    def enable(self) -> None:
        """The operator has switched it on again: what was wrong before does not count."""
        self.disabled = False
        self.breaker.good()


@dataclass(slots=True)
class Attempt:
    """A job on its way to an upstream: told `good` or `bad` at most once, and closed at the end.

    `probe`: it is the one that tries whether the upstream works again.
    """

    upstream: Upstream
    round: int
    probe: bool
    _told: bool = False

    def good(self) -> None:
        """The upstream answered like one that works."""
        breaker = self.upstream.breaker
        if self._counts():
            if breaker.resting:
                log.info("upstream works again", extra={"upstream": self.upstream.name})
            breaker.good()

    def bad(self, cause: Cause, detail: str = "", wish_ms: int | None = None) -> None:
        """It did not; see `Breaker.bad`."""
        breaker = self.upstream.breaker
        if self._counts() and breaker.bad(cause, detail, wish_ms):
            log.warning(
                "upstream is left alone",
                extra={
                    "upstream": self.upstream.name,
                    "cause": cause.value,
                    "detail": detail,
                    "for_ms": breaker.wait_ms(),
                },
            )

    def close(self) -> None:
        """It is no longer under way."""
        self.upstream.unanswered -= 1
        if self.probe and self._counts():
            self.upstream.breaker.untold()

    def _counts(self) -> bool:
        if self._told or self.round != self.upstream.breaker.round:
            return False
        self._told = True
        return True


@dataclass(frozen=True, slots=True)
class Wait:
    """No upstream may be sent this job now; look again in `ms`."""

    ms: int


class Upstreams:
    """All configured upstreams."""

    def __init__(self, upstreams: Iterable[Upstream]) -> None:
        self._all = {upstream.name: upstream for upstream in upstreams}

    def __iter__(self) -> Iterator[Upstream]:
        return iter(self._all.values())

    def get(self, name: str | None) -> Upstream | None:
        """An upstream by name; None when it is no longer configured."""
        return self._all.get(name or "")

    def choose(self, lane: Lane, declined: frozenset[str] = frozenset()) -> Upstream | Wait | None:
        """Where to send a task of this lane now; None when no upstream can do it at all.

        Those in `declined` have just declined this very job; they come last.
        """
        able = self._able(lane)
        if not able and not lane.upstream:
            return None
        ready = [up for up in able if up.turns() > 0]
        if not ready:
            return Wait(min((up.wait_ms() for up in able), default=LOOK_AGAIN_MS))
        fresh = [up for up in ready if up.name not in declined] or ready
        first = min(up.priority for up in fresh)
        best = [up for up in fresh if up.priority == first]
        return random.choices(best, [up.weight for up in best])[0]

    def quotas(self, waiting: Iterable[Lane], going: Iterable[Lane], room: int) -> dict[Lane, int]:
        """How many of the tasks that wait in each lane can be sent now, `room` in all.

        Those of the lanes `going` are on their way to an upstream already. Lanes that share an
        upstream share it evenly; those that no upstream can do get all the room, to be told so.
        """
        left = {up.name: up.turns() for up in self}
        for lane in going:
            self._take(lane, left)
        lanes = list(waiting)
        random.shuffle(lanes)
        quotas = {lane: room for lane in lanes if not lane.upstream and not self._able(lane)}
        lanes = [lane for lane in lanes if lane not in quotas]
        while lanes and room > 0:
            for lane in list(lanes):
                if room <= 0:
                    break
                if self._take(lane, left):
                    quotas[lane] = quotas.get(lane, 0) + 1
                    room -= 1
                else:
                    lanes.remove(lane)
        return quotas

    def wait_ms(self, waiting: Iterable[Lane]) -> int:
        """When to look again whether a task of one of these lanes can be sent."""
        waits = [up.wait_ms() for lane in waiting for up in self._able(lane)]
        return min(waits, default=LOOK_AGAIN_MS)

    def _able(self, lane: Lane) -> list[Upstream]:
        if lane.upstream:
            pinned = self._all.get(lane.upstream)
            return [pinned] if pinned and lane.model in pinned.models else []
        return [up for up in self._all.values() if up.can_do(lane)]

    def _take(self, lane: Lane, left: dict[str, int]) -> bool:
        """Give a task of this lane one of the places that are left, where it would be sent."""
        able = [up for up in self._able(lane) if left[up.name] > 0]
        if not able:
            return False
        left[min(able, key=lambda up: up.priority).name] -= 1
        return True
