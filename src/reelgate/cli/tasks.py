"""`reelgate tasks`: of the gateway that REELGATE_URL names, else all there are in the data here."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from reelgate.cli import library
from reelgate.cli.client import Client
from reelgate.cli.exits import ExitCode
from reelgate.cli.gateways import connected, remote
from reelgate.cli.output import Json, print_columns, print_json, when
from reelgate.cli.video import check_writable, finish
from reelgate.domain.errors import OperatorError
from reelgate.domain.money import usd
from reelgate.domain.task import Task
from reelgate.flows import cancel as cancel_flow
from reelgate.flows.gateway import Gateway
from reelgate.store import ledger, tasks

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
    """List, show, wait for and cancel tasks.

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
        rows, shown = [_row(task) for task in found], {"tasks": [_plain(task) for task in found]}
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
    """One task; from the data here with its whole history and its money."""
    client = _remote()
    found = client.task(task_id).body if client else library.run(partial(_history, task_id=task_id))
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        if isinstance(value, list):
            print(f"{name}:")
            for entry in value:
                print("  " + "  ".join(str(part) for part in entry.values() if part is not None))
        elif value not in (None, "", {}):
            print(f"{name}: {value}")


async def _history(gateway: Gateway, *, task_id: str) -> dict[str, Any]:
    task = await _find(gateway, task_id)
    moves = await gateway.db.read(lambda tx: tasks.history(tx, task_id))
    entries = await gateway.db.read(lambda tx: ledger.of_task(tx, task_id))
    return {
        **_plain(task),
        "moves": [
            {"at": when(at_ms), "from": before, "to": to, "note": said or None}
            for at_ms, before, to, said in moves
        ],
        "money": [
            {
                "at": when(entry.at_ms),
                "kind": entry.kind,
                "usd": usd(entry.amount_micro),
                "note": entry.note,
            }
            for entry in entries
        ],
    }


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
    ended = (
        client.cancel(task_id).body if client else library.run(partial(_cancel, task_id=task_id))
    )
    if as_json:
        print_json(ended)
    else:
        print(f"{task_id} is cancelled; nothing was charged")


async def _cancel(gateway: Gateway, *, task_id: str) -> dict[str, Any]:
    return _plain(await cancel_flow.cancel(gateway, await _find(gateway, task_id)))


# ---- shared -------------------------------------------------------------------------------


async def _find(gateway: Gateway, task_id: str) -> Task:
    task = await gateway.db.read(lambda tx: tasks.get(tx, task_id))
    if task is None:
        raise OperatorError(f"there is no task {task_id}", ExitCode.NOT_FOUND)
    return task


def _plain(task: Task) -> dict[str, Any]:
    """A task as the operator sees it; the prompt, no bytes of inputs, no upstream's link."""
    return {
        "id": task.id,
        "account_id": task.account_id,
        "key_id": task.key_id,
        "request_id": task.request_id,
        "state": task.state.value,
        "status": task.status,
        "progress": task.progress,
        "model": task.model,
        "operation": task.operation,
        "prompt": task.order.prompt,
        "created_at": when(task.created_at_ms),
        "deadline_at": when(task.deadline_at_ms),
        "ended_at": when(task.ended_at_ms),
        "expires_at": when(task.expires_at_ms),
        "upstream": task.upstream,
        "upstream_ref": task.upstream_ref,
        "upstream_cost_ticks": task.upstream_cost_ticks,
        "held": usd(task.held_micro),
        "charged": usd(task.bill.total_micro) if task.bill else None,
        "result": asdict(task.result) if task.result else None,
        "error": asdict(task.failure) if task.failure else None,
    }


def _short(prompt: str) -> str:
    text = " ".join(prompt.split())
    return text if len(text) <= _PROMPT_CHARS_SHOWN else text[: _PROMPT_CHARS_SHOWN - 1] + "…"
