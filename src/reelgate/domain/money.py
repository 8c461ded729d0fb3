"""Money: integers of micro-USD (10^-6 USD) everywhere, decimal strings at the edges."""

from decimal import Decimal, InvalidOperation

MICRO_PER_USD = 1_000_000
# xAI reports what a job cost it in ticks of 10^-10 USD (facts: `cost_in_usd_ticks`).
TICKS_PER_MICRO = 10_000
# Ten billion dollars: far under int64, far over any balance.
AMOUNT_MICRO_MAX = 10_000_000_000 * MICRO_PER_USD


def usd(micro: int) -> str:
    """Micro-USD as a decimal string with at least two places: 420000 is `0.42`."""
    sign = "-" if micro < 0 else ""
    whole, fraction = divmod(abs(micro), MICRO_PER_USD)
    digits = f"{fraction:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{digits}"


def usd_of_ticks(ticks: int) -> str:
    """Upstream ticks as a decimal string of USD, exactly: 500000001 is `0.0500000001`."""
    sign = "-" if ticks < 0 else ""
    whole, fraction = divmod(abs(ticks), MICRO_PER_USD * TICKS_PER_MICRO)
    digits = f"{fraction:010d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{digits}"


def parse_usd(text: str) -> int:
    """A decimal string of USD as micro-USD, exactly.

    Raises ValueError when it is not a plain decimal number, has more than six places, or is
    larger than `AMOUNT_MICRO_MAX`.
    """
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        raise ValueError(f"{text!r} is not an amount in USD; write it like 12.50") from None
    if not value.is_finite() or abs(value) > AMOUNT_MICRO_MAX // MICRO_PER_USD:
        raise ValueError(f"{text!r} is not an amount in USD between -10^10 and 10^10")
    micro = value * MICRO_PER_USD
    if micro != micro.to_integral_value():
        raise ValueError(f"{text!r} is finer than a micro-dollar; use at most six decimal places")
    return int(micro)


def micro_from_ticks(ticks: int) -> int:
    """Upstream ticks as micro-USD, rounded up: a cost is never shown smaller than it was."""
    return -(-ticks // TICKS_PER_MICRO)
