"""What every test may ask for. Nothing here runs until a test does ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.clips import make_clip, make_image
from tests.support.disks import small_disk
from tests.support.live import Live, live_server
from tests.support.postgres import fresh_database, running_postgres
from tests.support.processes import Zygote, processes
from tests.support.world import Installation, World, new_world, open_database


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of the superuser of a PostgreSQL for this run; data there does not outlive it."""
    with running_postgres() as admin_url:
        yield admin_url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of a fresh, empty PostgreSQL database."""
    with fresh_database(postgres_server) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """URL of a SQLite database that does not exist yet."""
    return f"sqlite:///{tmp_path / 'reelgate.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """URL of a fresh, empty database: each test that asks runs on SQLite and on PostgreSQL."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A running gateway on SQLite, shared by all tests that are a user of the API."""
    with live_server(tmp_path_factory.mktemp("live")) as server:
        yield server


@pytest.fixture(scope="session")
def live_postgres(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The same on PostgreSQL."""
    with (
        fresh_database(postgres_server) as url,
        live_server(tmp_path_factory.mktemp("live-postgres"), REELGATE_DATABASE_URL=url) as server,
    ):
        yield server


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def either(request: pytest.FixtureRequest) -> Live:
    """A running gateway: each test that asks runs on SQLite and on PostgreSQL."""
    name = {"sqlite": "live", "postgres": "live_postgres"}[request.param]
    server: Live = request.getfixturevalue(name)
    return server


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A sound MP4 of two seconds at 480p."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return make_clip(path, frames=48, size=(854, 480)).read_bytes()


@pytest.fixture(scope="session")
def png(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small sound PNG."""
    return make_image(
        tmp_path_factory.mktemp("png") / "picture.png", (40, 160, 90), (64, 48)
    ).read_bytes()


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Something to start, kill and stop real server processes with."""
    with processes() as made:
        yield made


@pytest.fixture
def small_disk_folder(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few MiB; only root can make one."""
    with small_disk(tmp_path / "disk") as made:
        if not made:
            pytest.skip("needs the right to mount a small file system")
        yield tmp_path / "disk"


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def installation(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, film: bytes
) -> Iterator[Installation]:
    """A database, each of both, and a folder for bytes; shared by the tests of a module."""
    folder = tmp_path_factory.mktemp("installation")
    with ExitStack() as stack:
        url = f"sqlite:///{folder / 'reelgate.db'}"
        if request.param == "postgres":
            url = stack.enter_context(fresh_database(request.getfixturevalue("postgres_server")))
        database = open_database(url)
        stack.callback(lambda: asyncio.run(database.close()))
        yield Installation(database, folder / "media", film)


@pytest.fixture
async def world(installation: Installation) -> AsyncIterator[World]:
    """An account, a fake upstream and a clock of the test's own; afterwards the books are right."""
    world = await new_world(installation)
    yield world
    assert await world.broken() == []
    await world.gateway.guard.close()
