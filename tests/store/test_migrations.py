"""The schema: made once, left alone when it is there, and never downgraded."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from reelgate.domain.errors import OperatorError
from reelgate.store.database import Database, Writer
from reelgate.store.migrations import VERSION
from reelgate.store.sqlite import SqliteDatabase
from tests.store.conftest import new_customer
from tests.support.world import open_database


async def version(db: Database) -> object:
    return await db.read(lambda tx: tx.one("SELECT COUNT(*), MAX(version) FROM schema_version"))


async def test_a_new_database_is_made_and_an_old_one_kept(database_url: str) -> None:
    first = open_database(database_url)
    who = await first.write(new_customer)
    await first.close()
    again = open_database(database_url)
    found = await again.read(lambda tx: tx.one("SELECT id FROM account"))
    assert found == (who.id,)
    assert await version(again) == (1, VERSION)
    await again.close()


async def test_many_that_start_at_once_make_it_once(database_url: str) -> None:
    made = await asyncio.gather(*(asyncio.to_thread(open_database, database_url) for _ in range(5)))
    assert await version(made[0]) == (1, VERSION)
    for database in made:
        await database.close()


async def test_a_database_of_a_newer_version_is_refused_in_one_line(database_url: str) -> None:
    database = open_database(database_url)

    def raise_it(tx: Writer) -> int:
        return tx.run("UPDATE schema_version SET version = ?", (VERSION + 1,))

    await database.write(raise_it)
    await database.close()
    with pytest.raises(OperatorError) as refused:
        open_database(database_url)
    message = str(refused.value)
    assert f"version {VERSION + 1}, newer than the {VERSION}" in message
    assert "\n" not in message
    assert refused.value.exit_code == 2


async def test_opening_an_up_to_date_database_waits_for_nobody(tmp_path: Path) -> None:
    """A command must work beside a server that is writing."""
    path = tmp_path / "reelgate.db"
    await SqliteDatabase(path).close()
    with closing(apsw.Connection(str(path))) as writer:
        writer.execute("BEGIN IMMEDIATE")
        database = await asyncio.wait_for(asyncio.to_thread(SqliteDatabase, path), 2)
        assert await version(database) == (1, VERSION)
        writer.execute("ROLLBACK")
    await database.close()


@pytest.mark.parametrize("content", [b"not a database, " * 1000, b"SQLite format 3\0" + bytes(90)])
def test_a_file_that_is_no_database_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "reelgate.db"
    path.write_bytes(content)
    with pytest.raises(OperatorError) as refused:
        SqliteDatabase(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_directory_in_place_of_the_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as refused:
        SqliteDatabase(tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://nobody@127.0.0.1:1/none",
        "postgresql://nobody@host.invalid/none",
    ],
)
def test_a_missing_postgresql_is_one_line(url: str) -> None:
    with pytest.raises(OperatorError) as refused:
        open_database(url)
    assert "REELGATE_DATABASE_URL" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_wrong_password_is_one_line_without_it(postgres_url: str) -> None:
    wrong = postgres_url.replace("://postgres:", "://postgres:wrong-secret")
    with pytest.raises(OperatorError) as refused:
        open_database(wrong)
    assert "password" in str(refused.value)
    assert "wrong-secret" not in str(refused.value)
    assert "\n" not in str(refused.value)
