"""Settings become the parts that flows act on."""

import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from reelgate.catalog import MODELS
from reelgate.domain.clock import SystemClock
from reelgate.domain.errors import OperatorError
from reelgate.domain.model import Operation
from reelgate.flows.accounts import installation_secret
from reelgate.flows.gateway import Gateway, Policy
from reelgate.flows.upstreams import TokenBucket, Upstream, Upstreams
from reelgate.media.disk import DiskStore
from reelgate.net.guard import Guard
from reelgate.net.guard import Policy as GuardPolicy
from reelgate.providers.base import Provider
from reelgate.providers.openai_videos import OpenAIVideos
from reelgate.providers.sandbox.pool import RenderPool
from reelgate.providers.sandbox.provider import SandboxProvider
from reelgate.providers.xai import Xai
from reelgate.settings import Settings, UpstreamSettings
from reelgate.store.database import Database
from reelgate.store.postgres import PostgresDatabase
from reelgate.store.sqlite import SqliteDatabase

_MS_PER_S = 1000
_DAY_MS = 86_400_000


@contextlib.asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """The parts that flows act on, for as long as the block runs. Raises OperatorError."""
    make_folder(settings.data_dir, "REELGATE_DATA_DIR")
    make_folder(settings.media_dir, "REELGATE_MEDIA_URL")
    async with contextlib.AsyncExitStack() as stack:
        database = open_database(settings)
        stack.push_async_callback(database.close)
        private = settings.allow_private_inputs
        guard = _guard(stack, http=settings.allow_http_inputs, private=private)
        upstreams = [_upstream(settings, given, guard, stack) for given in settings.upstreams]
        secret = settings.secret.reveal() if settings.secret else None
        with usable("REELGATE_MEDIA_URL", settings.media_dir):
            media = DiskStore(settings.media_dir)
        yield Gateway(
            db=database,
            clock=SystemClock(),
            models={
                name: replace(spec, prices_micro=settings.prices_micro(spec))
                for name, spec in MODELS.items()
            },
            media=media,
            upstreams=Upstreams(upstreams),
            guard=guard,
            secret=await installation_secret(database, secret),
            policy=_policy(settings),
        )


def open_database(settings: Settings) -> Database:
    """The configured database, migrated. Raises OperatorError."""
    path = settings.sqlite_path
    if path is None:
        return PostgresDatabase(settings.database_url, threads=settings.postgres_threads)
    make_folder(path.parent, "REELGATE_DATABASE_URL")
    return SqliteDatabase(path, group_max=settings.sqlite_group_max)


def make_folder(folder: Path, setting: str) -> None:
    """Make sure that a folder exists and can be written. Raises OperatorError."""
    with usable(setting, folder):
        folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OperatorError(f"{setting}: the folder {folder} can't be written to")


@contextlib.contextmanager
def usable(setting: str, path: Path) -> Iterator[None]:
    """What goes wrong with a path in the block is told of the setting it comes from.

    Raises OperatorError.
    """
    try:
        yield
    except OSError as error:
        raise OperatorError(f"{setting}: {path} can't be used: {error.strerror}") from error


def _policy(settings: Settings) -> Policy:
    return Policy(
        task_deadline_ms=settings.task_deadline_s * _MS_PER_S,
        result_ttl_ms=settings.result_ttl_days * _DAY_MS,
        link_ttl_ms=settings.link_ttl_s * _MS_PER_S,
        poll_ms_min=settings.poll_interval_ms_min,
        poll_ms_max=settings.poll_interval_ms_max,
        lease_ms=settings.lease_s * _MS_PER_S,
        allow_http_inputs=settings.allow_http_inputs,
        public_url=settings.public_url,
    )


def _guard(stack: contextlib.AsyncExitStack, *, http: bool, private: bool) -> Guard:
    """A guard that is closed with the rest."""
    ports = None if private else GuardPolicy().ports
    guard = Guard(GuardPolicy(allow_http=http, allow_private_network=private, ports=ports))
    stack.push_async_callback(guard.close)
    return guard


def _upstream(
    settings: Settings,
    given: UpstreamSettings,
    inputs_guard: Guard,
    stack: contextlib.AsyncExitStack,
) -> Upstream:
    private = given.allow_private_network
    provider = _provider(
        settings, given, inputs_guard, _guard(stack, http=private, private=private)
    )
    stack.push_async_callback(provider.close)
    return Upstream(
        name=given.name,
        provider=provider,
        models=given.models,
        priority=given.priority,
        weight=given.weight,
        max_in_flight=given.max_in_flight,
        bucket=TokenBucket(given.submits_per_second),
        operations=frozenset(map(Operation, given.operations)) or frozenset(Operation),
        tiers=frozenset(given.sizes),
    )


def _provider(
    settings: Settings, given: UpstreamSettings, inputs_guard: Guard, results_guard: Guard
) -> Provider:
    """Links of inputs and links of results pass different guards: what an operator allows an
    upstream is not allowed to a customer.
    """
    key = given.api_key.reveal() if given.api_key else None
    match given.kind:
        case "sandbox":
            with usable("REELGATE_DATA_DIR", settings.data_dir / "sandbox"):
                return SandboxProvider(
                    settings.data_dir / "sandbox",
                    renderer=RenderPool(settings.sandbox_renderers),
                    guard=inputs_guard,
                    now_ms=SystemClock().now_ms,
                )
        case "xai":
            return Xai(
                given.base_url or "https://api.x.ai",
                key or "",
                results_guard,
                image_tags=given.image_tags,
                connections_max=given.max_in_flight,
            )
        case "openai":
            return OpenAIVideos(
                given.base_url or "",
                key,
                results_guard,
                inputs_guard=inputs_guard,
                dialect=given.dialect,
                connections_max=given.max_in_flight,
            )


# ---- the one worker of a SQLite file ------------------------------------------------------


@contextlib.contextmanager
def worker_lock(settings: Settings) -> Iterator[None]:
    """Hold the right to be the one worker of a SQLite file. Raises OperatorError."""
    path = settings.sqlite_path
    if path is None:
        yield
        return
    make_folder(path.parent, "REELGATE_DATABASE_URL")
    with usable("REELGATE_DATABASE_URL", path):
        file = _locked(path.with_name(path.name + ".worker"), path)
    try:
        yield
    finally:
        file.close()


def _locked(lock_path: Path, path: Path) -> TextIO:
    file = lock_path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise OperatorError(
            f"another reelgate worker uses the SQLite database {path}; stop it first, run this "
            "one with --role api, or use PostgreSQL for several workers",
            exit_code=2,
        ) from None
    return file
