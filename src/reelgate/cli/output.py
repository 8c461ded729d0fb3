"""How commands print: aligned columns for people, JSON for programs, notes on stderr."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from msgspec import to_builtins

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_MS_PER_SECOND = 1000
_MIB = 1024 * 1024


def print_json(value: object) -> None:
    """One JSON value on stdout; the wire types of the API come out as they do there."""
    print(json.dumps(to_builtins(value), indent=2, ensure_ascii=False))


def print_columns(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Rows below their headers on stdout, each column as wide as its widest cell."""
    table = [list(headers), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[at]) for row in table) for at in range(len(headers))]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def print_fields(value: object, indent: str = "") -> None:
    """An object as `name: value` lines on stdout; what says nothing is left out."""
    for name, field in to_builtins(value).items():
        if field in (None, "", [], {}) or name == "object":
            continue
        if isinstance(field, dict):
            print(f"{indent}{name}:")
            print_fields(field, indent + "  ")
        elif isinstance(field, list) and isinstance(field[0], dict):
            print(f"{indent}{name}:")
            for row in field:
                print(indent + "  " + "  ".join(_shown(*cell) for cell in row.items() if cell[1]))
        else:
            print(f"{indent}{name.removesuffix('_ms')}: {_shown(name, field)}")


def _shown(name: str, field: object) -> str:
    if isinstance(field, int) and name.endswith("at_ms"):
        return str(when(field))
    if isinstance(field, int) and name.endswith("_at"):
        return str(when(field * _MS_PER_SECOND))
    if isinstance(field, list | dict):
        return json.dumps(field, ensure_ascii=False)
    return str(field)


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


def when_s(at_s: int | None) -> str:
    """The same of seconds since the epoch, for a cell of a table."""
    return "" if at_s is None else str(when(at_s * _MS_PER_SECOND))


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
