"""An upstream's limits, shared by all nodes on one database."""

from reelgate.store.database import Reader, Writer

_US_PER_S = 1_000_000
_US_PER_MS = 1_000


def take(tx: Writer, upstream: str, interval_us: int, now_ms: int) -> int:
    """Take one of the upstream's submits: 0, or how many ms until there is one to take.

    A burst of one second's worth is let through, then one submit every `interval_us`.
    """
    now_us = now_ms * _US_PER_MS
    burst_us = max(0, _US_PER_S - interval_us)
    tx.run(
        "INSERT INTO upstream_pace (name, next_us) VALUES (?, 0) ON CONFLICT DO NOTHING",
        (upstream,),
    )
    taken = tx.run(
        "UPDATE upstream_pace SET next_us = CASE WHEN next_us > ? THEN next_us ELSE ? END + ? "
        "WHERE name = ? AND next_us <= ?",
        (now_us, now_us, interval_us, upstream, now_us + burst_us),
    )
    if taken:
        return 0
    row = tx.one("SELECT next_us FROM upstream_pace WHERE name = ?", (upstream,))
    ahead_us = (row[0] if row else now_us) - now_us - burst_us
    return max(1, int(ahead_us) // _US_PER_MS + 1)


def in_flight(tx: Reader, upstream: str) -> int:
    """How many jobs the upstream has, of all nodes."""
    row = tx.one(
        "SELECT COUNT(*) FROM task WHERE upstream = ? AND state IN ('sending', 'running')",
        (upstream,),
    )
    return int(row[0]) if row else 0
