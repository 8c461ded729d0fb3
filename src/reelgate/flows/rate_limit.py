"""How many requests a key may make each second, counted by each node for itself.

A bucket holds one second's worth of requests and fills steadily. It is kept as the moment at which
it will be full again (the generic cell rate algorithm): one number per key, nothing to refill.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from reelgate.domain.errors import Code, Refusal
from reelgate.store.accounts import ApiKey

_NS_PER_S = 1_000_000_000
_BUCKETS_MAX = 10_000

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Room:
    """How a key stands: what it may do at once, and when it may do all it may again."""

    per_second: int
    remaining: int
    reset_ns: int

    def headers(self) -> Headers:
        """OpenAI's three, and those of the IETF draft (draft-ietf-httpapi-ratelimit-headers-10)."""
        reset_ms = -(-self.reset_ns // 1_000_000)
        reset_s = -(-reset_ms // 1000)
        return (
            (b"x-ratelimit-limit-requests", b"%d" % self.per_second),
            (b"x-ratelimit-remaining-requests", b"%d" % self.remaining),
            (b"x-ratelimit-reset-requests", b"%dms" % reset_ms),
            (b"ratelimit-policy", b'"requests";q=%d;w=1' % self.per_second),
            (b"ratelimit", b'"requests";r=%d;t=%d' % (self.remaining, reset_s)),
        )


class RateLimiter:
    """The buckets of one node. Only keys with a limit ever come here."""

    def __init__(self, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock_ns = clock_ns
        self._full_at_ns: dict[str, int] = {}

    def take(self, key: ApiKey, per_second: int) -> Room:
        """Count one request. Raises Refusal (`rate_limit_exceeded`); that one is not counted."""
        now_ns = self._clock_ns()
        each_ns = _NS_PER_S // per_second
        full_at_ns = max(self._full_at_ns.get(key.family, 0), now_ns) + each_ns
        over_ns = full_at_ns - now_ns - per_second * each_ns
        if over_ns > 0:
            raise _refusal(Room(per_second, 0, full_at_ns - each_ns - now_ns))
        if len(self._full_at_ns) >= _BUCKETS_MAX:
            self._drop_full(now_ns)
        self._full_at_ns[key.family] = full_at_ns
        return Room(per_second, -over_ns // each_ns, full_at_ns - now_ns)

    def _drop_full(self, now_ns: int) -> None:
        """A full bucket says nothing."""
        self._full_at_ns = {
            family: full_at_ns
            for family, full_at_ns in self._full_at_ns.items()
            if full_at_ns > now_ns
        }


def _refusal(room: Room) -> Refusal:
    headers = {name.decode(): value.decode() for name, value in room.headers()}
    return Refusal(
        Code.RATE_LIMIT_EXCEEDED,
        f"This API key may make {room.per_second} requests per second, and has. "
        "Wait a second, then send it again.",
        headers={**headers, "retry-after": "1"},
    )
