"""A set-up that can't work is refused at once: one line, that says what to change, and code 2."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from reelgate.store.migrations import VERSION
from tests.support.disks import fill
from tests.support.processes import Server, Zygote
from tests.support.world import open_database


def refused(server: Server) -> str:
    """What a server said that did not start."""
    code = server.wait(15)
    said = server.log()
    assert (code, said.count("\n")) == (2, 1), said
    assert said.startswith("reelgate: ")
    return said


def a_file(path: Path) -> Path:
    path.write_text("not a directory")
    return path


# What is wrong with the folder -> the variables that point there, and what is said of it.
BAD_FOLDERS: dict[str, Callable[[Path], tuple[dict[str, str], str]]] = {
    "the data directory is a file": lambda folder: (
        {"REELGATE_DATA_DIR": str(a_file(folder / "file"))},
        "REELGATE_DATA_DIR",
    ),
    "the data directory is below a file": lambda folder: (
        {"REELGATE_DATA_DIR": str(a_file(folder / "file") / "below")},
        "REELGATE_DATA_DIR",
    ),
    "the data directory can't be made": lambda folder: (
        {"REELGATE_DATA_DIR": "/proc/reelgate"},
        "REELGATE_DATA_DIR",
    ),
    "the media directory is below a file": lambda folder: (
        {"REELGATE_MEDIA_URL": f"file://{a_file(folder / 'file')}/below"},
        "REELGATE_MEDIA_URL",
    ),
    "the media's folder for parts is a file": lambda folder: (
        {"REELGATE_MEDIA_URL": f"file://{a_file(folder / 'tmp').parent}"},
        "REELGATE_MEDIA_URL",
    ),
    "the database's directory is below a file": lambda folder: (
        {"REELGATE_DATABASE_URL": f"sqlite:///{a_file(folder / 'file')}/below/reelgate.db"},
        "REELGATE_DATABASE_URL",
    ),
    "the database is a directory": lambda folder: (
        {"REELGATE_DATABASE_URL": f"sqlite:///{folder}"},
        "REELGATE_DATABASE_URL",
    ),
    "the database is no database": lambda folder: (
        {"REELGATE_DATABASE_URL": f"sqlite:///{a_file(folder / 'file.db')}"},
        "REELGATE_DATABASE_URL",
    ),
    "the sandbox's folder is a file": lambda folder: (
        {"REELGATE_DATA_DIR": str(a_file(folder / "sandbox").parent)},
        "REELGATE_DATA_DIR",
    ),
}


@pytest.mark.parametrize("what", BAD_FOLDERS)
@pytest.mark.parametrize("role", ["all", "api"])
def test_a_folder_that_can_not_be_used(
    zygote: Zygote, tmp_path: Path, what: str, role: str
) -> None:
    (tmp_path / "bad").mkdir()
    env, setting = BAD_FOLDERS[what](tmp_path / "bad")
    assert setting in refused(zygote.start(tmp_path / "good", "--role", role, **env))


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"REELGATE_LEASE_S": "0"}, r"REELGATE_LEASE_S.*\b0\b.*1 to 600"),
        ({"REELGATE_PORT": "70000"}, r"REELGATE_PORT.*70000.*65535"),
        ({"REELGATE_ROLE": "boss"}, r"REELGATE_ROLE.*boss.*all"),
        ({"REELGATE_LEASES": "5"}, r"REELGATE_LEASES"),
        (
            {"REELGATE_DATABASE_URL": "mysql://x/y"},
            r"REELGATE_DATABASE_URL.*sqlite:///.*postgresql",
        ),
        ({"REELGATE_CRASH_AT": "nowhere"}, r"REELGATE_CRASH_AT.*nowhere.*submit\.before_commit"),
        ({"REELGATE_HOST": "192.0.2.1"}, r"192\.0\.2\.1.*REELGATE_HOST"),
        ({"REELGATE_HOST": "host.invalid"}, r"host\.invalid.*REELGATE_HOST"),
    ],
)
def test_a_setting_that_can_not_be_meant(
    zygote: Zygote, tmp_path: Path, env: dict[str, str], said: str
) -> None:
    assert re.search(said, refused(zygote.start(tmp_path, **env)))


def test_a_port_in_use(zygote: Zygote, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"port {port}" in refused(zygote.start(tmp_path, REELGATE_PORT=port))


def test_a_port_that_is_bound_but_not_yet_listened_on(zygote: Zygote, tmp_path: Path) -> None:
    """Two servers that start at the same moment: one of them is told, neither hangs."""
    with socket.socket() as rival:
        rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        rival.bind(("127.0.0.1", 0))
        port = str(rival.getsockname()[1])
        server = zygote.start(tmp_path, REELGATE_PORT=port)
        server.said("ready")
        with pytest.raises(OSError, match="in use"):
            rival.listen()
    assert server.stop() == 0


def test_a_database_that_is_newer_than_the_code(
    zygote: Zygote, tmp_path: Path, database_url: str
) -> None:
    async def make_newer() -> None:
        database = open_database(database_url)
        await database.write(
            lambda tx: tx.run("UPDATE schema_version SET version = ?", (VERSION + 1,))
        )
        await database.close()

    asyncio.run(make_newer())
    said = refused(zygote.start(tmp_path, REELGATE_DATABASE_URL=database_url))
    assert f"schema version {VERSION + 1}" in said


@pytest.mark.parametrize("role", ["all", "api", "worker"])
def test_a_postgresql_that_is_not_there(zygote: Zygote, tmp_path: Path, role: str) -> None:
    url = "postgresql://user:very-secret@127.0.0.1:1/reelgate"
    said = refused(zygote.start(tmp_path, "--role", role, REELGATE_DATABASE_URL=url))
    assert "REELGATE_DATABASE_URL" in said
    assert "very-secret" not in said


def test_a_full_disk(zygote: Zygote, small_disk_folder: Path, tmp_path: Path) -> None:
    """There is no room for a new database."""
    fill(small_disk_folder)
    url = f"sqlite:///{small_disk_folder}/reelgate.db"
    assert "REELGATE_DATABASE_URL" in refused(zygote.start(tmp_path, REELGATE_DATABASE_URL=url))
