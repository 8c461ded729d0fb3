"""Which upstream gets a job: by what it can do, priority, weight, its limits and its health."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from reelgate.domain.model import Operation
from reelgate.domain.order import Order
from reelgate.providers.base import Cause, Provider

_BREAKER_FAILURES_MAX = 5
_BREAKER_OPEN_MS = 15_000
_BREAKER_OPEN_MS_MAX = 300_000
# Trouble that time alone will not mend: the operator has to act, so ask rarely.
_LASTING = frozenset(
    {
        Cause.BAD_CREDENTIALS,
        Cause.CREDITS_EXHAUSTED,
        Cause.MODEL_UNAVAILABLE,
        Cause.ZERO_DATA_RETENTION,
    }
)
_LOOK_AGAIN_MS = 500

Monotonic = Callable[[], float]


@dataclass(slots=True)
class TokenBucket:
    """Lets `per_second` things happen, with a burst of one second's worth (at least one)."""

    per_second: float
    clock: Monotonic = time.monotonic
    _tokens: float = field(init=False, default=0.0)
    _at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._tokens = max(1.0, self.per_second)
        self._at = self.clock()

    @property
    def interval_us(self) -> int:
        """Microseconds from one to the next."""
        return max(1, int(1_000_000 / self.per_second))

    def wait_ms(self) -> int:
        """0 when a token is there, else how long until one is."""
        now = self.clock()
        self._tokens = min(
            max(1.0, self.per_second), self._tokens + (now - self._at) * self.per_second
        )
        self._at = now
        if self._tokens >= 1.0:
            return 0
        return int((1.0 - self._tokens) / self.per_second * 1000) + 1

    def take(self) -> None:
        """Spend the token that `wait_ms` has found."""
        self._tokens -= 1.0


@dataclass(slots=True)
class Breaker:
    """Stops sending to an upstream that is down; after a pause one probe finds out more."""

    clock: Monotonic = time.monotonic
    cause: Cause | None = None
    _failures: int = 0
    _open_until: float = 0.0
    _open_ms: int = _BREAKER_OPEN_MS
    _probing: bool = False

    def wait_ms(self) -> int:
        """0 when a job may be sent, else how long until one may."""
        if self._probing:
            return _LOOK_AGAIN_MS
        return max(0, int((self._open_until - self.clock()) * 1000))

    def sending(self) -> None:
        """A job goes out; while half open it is the only one."""
        self._probing = self._open_until > 0

    def sent(self) -> None:
        """The job is out, or was not sent after all: others may go."""
        self._probing = False

    def good(self) -> None:
        """The upstream answered like one that works."""
        self.cause, self._failures, self._open_until = None, 0, 0.0
        self._open_ms, self._probing = _BREAKER_OPEN_MS, False

    def bad(self, cause: Cause, retry_after_ms: int | None = None) -> None:
        """It did not. `retry_after_ms` is its own wish."""
        self.cause = cause
        self._failures += 1
        probe_failed, self._probing = self._probing, False
        if retry_after_ms is not None:
            self._open_until = max(self._open_until, self.clock() + retry_after_ms / 1000)
        lasting = cause in _LASTING
        if lasting or probe_failed or self._failures >= _BREAKER_FAILURES_MAX:
            pause_ms = _BREAKER_OPEN_MS_MAX if lasting else self._open_ms
            self._open_until = max(self._open_until, self.clock() + pause_ms / 1000)
            self._open_ms = min(self._open_ms * 2, _BREAKER_OPEN_MS_MAX)


@dataclass(slots=True)
class Upstream:
    """One configured upstream and how it is doing. `in_flight` counts its jobs of this node."""

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
    disabled: bool = False

    def can_do(self, order: Order) -> bool:
        """Whether it could ever take this order."""
        return (
            order.model in self.models
            and order.operation in self.operations
            and order.operation in self.provider.operations
            and (not self.tiers or order.tier is None or order.tier in self.tiers)
        )

    def wait_ms(self) -> int:
        """0 when it may be sent a job now, else when to look again."""
        if self.in_flight >= self.max_in_flight:
            return _LOOK_AGAIN_MS
        return max(self.bucket.wait_ms(), self.breaker.wait_ms())


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

    def choose(self, order: Order, avoid: frozenset[str] = frozenset()) -> Upstream | Wait | None:
        """Where to send an order now; None when no upstream can do it at all.

        Those in `avoid` have just declined this very job; they come last.
        """
        able = [up for up in self._all.values() if up.can_do(order)]
        if not able:
            return None
        fresh = [up for up in able if up.name not in avoid and not up.disabled]
        candidates = fresh or [up for up in able if not up.disabled]
        ready = [up for up in candidates if up.wait_ms() == 0]
        if not ready:
            return Wait(min((up.wait_ms() for up in candidates), default=_LOOK_AGAIN_MS) or 1)
        first = min(up.priority for up in ready)
        best = [up for up in ready if up.priority == first]
        return random.choices(best, [up.weight for up in best])[0]

    async def close(self) -> None:
        for upstream in self._all.values():
            await upstream.provider.close()
