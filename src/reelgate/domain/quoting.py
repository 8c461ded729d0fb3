"""What somebody sent, as messages quote it."""

_CHARS_SHOWN = 80


def quoted(text: str) -> str:
    """In quotes, cut short, and harmless whatever it is."""
    return repr(text[:_CHARS_SHOWN]) + ("…" if len(text) > _CHARS_SHOWN else "")
