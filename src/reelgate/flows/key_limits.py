"""What a key may do: its models, its spending, its tasks in flight."""

from collections.abc import Iterator

from reelgate.domain.errors import Code, Refusal
from reelgate.domain.money import usd
from reelgate.store import key_usage
from reelgate.store.accounts import ApiKey, Limits
from reelgate.store.database import Writer

_IN_FLIGHT_RETRY_AFTER_S = 5


def check_model(key: ApiKey, model: str) -> None:
    """Raises Refusal (`model_not_allowed`)."""
    allowed = key.limits.models
    if allowed is not None and model not in allowed:
        raise Refusal(
            Code.MODEL_NOT_ALLOWED,
            f"This API key may not use {model}; it may use {', '.join(allowed) or 'no model'}.",
            "model",
        )


def check_usage(tx: Writer, key: ApiKey, now_ms: int) -> None:
    """Raises Refusal when the task just counted is one too many, or costs too much, for its key.

    The account's row is locked by the hold before, so that no two tasks of one key count at once.
    """
    limits = key.limits
    if limits.tasks_in_flight_max is None and not limits.spend_limited:
        return
    usage = _usage(tx, key, now_ms)
    if limits.tasks_in_flight_max is not None and usage.live > limits.tasks_in_flight_max:
        raise Refusal(
            Code.RATE_LIMIT_EXCEEDED,
            f"This API key may have {limits.tasks_in_flight_max} tasks in flight, and has them. "
            "Wait for one to end.",
            headers={"retry-after": str(_IN_FLIGHT_RETRY_AFTER_S)},
        )
    _check_spending(limits, usage)


def check_growth(tx: Writer, key: ApiKey, created_at_ms: int) -> None:
    """`check_usage` when the hold of a task made at `created_at_ms` has just grown."""
    if key.limits.spend_limited:
        _check_spending(key.limits, _usage(tx, key, created_at_ms))


def _usage(tx: Writer, key: ApiKey, now_ms: int) -> key_usage.Usage:
    day = key_usage.day_of(now_ms)
    return key_usage.usage(tx, key.family, day, key_usage.first_day_of_month(day))


def _check_spending(limits: Limits, usage: key_usage.Usage) -> None:
    for period, spent, allowed in _spending(limits, usage):
        if spent > allowed:
            raise Refusal(
                Code.SPEND_LIMIT_EXCEEDED,
                f"This API key may spend {usd(allowed)} USD {period}; with this task it could be "
                f"{usd(spent)} USD. Nothing was charged.",
            )


def _spending(limits: Limits, usage: key_usage.Usage) -> Iterator[tuple[str, int, int]]:
    rows = (
        ("per day", usage.day_micro, limits.spend_day_max_micro),
        ("per month", usage.month_micro, limits.spend_month_max_micro),
        ("in total", usage.total_micro, limits.spend_total_max_micro),
    )
    for period, spent, allowed in rows:
        if allowed is not None:
            yield period, spent, allowed
