"""`reelgate report`: what was charged, what it cost, what is left, what was lost."""

from typing import Annotated

import typer

from reelgate.api.report_wire import report_card
from reelgate.cli import library
from reelgate.cli.output import Json, note, print_columns, print_json
from reelgate.domain.errors import OperatorError
from reelgate.domain.money import usd
from reelgate.flows import reports
from reelgate.flows.gateway import Gateway
from reelgate.flows.reports import REPORT_GROUPS, Report

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_BY_DEFAULT = ("day",)


@app.command()
def report(
    *,
    first: Annotated[
        str | None, typer.Option("--from", metavar="DAY", help="Like 2026-11-01; default 30 days.")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="DAY", help="Default today.")] = None,
    by: Annotated[
        str | None,
        typer.Option(help=f"Some of {','.join(REPORT_GROUPS)}; default {','.join(_BY_DEFAULT)}."),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: Json = False,
) -> None:
    """Revenue, upstream cost, margin and losses of the tasks that ended in these days (UTC).

    A task counts on the day it ended: then it was charged.
    """
    if as_csv and as_json:
        raise OperatorError("--csv and --json were given together; choose one")

    async def made(gateway: Gateway) -> Report:
        period = reports.period(gateway, first, last)
        return await reports.report(gateway, period, reports.groups(by, REPORT_GROUPS, _BY_DEFAULT))

    found = library.run(made)
    if as_json:
        print_json(report_card(found))
        return
    table = reports.report_table(found)
    if as_csv:
        print(reports.csv_text(table), end="")
        return
    print_columns(table[0], table[1:])
    _note_open(found)


def _note_open(found: Report) -> None:
    now = found.open_now
    note(
        f"now: {now.live} tasks live, {now.stranded} of them stranded ({usd(now.stranded_micro)} "
        f"USD held); customers have {usd(now.available_micro)} USD, {usd(now.held_micro)} USD held"
    )
