"""The audit log: every change an operator made, by whom. The database itself refuses to edit it."""

from dataclasses import dataclass
from typing import Any

import msgspec

from reelgate.store.database import Reader, Writer

# Who acts through the command line: somebody with access to the database itself.
LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Entry:
    """`actor` did `action` to `subject`. `detail` holds no secret; amounts are micro-USD."""

    id: int
    at_ms: int
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


def append(
    tx: Writer, actor: str, action: str, subject: str, now_ms: int, **detail: object
) -> None:
    """Record a change in the transaction that makes it."""
    tx.run(
        "INSERT INTO audit (at_ms, actor, action, subject, detail_json) VALUES (?,?,?,?,?)",
        (now_ms, actor, action, subject, msgspec.json.encode(detail).decode()),
    )


def page(
    tx: Reader, *, subject: str | None = None, before_id: int | None = None, limit: int = 100
) -> list[Entry]:
    """Entries newest first, beginning before `before_id`; about one subject only, if given."""
    conditions = {"subject = ?": subject, "id < ?": before_id}
    given = {text: value for text, value in conditions.items() if value is not None}
    where = " AND ".join(given) or "1 = 1"
    rows = tx.all(
        "SELECT id, at_ms, actor, action, subject, detail_json FROM audit "
        f"WHERE {where} ORDER BY id DESC LIMIT ?",
        (*given.values(), limit),
    )
    return [
        Entry(entry_id, at_ms, actor, action, about, msgspec.json.decode(detail))
        for entry_id, at_ms, actor, action, about, detail in rows
    ]
