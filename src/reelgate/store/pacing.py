"""An upstream's limits, shared by all nodes on one database; and the arithmetic of a steady pace.

A pace is one number, `next_us`: when the next turn would come if all were spread evenly. Turns are
let through up to a second ahead of it, which is a burst of one second's worth.
"""

from reelgate.store.database import Reader, Writer

_US_PER_S = 1_000_000
_US_PER_MS = 1_000
# A node whose clock ran ahead may have left a turn in the future; beyond this it is a mistake.
_SKEW_US_MAX = 10 * _US_PER_S
_FULL_LOOK_MS = 500


def interval_us(per_second: float) -> int:
    """Microseconds from one turn to the next."""
    return max(1, round(_US_PER_S / per_second))


def burst_us(interval: int) -> int:
    """How far ahead of an even pace a turn may be taken, in microseconds."""
    return max(0, _US_PER_S - interval)


def turns(next_us: int, now_us: int, interval: int) -> int:
    """How many turns can be taken now."""
    ahead_us = max(0, next_us - now_us)
    return max(0, burst_us(interval) - ahead_us + interval) // interval


def wait_us(next_us: int, now_us: int, interval: int) -> int:
    """0 when a turn can be taken now, else how long until one can."""
    return max(0, next_us - now_us - burst_us(interval))


def enter(tx: Writer, upstream: str, *, per_second: float, in_flight_max: int, now_ms: int) -> int:
    """Take one of the upstream's turns: 0, or in how many ms to ask again; then nothing is taken.

    It holds the upstream's row until the transaction ends: a task that moves to `sending` in the
    same one is counted before the next is let in.
    """
    _lock(tx, upstream)
    row = tx.one("SELECT next_us FROM upstream_pace WHERE name = ?", (upstream,))
    now_us, interval = now_ms * _US_PER_MS, interval_us(per_second)
    next_us = int(row[0]) if row else 0
    if next_us > now_us + interval + burst_us(interval) + _SKEW_US_MAX:
        next_us = now_us
    if left_us := wait_us(next_us, now_us, interval):
        return left_us // _US_PER_MS + 1
    if in_flight(tx, upstream) >= in_flight_max:
        return _FULL_LOOK_MS
    tx.run(
        "UPDATE upstream_pace SET next_us = ? WHERE name = ?",
        (max(next_us, now_us) + interval, upstream),
    )
    return 0


def _lock(tx: Writer, upstream: str) -> None:
    lock = "UPDATE upstream_pace SET next_us = next_us WHERE name = ?"
    if not tx.run(lock, (upstream,)):
        tx.run(
            "INSERT INTO upstream_pace (name, next_us) VALUES (?, 0) ON CONFLICT DO NOTHING",
            (upstream,),
        )
        tx.run(lock, (upstream,))


def in_flight(tx: Reader, upstream: str) -> int:
    """How many jobs the upstream has, of all nodes."""
    row = tx.one(
        "SELECT COUNT(*) FROM task WHERE upstream = ? AND state IN ('sending', 'running')",
        (upstream,),
    )
    return int(row[0]) if row else 0
