"""The HTTP face for programs: one ASGI app that finds the route, tells the caller, answers.

Whatever happens in between ends in the contract's error shape, with a request id and one log line.
"""

import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Union
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from reelgate.api.answers import Answers
from reelgate.api.describe import Doc
from reelgate.api.errors import error_response, method_not_allowed, route_not_found
from reelgate.api.fields import CreateReader
from reelgate.api.meter import Meter
from reelgate.domain.errors import ReelgateError
from reelgate.flows.authenticate import Authenticator
from reelgate.flows.gateway import Caller, Gateway
from reelgate.flows.pictures import PictureMaker
from reelgate.flows.rate_limit import Headers, RateLimiter

log = logging.getLogger("reelgate.http")

_JSON = (b"content-type", b"application/json")

AccessLog = Callable[[str, str, int, int, str, str], None]
"""(method, path, status, microseconds, request id, task id or empty): one line per request."""

Answer = Union["Json", Callable[[Scope, Receive, Send], Awaitable[None]]]
Handler = Callable[["Call"], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Document:
    """An answer that stays the same while the process lives."""

    body: bytes
    headers: Mapping[str, str]


@dataclass(slots=True)
class Api:
    """What the handlers share.

    `in_hand` is how many tasks the worker of this process drives; `routes` is what is served;
    `documents` are the pages made so far.
    """

    gateway: Gateway
    authenticator: Authenticator
    reader: CreateReader
    pictures: PictureMaker
    prefer_wait_s_max: int = 60
    ready: Callable[[], Awaitable[dict[str, str]]] | None = None
    in_hand: Callable[[], int] | None = None
    meter: Meter = field(default_factory=Meter)
    routes: "tuple[Route, ...]" = ()
    documents: dict[str, Document] = field(default_factory=dict)
    limiter: RateLimiter = field(default_factory=RateLimiter)
    answers: "Answers[Json]" = field(init=False)

    def __post_init__(self) -> None:
        self.answers = Answers(self.gateway.db)


@dataclass(slots=True)
class Call:
    """One request on its way through: raw ASGI, and what has been found out about it.

    `actor` is the id of the admin key, on the operator's routes.
    """

    api: Api
    scope: Scope
    receive: Receive
    request_id: str
    params: dict[str, str]
    route: "Route | None" = None
    who: Caller | None = None
    actor: str = ""
    rate: Headers = ()
    status: int = 0
    task_id: str = ""
    task_may_exist: bool = False

    @property
    def gateway(self) -> Gateway:
        return self.api.gateway

    @property
    def caller(self) -> Caller:
        """Who is calling; only on routes that need a key."""
        assert self.who is not None
        return self.who

    async def identify(self) -> Caller:
        """Who is calling, with room for one more request. Raises Refusal."""
        header, authenticator = self.header(b"authorization"), self.api.authenticator
        caller = authenticator.remembered(header) or await authenticator.caller(header)
        per_second = caller.key.limits.requests_per_second_max
        if per_second is not None:
            self.rate = self.api.limiter.take(caller.key, per_second).headers()
        return caller

    def header(self, name: bytes) -> str | None:
        """A header by its lower-case name; the first where there are several."""
        for key, value in self.scope["headers"]:
            if key == name:
                return str(value, "latin-1")
        return None

    def query(self) -> dict[str, str]:
        """The query parameters; the last where there are several."""
        return dict(parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Route:
    """A row of the route table; `keyed` routes want an API key before anything else.

    `doc` is what the reference says of it: a route that nobody described can't be made.
    """

    method: str
    path: str
    handler: Handler
    doc: Doc
    keyed: bool = True


@dataclass(slots=True)
class _Node:
    """A place in the tree of path segments; a literal segment goes before a parameter."""

    literals: dict[str, "_Node"] = field(default_factory=dict)
    param: "tuple[str, _Node] | None" = None
    routes: dict[str, Route] = field(default_factory=dict)


class Router:
    """Finds routes segment by segment."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._root = _Node()
        self.paths = tuple(dict.fromkeys(route.path for route in routes))
        for route in routes:
            self._add(route)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route and its path parameters. Raises Refusal: 404 or 405."""
        node, params = self._root, dict[str, str]()
        for segment in path[1:].split("/"):
            child = node.literals.get(segment)
            if child is None:
                if node.param is None or not segment:
                    raise route_not_found(method, path, self.paths)
                name, child = node.param
                params[name] = segment
            node = child
        route = node.routes.get(method)
        if route is None:
            if not node.routes:
                raise route_not_found(method, path, self.paths)
            raise method_not_allowed(method, path, node.routes)
        return route, params

    def _add(self, route: Route) -> None:
        node = self._root
        for segment in route.path[1:].split("/"):
            if segment.startswith("{"):
                if node.param is None:
                    node.param = (segment[1:-1], _Node())
                node = node.param[1]
            else:
                node = node.literals.setdefault(segment, _Node())
        node.routes[route.method] = route
        if route.method == "GET":
            node.routes.setdefault("HEAD", route)


class HttpApi:
    """The ASGI app. `access_log` is told of every request when its answer is out."""

    def __init__(self, api: Api, routes: tuple[Route, ...], access_log: AccessLog) -> None:
        self._api = api
        self._router = Router(routes)
        self._access_log = access_log
        api.routes = routes
        for route in routes:
            api.meter.add(route)

    def close(self) -> None:
        """Let held answers and event streams end: the process is stopping."""
        self._api.gateway.watch.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"{scope['type']} is not served here")
        began = time.perf_counter_ns()
        # Nobody gains by guessing it, so it need not come from the system.
        request_id = f"req_{random.getrandbits(96):024x}"
        call = Call(self._api, scope, receive, request_id, {})
        try:
            await _send(call, await self._answer(call), send)
        except ClientDisconnect:
            call.status = call.status or 499
        except Exception as error:
            if call.status:  # the answer has begun; all that is left is to cut it short
                log.exception("answer broken off", extra={"request_id": request_id})
                raise
            await _send(call, self._refuse(call, error), send)
        finally:
            elapsed_us = (time.perf_counter_ns() - began) // 1000
            self._api.meter.count(call.route, call.status, elapsed_us)
            self._access_log(
                scope["method"], scope["path"], call.status, elapsed_us, request_id, call.task_id
            )

    async def _answer(self, call: Call) -> Answer:
        scope = call.scope
        route, call.params = self._router.find(scope["method"], scope["path"])
        call.route = route
        if route.keyed:
            call.who = await call.identify()
        return await route.handler(call)

    def _refuse(self, call: Call, error: Exception) -> Answer:
        if not isinstance(error, ReelgateError):
            log.error("request failed", extra={"request_id": call.request_id}, exc_info=error)
        response = error_response(error, call.request_id, task_may_exist=call.task_may_exist)
        del response.headers["x-request-id"]
        return response


@dataclass(slots=True)
class Json:
    """A JSON answer from encoded bytes."""

    body: bytes
    status: int = 200
    headers: Headers = ()


async def _send(call: Call, answer: Answer, send: Send) -> None:
    """Send an answer with the request's id, and note its status."""
    own = ((b"x-request-id", call.request_id.encode()), *call.rate)
    if isinstance(answer, Json):
        call.status = answer.status
        length = (b"content-length", b"%d" % len(answer.body))
        headers = [_JSON, length, *answer.headers, *own]
        body = b"" if call.scope["method"] == "HEAD" else answer.body
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return

    async def send_own(message: Message) -> None:
        if message["type"] == "http.response.start":
            call.status = message["status"]
            message["headers"] = [*message["headers"], *own]
        await send(message)

    await answer(call.scope, call.receive, send_own)
