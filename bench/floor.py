"""The floors: the same server, doing the least that its promises leave to do.

`serve DATA_DIR` is Reelgate's own server with another route table: `GET /constant` answers fixed
bytes, `POST /durable` makes one bare transaction (guarded hold, ledger row, task row) through the
same writer, synced to disk before it is answered. There are no keys, checks, prices, limits and no
index but the primary keys. `uvicorn` is the HTTP server below it alone, answering the same bytes.
"""

import asyncio
import itertools
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from reelgate.api.asgi import Answer, Call, Json, Route
from reelgate.api.describe import Doc, Tag
from reelgate.app.parts import open_gateway
from reelgate.app.serve import serve
from reelgate.settings import Settings
from reelgate.settings_load import load_settings
from reelgate.store.database import Writer

CONSTANT, DURABLE = "/constant", "/durable"

# As long as a real answer, an order and its prices are.
_ANSWER = b'{"status":"queued","filler":"' + b"x" * 700 + b'"}'
_ORDER_JSON = '{"prompt":"' + "x" * 260 + '"}'
_TERMS_JSON = '{"prices":"' + "x" * 420 + '"}'

_TABLES = (
    "CREATE TABLE bare_account (id TEXT PRIMARY KEY, posted BIGINT, held BIGINT)",
    (
        "CREATE TABLE bare_ledger (id BIGINT PRIMARY KEY, at_ms BIGINT, kind TEXT, "
        "account_id TEXT, task_id TEXT, amount BIGINT)"
    ),
    (
        "CREATE TABLE bare_task (id TEXT PRIMARY KEY, account_id TEXT, state TEXT, at_ms BIGINT, "
        "held BIGINT, order_json TEXT, terms_json TEXT)"
    ),
    "INSERT INTO bare_account VALUES ('acct_1', 1000000000000000, 0)",
)


@dataclass(slots=True)
class _Floor:
    """The two handlers."""

    numbers: Iterator[int] = field(default_factory=itertools.count)

    async def constant(self, _: Call) -> Answer:
        return Json(_ANSWER)

    async def durable(self, call: Call) -> Answer:
        while (await call.receive()).get("more_body"):
            pass
        write = partial(_three_statements, number=next(self.numbers))
        await call.gateway.db.write(write, locks="acct_1")
        return Json(_ANSWER)

    def routes(self) -> tuple[Route, ...]:
        doc = Doc("The least there is to do.", Tag.OPERATIONS, ())
        return (
            Route("GET", CONSTANT, self.constant, doc, keyed=False),
            Route("POST", DURABLE, self.durable, doc, keyed=False),
        )


def _three_statements(tx: Writer, number: int) -> None:
    taken = tx.run(
        "UPDATE bare_account SET held = held + ? WHERE id = ? AND posted - held >= ?",
        (420_000, "acct_1", 420_000),
    )
    if taken != 1:
        raise RuntimeError("the floor has run out of money")
    task_id = f"task_{number:032}"
    tx.run(
        "INSERT INTO bare_ledger VALUES (?,?,?,?,?,?)",
        (number, 1_700_000_000_000, "hold", "acct_1", task_id, 420_000),
    )
    tx.run(
        "INSERT INTO bare_task VALUES (?,?,?,?,?,?,?)",
        (task_id, "acct_1", "queued", 1_700_000_000_000, 420_000, _ORDER_JSON, _TERMS_JSON),
    )


async def _make_tables(settings: Settings) -> None:
    def make(tx: Writer) -> None:
        for statement in _TABLES:
            tx.run(statement)

    async with open_gateway(settings) as gateway:
        await gateway.db.write(make)


def _serve() -> None:
    settings = load_settings(os.environ, Path.cwd())
    asyncio.run(_make_tables(settings))
    serve(settings, ready=_say, routes=_Floor().routes())


def _say(url: str) -> None:
    print(f"ready: {url}", file=sys.stderr, flush=True)


# ---- without anything of ours -------------------------------------------------------------


async def _bare(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(_ANSWER)),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _ANSWER})


async def _uvicorn() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    _say(f"http://127.0.0.1:{listener.getsockname()[1]}")
    config = uvicorn.Config(
        _bare,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,
    )
    await uvicorn.Server(config).serve(sockets=[listener])


def main() -> None:
    """`python -m bench.floor serve|uvicorn`; settings as always from the environment."""
    if sys.argv[1] == "uvicorn":
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_uvicorn())
    else:
        _serve()


if __name__ == "__main__":
    main()
