"""For whoever runs this: alive, ready."""

import msgspec

from reelgate.api.asgi import Answer, Call, Json


async def healthz(call: Call) -> Answer:  # noqa: ARG001 - the signature of every handler
    """200 while the process answers at all."""
    return Json(b'{"status":"ok"}')


async def readyz(call: Call) -> Answer:
    """200 when every part works, else 503; says which part is not ready and why."""
    parts = await call.api.ready() if call.api.ready else {}
    ready = all(state == "ok" for state in parts.values())
    body = {"status": "ready" if ready else "not_ready", "parts": parts}
    return Json(msgspec.json.encode(body), 200 if ready else 503)
