"""Shows a person how far a task is: a bar on a terminal, a line per change elsewhere."""

import sys
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from reelgate.cli.output import note

_STEP_PERCENT = 25
_WORDS = {"queued": "waiting", "in_progress": "making", "completed": "made", "failed": "failed"}


class Display(Protocol):
    """Is told of every answer, and of every chunk of the download."""

    def task(self, status: str, percent: int) -> None: ...

    def bytes(self, done: int, total: int | None) -> None: ...

    def close(self) -> None: ...


def display(*, quiet: bool) -> Display:
    """The display that fits where stderr goes."""
    if quiet:
        return _Nothing()
    return _Bar() if sys.stderr.isatty() else _Lines()


class _Nothing:
    def task(self, status: str, percent: int) -> None:
        """Say nothing."""

    def bytes(self, done: int, total: int | None) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Nothing to end."""


class _Lines:
    """`making 50%`, when the word changes or a quarter has been done."""

    def __init__(self) -> None:
        self._said: tuple[str, int] = ("", 0)

    def task(self, status: str, percent: int) -> None:
        word = _WORDS.get(status, status)
        step = percent // _STEP_PERCENT
        if (word, step) != self._said:
            self._said = (word, step)
            note(f"{word} {percent}%")

    def bytes(self, done: int, total: int | None) -> None:
        if self._said[0] != "downloading":
            self._said = ("downloading", 0)
            note("downloading")

    def close(self) -> None:
        """Every line has been written."""


class _Bar:
    """One bar for the making, filled again by the download."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<11}"),
            BarColumn(bar_width=40),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )
        self._id = self._progress.add_task("waiting", total=100)
        self._progress.start()

    def task(self, status: str, percent: int) -> None:
        word = _WORDS.get(status, status)
        self._progress.update(self._id, description=word, completed=percent, total=100)

    def bytes(self, done: int, total: int | None) -> None:
        self._progress.update(
            self._id, description="downloading", completed=done, total=total or None
        )

    def close(self) -> None:
        self._progress.stop()
