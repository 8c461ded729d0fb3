"""`reelgate tasks`: of the gateway that REELGATE_URL names, else all there are in the data here."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from reelgate.api.admin_wire import TaskCard, TaskHistory, task_card, task_history
from reelgate.cli import library
from reelgate.cli.client import Client
from reelgate.cli.gateways import connected, remote
from reelgate.cli.output import Json, print_columns, print_fields, print_json, when
from reelgate.cli.video import check_writable, finish
from reelgate.domain.errors import OperatorError
from reelgate.domain.money import usd
from reelgate.domain.task import Task
from reelgate.flows import operator
from reelgate.flows.gateway import Gateway
from reelgate.store import tasks

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
)

_MS_PER_SECOND = 1000
_PROMPT_CHARS_SHOWN = 48

TaskId = Annotated[str, typer.Argument(metavar="TASK_ID", help="task_…")]


@app.callback()
def _tasks() -> None:
    """List, show, wait for, cancel and resolve tasks.

    With REELGATE_URL and REELGATE_API_KEY set, those of that key's account on that gateway; else
    all tasks of the database that the settings here name.
    """


def _remote() -> Client | None:
    endpoint = remote(library.here())
    return Client(endpoint) if endpoint else None


# ---- list ---------------------------------------------------------------------------------


@app.command("list")
def list_tasks(
    *,
    account: Annotated[str | None, typer.Option(help="Only of this account (id or name).")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many.")] = 20,
    after: Annotated[str | None, typer.Option(help="Only older ones than this task.")] = None,
    as_json: Json = False,
) -> None:
    """The newest tasks."""
    client = _remote()
    if client is not None:
        page = client.tasks(limit=limit, after=after).body
        rows = [_remote_row(task) for task in page.get("data", ())]
        shown: Any = page
    else:
        found = library.run(partial(_page, account=account, limit=limit, after=after))
        rows = [_row(task) for task in found]
        shown = {"object": "list", "data": [task_card(task) for task in found]}
    if as_json:
        print_json(shown)
    else:
        headers = ("TASK", "CREATED", "STATE", "DONE", "OPERATION", "USD", "PROMPT")
        print_columns(headers, rows)


async def _page(
    gateway: Gateway, *, account: str | None, limit: int, after: str | None
) -> list[Task]:
    account_id = (await library.find_account(gateway, account)).id if account else None
    return await gateway.db.read(
        lambda tx: tasks.page(tx, account_id, after=after, limit=limit, newest_first=True)
    )


def _row(task: Task) -> tuple[object, ...]:
    charged = usd(task.bill.total_micro if task.bill else task.held_micro)
    return (
        task.id,
        when(task.created_at_ms),
        task.state.value,
        f"{task.progress}%",
        task.operation,
        charged,
        _short(task.order.prompt),
    )


def _remote_row(task: dict[str, Any]) -> tuple[object, ...]:
    billing = task.get("billing") or {}
    return (
        task["id"],
        when(int(task["created_at"]) * _MS_PER_SECOND),
        task["status"],
        f"{task['progress']}%",
        task.get("operation", ""),
        billing.get("cost") or billing.get("max_cost") or "",
        _short(task.get("prompt") or ""),
    )


# ---- show ---------------------------------------------------------------------------------


@app.command()
def show(task_id: TaskId, *, as_json: Json = False) -> None:
    """One task; from the data here with its whole history: moves, money, audit log."""
    client = _remote()
    found: Any = client.task(task_id).body if client else library.run(_history_of(task_id))
    if as_json:
        print_json(found)
    else:
        print_fields(found)


def _history_of(task_id: str) -> Callable[[Gateway], Awaitable[TaskHistory]]:
    async def read(gateway: Gateway) -> TaskHistory:
        return task_history(await operator.history(gateway, task_id))

    return read


# ---- wait, cancel -------------------------------------------------------------------------


@app.command()
def wait(
    task_id: TaskId,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; default TASK_ID.mp4.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Wait for a task, bring its video here and print the bill: what `generate` ends with.

    Without REELGATE_URL it runs a gateway on the data here until the task has ended.
    """
    check_writable(output)
    with connected() as client:
        finish(client, client.task(task_id), output, as_json=as_json)


@app.command()
def cancel(task_id: TaskId, *, as_json: Json = False) -> None:
    """Stop a task: always while it is queued, later only where the upstream can."""
    client = _remote()
    ended: Any = client.cancel(task_id).body if client else library.run(_cancel_of(task_id))
    if as_json:
        print_json(ended)
    else:
        print(f"{task_id} is cancelled; nothing was charged")


def _cancel_of(task_id: str) -> Callable[[Gateway], Awaitable[TaskCard]]:
    async def end(gateway: Gateway) -> TaskCard:
        return task_card(await operator.cancel(gateway, task_id))

    return end


# ---- resolve ------------------------------------------------------------------------------


@app.command()
def resolve(
    task_id: TaskId,
    *,
    outcome: Annotated[
        Literal["failed", "running", "queued"],
        typer.Option(
            help="failed: it has no result. running: it has the job (--upstream-ref). "
            "queued: it certainly does not have it; it is sent again."
        ),
    ],
    upstream_ran: Annotated[
        bool | None,
        typer.Option(
            "--upstream-ran/--upstream-did-not-run",
            help="Outcome failed: whether the upstream may charge for it.",
        ),
    ] = None,
    upstream_ref: Annotated[
        str | None, typer.Option(help="Outcome running: the upstream's id of the job.")
    ] = None,
    comment: Annotated[str, typer.Option("--note", help="For the history and the audit log.")] = "",
    as_json: Json = False,
) -> None:
    """Say what you found at the upstream about a stranded task (`reelgate doctor` lists them).

    Only for the data here: it is the operator's word, and money follows it.
    """
    decision = _resolution(outcome, upstream_ran, upstream_ref)
    task = library.run(partial(_resolve, task_id=task_id, decision=decision, comment=comment))
    if as_json:
        print_json(task)
    else:
        print(f"{task_id} is {task.state}")


def _resolution(
    outcome: str, upstream_ran: bool | None, upstream_ref: str | None
) -> operator.Resolution:
    match outcome, upstream_ran, upstream_ref:
        case "failed", bool(), None:
            return operator.Lost(upstream_ran)
        case "running", None, str():
            return operator.Found(upstream_ref)
        case "queued", None, None:
            return operator.SendAgain()
        case _:
            raise OperatorError(
                "--outcome failed takes --upstream-ran or --upstream-did-not-run, running takes "
                "--upstream-ref REF, queued takes neither"
            )


async def _resolve(
    gateway: Gateway, *, task_id: str, decision: operator.Resolution, comment: str
) -> TaskCard:
    return task_card(await operator.resolve(gateway, task_id, decision, note=comment))


# ---- shared -------------------------------------------------------------------------------


def _short(prompt: str) -> str:
    text = " ".join(prompt.split())
    return text if len(text) <= _PROMPT_CHARS_SHOWN else text[: _PROMPT_CHARS_SHOWN - 1] + "…"
