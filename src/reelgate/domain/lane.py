"""What an upstream must be able to do for a task: those of one lane can go to the same ones."""

from typing import NamedTuple


class Lane(NamedTuple):
    """`tier` is empty where the source decides it and is not measured yet: any will do.

    `upstream`, where it is set, is the only one that may be asked: it may have the job already.
    """

    model: str
    operation: str
    tier: str = ""
    upstream: str = ""

    def __str__(self) -> str:
        return "|".join(self)

    @classmethod
    def parse(cls, text: str) -> "Lane":
        """What `str` made of a lane."""
        return cls(*text.split("|"))
