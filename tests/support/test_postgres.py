"""The PostgreSQL that other tests lean on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.support.postgres import SERVER_URL_VARIABLE, fresh_database, running_postgres

own_server = pytest.mark.skipif(
    SERVER_URL_VARIABLE in os.environ, reason=f"{SERVER_URL_VARIABLE} names a server of its own"
)


def ask(url: str, question: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(question.encode()).fetchone()
    return row and row[0]


def test_a_database_is_empty_and_alone(postgres_server: str) -> None:
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    with fresh_database(postgres_server) as one, fresh_database(postgres_server) as other:
        with psycopg.connect(one) as connection:
            connection.execute("CREATE TABLE boat (id bigint)")
        assert ask(one, tables) == 1
        assert ask(other, tables) == 0


def test_a_database_is_dropped_with_its_connections(postgres_server: str) -> None:
    with fresh_database(postgres_server) as url:
        left_open = psycopg.connect(url)
    with pytest.raises(psycopg.OperationalError):
        left_open.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


def test_a_database_can_be_copied(postgres_server: str) -> None:
    with fresh_database(postgres_server) as model:
        with psycopg.connect(model) as connection:
            connection.execute("CREATE TABLE boat AS SELECT 7 AS id")
        name = str(conninfo_to_dict(model)["dbname"])
        with fresh_database(postgres_server, template=name) as copy:
            assert ask(copy, "SELECT id FROM boat") == 7


@own_server
@pytest.mark.parametrize(("durable", "fsync"), [(True, "on"), (False, "off")])
def test_durability_is_a_choice(durable: bool, fsync: str) -> None:
    with running_postgres(durable=durable) as url:
        assert ask(url, "SHOW fsync") == fsync
        assert ask(url, "SHOW synchronous_commit") == fsync


@own_server
def test_a_server_stops_with_its_block() -> None:
    with running_postgres() as url:
        data = Path(str(ask(url, "SHOW data_directory")))
    assert not data.exists()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)


@own_server
def test_a_server_does_not_outlive_a_killed_process() -> None:
    program = (
        "from tests.support.postgres import running_postgres\n"
        "with running_postgres() as url:\n"
        "    print(url, flush=True)\n"
        "    input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        data = Path(str(ask(url, "SHOW data_directory")))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    deadline = time.monotonic() + 20
    while data.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not data.exists()
