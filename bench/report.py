"""What was measured, as tables for people and as JSON."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Row:
    """One thing measured. The name of a column says its unit."""

    name: str
    cells: Mapping[str, Cell]


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure should be, and whether it is."""

    what: str
    measured: float
    least: float | None = None
    most: float | None = None

    @property
    def met(self) -> bool:
        above = self.least is None or self.measured >= self.least
        return above and (self.most is None or self.measured <= self.most)

    def __str__(self) -> str:
        wanted = f"at least {self.least:g}" if self.most is None else f"at most {self.most:g}"
        word = "met" if self.met else "MISSED"
        return f"{word}: {self.what} {_shown(self.measured)}, wanted {wanted}"


@dataclass(frozen=True, slots=True)
class Section:
    """One table and what it should show."""

    title: str
    rows: Sequence[Row]
    bars: Sequence[Bar] = ()
    notes: Sequence[str] = field(default_factory=tuple)

    def text(self) -> str:
        columns = list(dict.fromkeys(name for row in self.rows for name in row.cells))
        table = [["", *columns]]
        table += [
            [row.name, *(_shown(row.cells.get(name)) for name in columns)] for row in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
            for line in table
        ]
        below = [*self.notes, *map(str, self.bars)]
        return "\n".join([self.title, *(f"  {line}" for line in (*lines, *below))])

    def plain(self) -> dict[str, object]:
        """The same as JSON has it."""
        return {
            "title": self.title,
            "rows": {row.name: dict(row.cells) for row in self.rows},
            "bars": [
                {"what": bar.what, "measured": bar.measured, "met": bar.met} for bar in self.bars
            ],
            "notes": list(self.notes),
        }


def text(sections: Iterable[Section]) -> str:
    return "\n\n".join(section.text() for section in sections)


def _shown(value: Cell) -> str:
    match value:
        case None:
            return ""
        case float() if abs(value) < 1:
            return f"{value:.2f}"
        case float() if abs(value) < 100:
            return f"{value:.1f}"
        case float() | int():
            return f"{value:,.0f}".replace(",", " ")
        case _:
            return value
