"""Absolute, signed links to finished videos."""

from reelgate.api.asgi import Call
from reelgate.domain.task import State, Task
from reelgate.flows import deliver


def base_url(call: Call) -> str:
    """Where this gateway is for the caller: as configured, else as it was called."""
    configured = call.gateway.policy.public_url
    if configured:
        return configured.rstrip("/")
    host = call.header(b"host") or "127.0.0.1"
    return f"{call.scope['scheme']}://{host}"


def link_url(call: Call, task: Task) -> str | None:
    """The link to a completed task's bytes; None while, or once, there are none."""
    if task.state is not State.COMPLETED or task.purged_at_ms is not None:
        return None
    link = deliver.sign(call.gateway, task)
    return (
        f"{base_url(call)}/v1/videos/{task.id}/content"
        f"?expires={link.expires_s}&sig={link.signature}"
    )


def link_of(query: dict[str, str]) -> deliver.Link | None:
    """The proof that a request's query carries; None without one."""
    expires, signature = query.get("expires", ""), query.get("sig", "")
    if not signature or not expires.isascii() or not expires.isdecimal() or len(expires) > 12:
        return None
    return deliver.Link(int(expires), signature)
