"""For whoever runs this: alive, ready."""

from typing import Literal

import msgspec

from reelgate.api.asgi import Answer, Call, Json


class Alive(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(msgspec.Struct, frozen=True):
    """Whether every part works. `parts` says `ok` of a part, or what is wrong with it."""

    status: Literal["ready", "not_ready"]
    parts: dict[str, str]


async def healthz(call: Call) -> Answer:  # noqa: ARG001 - the signature of every handler
    """200 while the process answers at all."""
    return Json(msgspec.json.encode(Alive()))


async def readyz(call: Call) -> Answer:
    """200 when every part works, else 503; says which part is not ready and why."""
    parts = await call.api.ready() if call.api.ready else {}
    ready = all(state == "ok" for state in parts.values())
    body = Ready("ready" if ready else "not_ready", parts)
    return Json(msgspec.json.encode(body), 200 if ready else 503)
