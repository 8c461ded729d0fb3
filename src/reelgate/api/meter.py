"""Counting requests on the hot path: a quarter of a microsecond each, plain integers.

`metrics.py` turns the counts into text when somebody asks.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

# Upper bounds of the histogram, in microseconds. Answers that are held on purpose
# (`Prefer: wait`, event streams, downloads) end up in the last few.
BOUNDS_US = (
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
)  # fmt: skip
STATUS_CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
NO_ROUTE = "none"


class Counted(Protocol):
    """A route, as far as it is counted."""

    @property
    def method(self) -> str: ...

    @property
    def path(self) -> str: ...


@dataclass(slots=True)
class Cell:
    """What came in on one route since the start of the process."""

    method: str
    route: str
    by_class: list[int] = field(default_factory=lambda: [0] * len(STATUS_CLASSES))
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_US) + 1))
    sum_us: int = 0


class Meter:
    """Counts of one process, by route. Used from one event loop.

    `live_tasks` is the last look at the database: when (monotonic seconds), and tasks by state.
    """

    __slots__ = ("_cells", "live_tasks")

    def __init__(self) -> None:
        # By identity: hashing a route would cost more than all the rest.
        self._cells = {id(None): Cell("any", NO_ROUTE)}
        self.live_tasks: tuple[float, Mapping[str, int]] | None = None

    def add(self, route: Counted) -> None:
        """Count this very object from now on; whoever calls keeps it alive."""
        self._cells[id(route)] = Cell(route.method, route.path)

    def count(self, route: Counted | None, status: int, elapsed_us: int) -> None:
        """One answer; None where no route was found, status 0 where nothing went out."""
        cell = self._cells[id(route)]
        cell.by_class[status // 100] += 1
        cell.buckets[bisect_left(BOUNDS_US, elapsed_us)] += 1
        cell.sum_us += elapsed_us

    def cells(self) -> list[Cell]:
        """The routes that were asked for at least once."""
        return [cell for cell in self._cells.values() if any(cell.by_class)]
