"""What a measured gateway holds beforehand, what is sent to it, and what its books say after."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bench.floor import CONSTANT, DURABLE
from bench.load import Shot
from reelgate.api.fields import CreateReader
from reelgate.app.parts import open_gateway
from reelgate.domain.money import MICRO_PER_USD
from reelgate.flows.accounts import create_account, create_key
from reelgate.flows.gateway import Caller, Gateway
from reelgate.flows.submit import Repeatable, submit
from reelgate.flows.world import check_world
from reelgate.settings_load import load_settings

T = TypeVar("T")

_CREDIT_MICRO = 1_000_000_000 * MICRO_PER_USD
_SUBMITS_AT_ONCE = 500
_PROMPTS = 64
_NO_KEY = "sk-" + "0" * 46
_PROMPT = "Take {}: a paper boat crosses a moonlit harbour, slow dolly, soft rain on the water"


@dataclass(frozen=True, slots=True)
class Customer:
    """An account with money and queued tasks, and one of its keys."""

    account_id: str
    key_id: str
    key: str
    task_ids: list[str]


def with_gateway(env: Mapping[str, str], act: Callable[[Gateway], Awaitable[T]]) -> T:
    """What `act` makes of the gateway that `env` sets up, opened in this process."""

    async def opened() -> T:
        async with open_gateway(load_settings(env, Path.cwd())) as gateway:
            return await act(gateway)

    return asyncio.run(opened())


def new_customer(env: Mapping[str, str], *, tasks: int = 0) -> Customer:
    """An account with a thousand million USD and so many queued tasks."""

    async def make(gateway: Gateway) -> Customer:
        account = await create_account(gateway, "bench", _CREDIT_MICRO)
        made = await create_key(gateway, account.id)
        caller = Caller(account.id, made.key)
        task_ids: list[str] = []
        while len(task_ids) < tasks:
            batch = range(min(_SUBMITS_AT_ONCE, tasks - len(task_ids)))
            task_ids += await asyncio.gather(*(_submit(gateway, caller, n) for n in batch))
        return Customer(account.id, made.key.id, made.secret, task_ids)

    return with_gateway(env, make)


async def _submit(gateway: Gateway, caller: Caller, number: int) -> str:
    reader = CreateReader(gateway.models, allow_http=False)
    draft, problems = reader.read(_order(number))
    return (await submit(gateway, caller, draft, problems, Repeatable())).task.id


def task_count(env: Mapping[str, str]) -> int:
    """How many tasks there are, of any state."""

    async def count(gateway: Gateway) -> int:
        row = await gateway.db.read(lambda tx: tx.one("SELECT COUNT(*) FROM task"))
        return int(row[0]) if row else 0

    return with_gateway(env, count)


def broken_invariants(env: Mapping[str, str]) -> list[str]:
    """What `check_world` has to say of a gateway that has stopped."""
    return with_gateway(env, check_world)


# ---- requests -----------------------------------------------------------------------------


def creates(key: str) -> list[Shot]:
    """Some dozens of text-to-video orders."""
    return [_post("/v1/videos", key, json.dumps(_order(n)).encode()) for n in range(_PROMPTS)]


def polls(key: str, task_ids: list[str]) -> list[Shot]:
    """One look at each of these tasks; the answer must be about that task."""
    return [
        Shot(_head("GET", f"/v1/videos/{task_id}", key) + b"\r\n", f'"{task_id}"'.encode())
        for task_id in task_ids
    ]


def floor_shots() -> tuple[Shot, Shot]:
    """The constant answer and the bare transaction, asked for with all that clients send."""
    return (
        Shot(_head("GET", CONSTANT, _NO_KEY) + b"\r\n", b'"status"'),
        _post(DURABLE, _NO_KEY, json.dumps(_order(0)).encode()),
    )


def _order(number: int) -> dict[str, Any]:
    return {
        "model": "grok-imagine",
        "prompt": _PROMPT.format(number % _PROMPTS),
        "duration": 6,
        "size": "720p",
        "aspect_ratio": "16:9",
    }


def _post(path: str, key: str, body: bytes) -> Shot:
    head = _head("POST", path, key)
    head += b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    return Shot(head + body, b'"status":"queued"')


def _head(method: str, path: str, key: str) -> bytes:
    """A request's head but for its end, with what HTTP clients send by themselves."""
    return (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
        f"Accept-Encoding: identity\r\nUser-Agent: bench/1\r\nAuthorization: Bearer {key}\r\n"
    ).encode()
