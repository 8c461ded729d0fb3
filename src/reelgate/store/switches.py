"""Upstreams that the operator has switched off, and those that nodes leave alone.

Every node reads the first and writes the second every few seconds.
"""

from dataclasses import dataclass

from reelgate.store.database import Reader, Writer


@dataclass(frozen=True, slots=True)
class Switch:
    """Since when an upstream is off, and why."""

    disabled_at_ms: int
    note: str


def disabled(tx: Reader) -> dict[str, Switch]:
    """The switched-off upstreams by name."""
    rows = tx.all("SELECT name, disabled_at_ms, note FROM upstream_switch")
    return {row[0]: Switch(row[1], row[2]) for row in rows}


def disable(tx: Writer, name: str, now_ms: int, note: str) -> bool:
    """False when it is off already; then its note and time stay."""
    return (
        tx.run(
            "INSERT INTO upstream_switch (name, disabled_at_ms, note) VALUES (?,?,?) "
            "ON CONFLICT DO NOTHING",
            (name, now_ms, note),
        )
        == 1
    )


def enable(tx: Writer, name: str) -> bool:
    """False when it was on."""
    return tx.run("DELETE FROM upstream_switch WHERE name = ?", (name,)) == 1


# ---- trouble ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with an upstream since when, and until when it is left alone."""

    cause: str
    detail: str
    since_ms: int
    until_ms: int


def troubles(tx: Reader) -> dict[str, Trouble]:
    """The upstreams that a node leaves alone, or has not seen work since it did, by name."""
    rows = tx.all("SELECT name, cause, detail, since_ms, until_ms FROM upstream_trouble")
    return {row[0]: Trouble(*row[1:]) for row in rows}


def note_trouble(tx: Writer, name: str, trouble: Trouble) -> None:
    """Trouble that goes on keeps its beginning."""
    tx.run(
        "INSERT INTO upstream_trouble (name, cause, detail, since_ms, until_ms) "
        "VALUES (?,?,?,?,?) ON CONFLICT (name) DO UPDATE SET "
        "since_ms = CASE WHEN upstream_trouble.cause = excluded.cause "
        "THEN upstream_trouble.since_ms ELSE excluded.since_ms END, "
        "cause = excluded.cause, detail = excluded.detail, until_ms = excluded.until_ms",
        (name, trouble.cause, trouble.detail, trouble.since_ms, trouble.until_ms),
    )


def forget_trouble(tx: Writer, name: str) -> None:
    """It works."""
    tx.run("DELETE FROM upstream_trouble WHERE name = ?", (name,))
