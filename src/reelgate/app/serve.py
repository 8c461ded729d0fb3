"""One process: the API, the worker, or both, from start to orderly stop."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from functools import partial

import uvicorn
import uvloop

from reelgate.api.asgi import Api, HttpApi, Route
from reelgate.api.fields import CreateReader
from reelgate.api.routes import ROUTES
from reelgate.app.health import Health
from reelgate.app.parts import make_folder, open_gateway, worker_lock
from reelgate.app.protocol import Protocol
from reelgate.domain.clock import SystemClock
from reelgate.domain.crashpoints import arm
from reelgate.domain.errors import OperatorError, StoreError
from reelgate.flows.authenticate import Authenticator
from reelgate.flows.gateway import Gateway
from reelgate.flows.pictures import PictureMaker
from reelgate.logs import setup_logging
from reelgate.settings import Settings
from reelgate.store import tasks
from reelgate.store.database import CHANGED, WAKE
from reelgate.worker import Worker

log = logging.getLogger("reelgate.app")

_WATCH_S = 0.5
_KEEP_ALIVE_S = 75
_BACKLOG = 4096
# A thousand requests in flight are not garbage. With the interpreter's own thresholds the search
# for some took a tenth of the CPU of a create and doubled its 99th percentile.
_GARBAGE_THRESHOLDS = (20_000, 20, 50)


def serve(
    settings: Settings,
    *,
    ready: Callable[[str], None] | None = None,
    routes: tuple[Route, ...] = ROUTES,
) -> None:
    """Run the API, the worker, or both, until SIGTERM or SIGINT. Raises OperatorError.

    `ready` is told the base URL once requests are answered. Only benches give other `routes`.
    """
    if settings.crash_at:
        _arm(settings.crash_at)
    with contextlib.ExitStack() as stack:
        listener = _listen(settings) if settings.role != "worker" else None
        if listener is not None:
            stack.callback(listener.close)
        if settings.role != "api":
            make_folder(settings.data_dir, "REELGATE_DATA_DIR")
            stack.enter_context(worker_lock(settings))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, listener, ready, routes))


def _arm(label: str) -> None:
    try:
        arm(label)
    except ValueError as error:
        raise OperatorError(f"REELGATE_CRASH_AT: {error}") from error


def _listen(settings: Settings) -> socket.socket:
    try:
        info = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(info[0], socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(info[4])
        # Here, not when all is ready: only now is it certain that nobody else has the port.
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OperatorError(
            f"can't listen on {settings.host} port {settings.port} "
            f"(REELGATE_HOST, REELGATE_PORT): {reason}"
        ) from error
    listener.set_inheritable(False)
    return listener


async def _serve(
    settings: Settings,
    listener: socket.socket | None,
    ready: Callable[[str], None] | None,
    routes: tuple[Route, ...],
) -> None:
    requests = setup_logging(settings.log_format, settings.log_level, SystemClock())
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_gateway(settings) as gateway:
        health = Health(gateway, worker_wanted=settings.role != "api")
        gateway.db.listen(_on_notice(gateway))
        in_hand: Callable[[], int] | None = None
        async with asyncio.TaskGroup() as group:
            if settings.role != "api":
                worker = Worker(
                    gateway,
                    concurrency=settings.worker_concurrency,
                    claim_batch=settings.claim_batch,
                )
                in_hand = partial(getattr, worker, "in_hand")
                health.worker_task = group.create_task(worker.run(stop, settings.shutdown_grace_s))
            watcher = group.create_task(_watch_others(gateway))
            if listener is not None:
                api = Api(
                    gateway,
                    Authenticator(gateway),
                    CreateReader(
                        gateway.models,
                        allow_http=settings.allow_http_inputs,
                        request_bytes_max=settings.request_bytes_max,
                    ),
                    PictureMaker(gateway),
                    settings.prefer_wait_s_max,
                    health,
                    in_hand,
                )
                app = HttpApi(api, routes, requests)
                await _answer_requests(settings, app, listener, stop, ready)
            await stop.wait()
            watcher.cancel()


async def _answer_requests(
    settings: Settings,
    app: HttpApi,
    listener: socket.socket,
    stop: asyncio.Event,
    ready: Callable[[str], None] | None,
) -> None:
    config = uvicorn.Config(
        app,
        loop="none",
        http=Protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,  # where we are for others is a setting, not a header's word
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.shutdown_grace_s,
        backlog=_BACKLOG,
    )
    server = _Server(config)
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await server.up.wait()
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{port}"
    log.info("ready", extra={"url": url, "pid": os.getpid()})
    if ready is not None:
        ready(url)
    await stop.wait()
    app.close()
    server.should_exit = True
    await serving


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: stopping is decided here, once for all parts."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _on_notice(gateway: Gateway) -> Callable[[str, str], None]:
    def on_notice(channel: str, payload: str) -> None:
        if channel == WAKE:
            gateway.watch.work()
        elif channel == CHANGED:
            gateway.watch.changed(payload)

    return on_notice


async def _watch_others(gateway: Gateway) -> None:
    """See the changes that other processes make to watched tasks: one look for all of them."""
    seen: dict[str, int] = {}
    while True:
        await asyncio.sleep(_WATCH_S)
        watched = gateway.watch.watched()
        if not watched:
            seen.clear()
            continue
        try:
            now = await gateway.db.read(partial(tasks.revisions, task_ids=watched))
        except StoreError as error:
            log.warning("can't look for changes", extra={"detail": str(error)})
            continue
        for task_id, revision in now.items():
            # At the first look too: it may have changed since whoever waits looked last.
            if seen.get(task_id) != revision:
                gateway.watch.changed(task_id)
        seen = now
