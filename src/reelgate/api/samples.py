"""Answers to show in the reference: made by the code that makes the real ones, so they agree."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from reelgate.api import model_cards, wire
from reelgate.api.errors import KINDS, ErrorBody, ErrorEnvelope
from reelgate.domain.errors import Refusal
from reelgate.domain.model import ModelSpec, Operation
from reelgate.domain.order import Draft, SourceFacts
from reelgate.domain.quote import Terms, final_bill, quote
from reelgate.domain.rules import check
from reelgate.domain.task import Result, State, Task

_CREATED_AT_MS = 1_795_370_400_000
_TOOK_MS = 21_000
_KEPT_MS = 7 * 86_400_000
_ID = "task_" + "2aljkxedknzfsdcufmm6bxk3ozbwqhzc"
_LINK = "https://…/v1/videos/{0}/content?expires={1}&sig=…"

# By type, then by what the sample shows.
Samples = Mapping[Any, Mapping[str, Any]]


def samples(models: Mapping[str, ModelSpec]) -> Samples:
    """Samples of the types that a newcomer looks at first, at the prices in force."""
    specs = list(models.values())
    queued = _queued(specs[0])
    completed = _completed(queued, specs[0])
    link = _LINK.format(queued.id, (completed.expires_at_ms or 0) // 1000)
    order = queued.order
    shown: dict[Any, dict[str, Any]] = {
        wire.Video: {
            "queued": wire.video(queued, None),
            "completed": wire.video(completed, link),
        },
        wire.VideoPage: {"page": wire.page([(completed, link)], has_more=True)},
        wire.VideoDeleted: {"deleted": wire.VideoDeleted(id=queued.id)},
        wire.Estimate: {
            "estimate": wire.estimate(order.model, order.operation, queued.terms.quoted)
        },
        wire.Balance: {"balance": wire.balance(24_580_000, queued.held_micro)},
        model_cards.ModelList: {"models": model_cards.model_list(specs)},
        model_cards.ModelCard: {"model": model_cards.model_card(specs[0])},
        model_cards.Pricing: {"prices": model_cards.pricing(specs)},
        ErrorEnvelope: {"refused": _refused(specs[0])},
    }
    return {
        of: {name: msgspec.to_builtins(value) for name, value in named.items()}
        for of, named in shown.items()
    }


def _queued(spec: ModelSpec) -> Task:
    draft = Draft(
        spec.id,
        prompt="A paper boat crossing a moonlit harbour",
        seconds=6,
        size=spec.tiers[-1],
        metadata={"shot": "12b"},
    )
    order = check(draft, spec)
    quoted = quote(order, spec, spec.prices_micro, None)
    return Task(
        id=_ID,
        account_id="",
        key_id="",
        model=spec.id,
        operation=order.operation.value,
        state=State.QUEUED,
        epoch=0,
        revision=0,
        created_at_ms=_CREATED_AT_MS,
        due_at_ms=_CREATED_AT_MS,
        deadline_at_ms=_CREATED_AT_MS,
        held_micro=quoted.total_micro,
        progress=0,
        attempts=0,
        order=order,
        terms=Terms(spec.prices_micro, quoted),
    )


def _completed(task: Task, spec: ModelSpec) -> Task:
    ended_at_ms, duration_ms = _CREATED_AT_MS + _TOOK_MS, (task.order.seconds or 0) * 1000
    width, height = spec.pixels(task.order.tier or "", task.order.aspect_ratio or "")
    delivered = SourceFacts(width, height, duration_ms)
    return replace(
        task,
        state=State.COMPLETED,
        progress=100,
        result=Result("", 0, "", duration_ms, width, height, 0),
        bill=final_bill(task.order, spec, task.terms, delivered, None, task.held_micro),
        ended_at_ms=ended_at_ms,
        expires_at_ms=ended_at_ms + _KEPT_MS,
    )


def _refused(spec: ModelSpec) -> ErrorEnvelope:
    """What really comes back for too long a video."""
    longest = spec.operations[Operation.TEXT_TO_VIDEO].seconds
    try:
        check(Draft(spec.id, prompt="…", seconds=longest.high + 5 if longest else 1), spec)
    except Refusal as refusal:
        kind = KINDS[refusal.code]
        body = ErrorBody(refusal.message, kind.type, refusal.param, refusal.code.value)
        return ErrorEnvelope(body)
    raise AssertionError("the sample request is not refused")
