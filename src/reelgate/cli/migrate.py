"""`reelgate migrate`: the database at the version of this code."""

import typer

from reelgate.cli import library
from reelgate.cli.output import Json, print_json
from reelgate.flows.gateway import Gateway
from reelgate.logs import masked
from reelgate.store.migrations import VERSION

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def migrate(*, as_json: Json = False) -> None:
    """Bring the database up to this version; `serve` does it too, at its start.

    Steps only ever add, so processes of the version before go on working meanwhile. A database
    that is newer than this code is refused.
    """
    library.run(_opened)
    database = masked(library.here().database_url)
    if as_json:
        print_json({"database": database, "schema_version": VERSION})
    else:
        print(f"{database} has schema version {VERSION}")


async def _opened(_: Gateway) -> None:
    """Opening a gateway brings its database up to date, and reads from it."""
