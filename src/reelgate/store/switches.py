"""Upstreams that the operator has switched off. Every node reads this table every few seconds."""

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
