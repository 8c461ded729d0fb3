"""The schema, as numbered steps that only ever add. Run at every start, and by `reelgate migrate`.

The statements are the same for both databases but for the tokens in `Dialect`.
"""

from dataclasses import dataclass

from reelgate.domain.errors import OperatorError
from reelgate.store.database import Reader, Writer
from reelgate.store.schema import STEPS


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a database spells in its own way. `lock` keeps two migrations from running at once.

    `versioned` finds a row when there is a table of the schema's version.
    """

    name: str
    versioned: str
    begin: str
    lock: str
    auto_id: str
    text_id: str
    append_only: tuple[str, ...]


SQLITE = Dialect(
    name="sqlite",
    versioned="SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'",
    begin="BEGIN IMMEDIATE",
    lock="SELECT 1",
    auto_id="INTEGER PRIMARY KEY",
    text_id="TEXT",
    append_only=(
        """CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table}
           BEGIN SELECT RAISE(ABORT, '{table} only appends'); END""",
        """CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table}
           BEGIN SELECT RAISE(ABORT, '{table} only appends'); END""",
    ),
)
POSTGRES = Dialect(
    name="postgres",
    # Not to_regclass: that may answer from a cache of before the lock.
    versioned=(
        "SELECT 1 FROM pg_tables "
        "WHERE schemaname = current_schema() AND tablename = 'schema_version'"
    ),
    begin="BEGIN",
    lock="SELECT pg_advisory_xact_lock(7305810913)",
    auto_id="BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    text_id='TEXT COLLATE "C"',
    append_only=(
        """CREATE OR REPLACE FUNCTION {table}_appends() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN RAISE EXCEPTION '{table} only appends'
              USING ERRCODE = 'integrity_constraint_violation'; END $$""",
        """CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
           FOR EACH STATEMENT EXECUTE FUNCTION {table}_appends()""",
    ),
)

VERSION = len(STEPS)


def migrate(tx: Writer, dialect: Dialect) -> int:
    """Bring the schema up to this code's version, all steps or none; returns the version before.

    Raises OperatorError when the database was made by a newer version of this product.
    """
    before = _version(tx, dialect)
    _refuse_newer(before)
    if before == VERSION:
        return before  # nothing to wait for: a server may be busy writing
    # SQLite has to hold the write lock from the start; PostgreSQL is given one to wait for.
    tx.run(dialect.begin)
    try:
        tx.all(dialect.lock)
        before = _version(tx, dialect)
        _refuse_newer(before)
        tx.run("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")
        for step in STEPS[before:]:
            for statement in step:
                _apply(tx, dialect, statement)
        if before < VERSION:
            tx.run("DELETE FROM schema_version")
            tx.run("INSERT INTO schema_version (version) VALUES (?)", (VERSION,))
    except BaseException:
        tx.run("ROLLBACK")
        raise
    tx.run("COMMIT")
    return before


def _refuse_newer(version: int) -> None:
    if version > VERSION:
        raise OperatorError(
            f"REELGATE_DATABASE_URL: the database has schema version {version}, newer than the "
            f"{VERSION} that this reelgate knows; upgrade reelgate or use another database"
        )


def _version(tx: Reader, dialect: Dialect) -> int:
    if tx.one(dialect.versioned) is None:
        return 0
    row = tx.one("SELECT version FROM schema_version")
    return int(row[0]) if row else 0


def _apply(tx: Writer, dialect: Dialect, statement: str) -> None:
    if statement.startswith("APPEND ONLY "):
        table = statement.removeprefix("APPEND ONLY ")
        for trigger in dialect.append_only:
            tx.run(trigger.format(table=table))
        return
    tx.run(statement.replace("AUTO_ID", dialect.auto_id).replace("TEXT_ID", dialect.text_id))
