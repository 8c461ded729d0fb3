"""Scripted behaviour: tags in a prompt that make the sandbox act like an upstream in trouble.

`[sandbox:NAME]` or `[sandbox:NAME=ARGUMENT]`, in any letter case, anywhere, any number of them;
of a tag given twice the last one counts. `TAGS` is all there is to know: it is what is read,
refused, and printed in the guide.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from reelgate.domain.errors import ReelgateError
from reelgate.providers.base import Verdict

COUNT_MAX = 1_000_000
SLOW_SECONDS_MAX = 86_400
TICKS_MAX = 10**15  # 100 000 USD
ALWAYS = COUNT_MAX + 1


class BadScript(ReelgateError):
    """A prompt with tags that don't exist or lack what they take; safe to show."""


@dataclass(frozen=True, slots=True)
class Script:
    """How one job is to go. The default is an upstream without a fault.

    `verdict` is how the job ends instead of with a film. Counts are how often something goes
    wrong before it goes right; `ALWAYS` is never right.
    """

    verdict: Verdict | None = None
    refuse: bool = False
    busy: int = 0
    lost_reply: bool = False
    slow_ms: int = 0
    no_progress: bool = False
    poll_trouble: int = 0
    no_cancel: bool = False
    garbage: bool = False
    unreachable: int = 0
    truncated: int = 0
    cost_ticks: int | None = None


@dataclass(frozen=True, slots=True)
class Argument:
    """What stands after a tag's `=`. `read` gives None for what it does not understand."""

    name: str
    allowed: str
    read: Callable[[str], int | None]


@dataclass(frozen=True, slots=True)
class Tag:
    """One row: its name, what it does, and what it sets in a `Script`.

    `sets` are the values without an argument; None: it does not work without one. With one, its
    value goes to `field`.
    """

    name: str
    does: str
    sets: Mapping[str, Any] | None = None
    argument: Argument | None = None
    field: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def usage(self) -> str:
        """How the tag is written: `fail`, `slow=SECONDS`, `unreachable[=N]`."""
        if self.argument is None:
            return self.name
        given = f"={self.argument.name}"
        return self.name + (given if self.sets is None else f"[{given}]")


def _whole(most: int, least: int) -> Callable[[str], int | None]:
    def read(text: str) -> int | None:
        known = re.fullmatch(r"[0-9]{1,16}", text) is not None and least <= int(text) <= most
        return int(text) if known else None

    return read


def _milliseconds(text: str) -> int | None:
    match = re.fullmatch(r"([0-9]{1,6})(?:\.([0-9]{1,3}))?", text)
    if match is None:
        return None
    ms = int(match[1]) * 1000 + int((match[2] or "").ljust(3, "0"))
    return ms if ms <= SLOW_SECONDS_MAX * 1000 else None


_TIMES = Argument("N", f"a whole number from 1 to {COUNT_MAX}", _whole(COUNT_MAX, 1))
_SECONDS = Argument("SECONDS", f"0 to {SLOW_SECONDS_MAX}, with up to three decimals", _milliseconds)
_TICKS = Argument("TICKS", f"a whole number from 0 to {TICKS_MAX}", _whole(TICKS_MAX, 0))

TAGS: tuple[Tag, ...] = (
    Tag("refuse", "the job is refused when it is submitted", {"refuse": True}),
    Tag(
        "busy",
        "the first N submits of a task are turned away as overloaded, nothing taken",
        argument=_TIMES,
        field="busy",
    ),
    Tag(
        "lost-reply",
        "the job is taken and made, but the answer to its submit is lost",
        {"lost_reply": True},
    ),
    Tag("fail", "the job fails", {"verdict": Verdict.FAILED}),
    Tag("moderated", "the job is blocked by content moderation", {"verdict": Verdict.MODERATED}),
    Tag("expired", "the job expires at the upstream", {"verdict": Verdict.EXPIRED}),
    Tag(
        "input-unreachable",
        "the upstream can't fetch an input",
        {"verdict": Verdict.INPUT_UNREACHABLE},
    ),
    Tag(
        "slow",
        "the job stays pending for at least SECONDS, its progress rising",
        argument=_SECONDS,
        field="slow_ms",
    ),
    Tag("no-progress", "a pending job says nothing of its progress", {"no_progress": True}),
    Tag(
        "poll-trouble",
        "the first N polls get no answer",
        argument=_TIMES,
        field="poll_trouble",
    ),
    Tag("no-cancel", "a running job can't be cancelled", {"no_cancel": True}),
    Tag("garbage", "the result is not a video", {"garbage": True}),
    Tag(
        "unreachable",
        "the result can't be downloaded: ever, or the first N times",
        {"unreachable": ALWAYS},
        argument=_TIMES,
        field="unreachable",
        aliases=("result-unreachable",),
    ),
    Tag(
        "truncated",
        "the first N downloads break off half-way; they can be resumed",
        argument=_TIMES,
        field="truncated",
    ),
    Tag(
        "cost",
        "the upstream reports a cost of TICKS, each 10^-10 USD; otherwise it reports none",
        argument=_TICKS,
        field="cost_ticks",
    ),
)

_BY_NAME = {name: tag for tag in TAGS for name in (tag.name, *tag.aliases)}
_WRITTEN = re.compile(r"\s?\[sandbox:([^\[\]]*)\]", re.IGNORECASE)


def read_script(prompt: str) -> tuple[Script, str]:
    """The script in a prompt, and the prompt without it. Raises BadScript."""
    script, problems = Script(), []
    for written in _WRITTEN.findall(prompt):
        name, equals, argument = (part.strip() for part in written.casefold().partition("="))
        try:
            script = replace(script, **_sets(name, argument if equals else None))
        except BadScript as problem:
            problems.append(str(problem))
    if problems:
        raise BadScript("; ".join(problems))
    return script, _WRITTEN.sub("", prompt).strip()


def _sets(name: str, argument: str | None) -> Mapping[str, Any]:
    tag = _BY_NAME.get(name)
    if tag is None:
        known = ", ".join(tag.usage for tag in TAGS)
        raise BadScript(f"[sandbox:{name}] is not known to the sandbox, which has: {known}")
    if argument is None:
        if tag.sets is None:
            raise BadScript(f"[sandbox:{tag.name}] is written [sandbox:{tag.usage}]")
        return tag.sets
    if tag.argument is None:
        raise BadScript(f"[sandbox:{tag.name}] takes nothing, so not {argument!r}")
    value = tag.argument.read(argument)
    if value is None:
        raise BadScript(
            f"[sandbox:{tag.usage}]: {tag.argument.name} is {tag.argument.allowed}, "
            f"not {argument!r}"
        )
    return {tag.field: value}
