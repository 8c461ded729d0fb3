"""`reelgate doctor`: do money, tasks and files agree, and what needs an operator."""

from functools import partial
from typing import Annotated, Any

import typer

from reelgate.cli import library
from reelgate.cli.exits import ExitCode
from reelgate.cli.output import Json, print_json, when
from reelgate.flows.gateway import Gateway
from reelgate.flows.world import check_world
from reelgate.store import tasks

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def doctor(
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Look at the sizes of videos, not at every byte.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check the invariants on the data here, while it is in use; exit code 1 when one is broken.

    Stranded tasks are listed too: the upstream may or may not have them, and they are never sent
    again by themselves. At their deadline they fail and the hold is released.
    """
    found = library.run(partial(_examine, read_bytes=not quick))
    if as_json:
        print_json(found)
    else:
        for line in found["broken"]:
            print(f"broken: {line}")
        for task in found["stranded"]:
            print(
                f"stranded: {task['id']} at upstream {task['upstream']}, given up at "
                f"{task['deadline_at']}"
            )
        print("something is broken" if found["broken"] else "all is well")
    if found["broken"]:
        raise typer.Exit(ExitCode.FAILED)


async def _examine(gateway: Gateway, *, read_bytes: bool) -> dict[str, Any]:
    broken = await check_world(gateway, read_bytes=read_bytes)
    stranded = await gateway.db.read(tasks.stranded)
    return {
        "broken": broken,
        "stranded": [
            {"id": task.id, "upstream": task.upstream, "deadline_at": when(task.deadline_at_ms)}
            for task in stranded
        ],
    }
