"""How commands print: aligned columns for people, JSON for programs, notes on stderr."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_MS_PER_SECOND = 1000
_MIB = 1024 * 1024


def print_json(value: object) -> None:
    """One JSON value on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_columns(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Rows below their headers on stdout, each column as wide as its widest cell."""
    table = [list(headers), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[at]) for row in table) for at in range(len(headers))]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def note(text: str) -> None:
    """One line for the person who waits, on stderr."""
    print(text, file=sys.stderr, flush=True)


def size_text(bytes_: int) -> str:
    """A number of bytes in MB, as people say it."""
    tenths = (bytes_ * 10 + _MIB // 2) // _MIB
    return f"{tenths // 10}.{tenths % 10} MiB" if tenths else f"{bytes_} bytes"


def when(at_ms: int | None) -> str | None:
    """A moment in milliseconds since the epoch as ISO 8601, UTC."""
    if at_ms is None:
        return None
    moment = datetime.fromtimestamp(at_ms // _MS_PER_SECOND, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def bill_rows(billing: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """The items of a task's bill: item, quantity, unit price, amount."""
    return [
        (
            str(item["item"]),
            f"{item['quantity']} {item['unit']}",
            f"× {item['unit_price']}",
            f"= {item['amount']}",
        )
        for item in billing.get("items") or ()
    ]
