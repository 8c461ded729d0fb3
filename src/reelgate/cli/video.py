"""From a task to a file: wait, download, print the bill. Shared by `generate` and `tasks wait`."""

import time
from pathlib import Path
from typing import Any, NoReturn

import typer

from reelgate.cli.client import Answer, Client, GatewayUnreachable
from reelgate.cli.exits import ExitCode
from reelgate.cli.output import bill_rows, note, print_json, size_text
from reelgate.cli.progress import Display, display
from reelgate.domain.errors import OperatorError

_POLL_MS_DEFAULT = 2_000
_POLL_MS_MAX = 60_000
_SILENT_S_MAX = 120
_MS_PER_SECOND = 1000
_ENDED = frozenset({"completed", "failed"})


def target_of(output: Path | None, task_id: str) -> Path:
    """Where the video goes: named after its task in the current directory, or in a given one."""
    if output is None:
        return Path(f"{task_id}.mp4")
    return output / f"{task_id}.mp4" if output.is_dir() else output


def check_writable(output: Path | None) -> None:
    """Find out before any money is spent whether the video can be put there."""
    directory = Path() if output is None else output if output.is_dir() else output.parent
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / f".reelgate-{time.monotonic_ns()}.part"
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise OperatorError(f"can't write to {directory}: {error.strerror}") from None


def resume_command(task_id: str, output: Path | None) -> str:
    """The command that takes up where this one stops."""
    return f"reelgate tasks wait {task_id}" + (f" -o {output}" if output else "")


def finish(client: Client, created: Answer, output: Path | None, *, as_json: bool) -> None:
    """Wait for a task, bring its video here and print the bill. Raises typer.Exit with its code."""
    task_id = str(created.body["id"])
    try:
        _finish(client, created, target_of(output, task_id), as_json=as_json)
    except KeyboardInterrupt:
        note(f"interrupted; the task lives on. Go on with: {resume_command(task_id, output)}")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except GatewayUnreachable as error:
        note(f"the task lives on. Go on with: {resume_command(task_id, output)}")
        raise OperatorError(str(error), error.exit_code) from None


def _finish(client: Client, created: Answer, target: Path, *, as_json: bool) -> None:
    shown = display(quiet=as_json)
    try:
        task = _wait(client, created, shown)
        if task["status"] != "completed":
            shown.close()
            _report_failure(task, as_json=as_json)
        size = client.download(str(task["id"]), target, shown.bytes)
    finally:
        shown.close()
    balance = client.balance()
    if as_json:
        print_json({"file": str(target), "bytes": size, "task": task, "balance": balance})
    else:
        _print_bill(task, target, size, balance)


def _wait(client: Client, answer: Answer, shown: Display) -> dict[str, Any]:
    """The task as it ended. The gateway says how long to let it be between two looks."""
    task_id, heard_at = str(answer.body["id"]), time.monotonic()
    while answer.body["status"] not in _ENDED:
        shown.task(answer.body["status"], int(answer.body.get("progress") or 0))
        pause_s = _pause_s(answer)
        asked_at = time.monotonic()
        try:
            # It holds its answer that long, or until the end: the pause is spent there.
            answer = client.task(task_id, wait_s=pause_s)
            heard_at = time.monotonic()
        except GatewayUnreachable as error:
            if time.monotonic() - heard_at > _SILENT_S_MAX:
                raise
            pause_s = max(pause_s, int(error.retry_after_s))
        else:
            if answer.body["status"] in _ENDED:
                break
        time.sleep(max(0.0, asked_at + pause_s - time.monotonic()))
    shown.task(answer.body["status"], 100)
    return answer.body


def _pause_s(answer: Answer) -> int:
    said = answer.headers.get("openai-poll-after-ms", "")
    pause_ms = int(said) if said.isdecimal() else _POLL_MS_DEFAULT
    return max(1, min(pause_ms, _POLL_MS_MAX) // _MS_PER_SECOND)


def _report_failure(task: dict[str, Any], *, as_json: bool) -> NoReturn:
    error = task.get("error") or {}
    if as_json:
        print_json({"file": None, "bytes": None, "task": task, "balance": None})
    note(f"reelgate: {task['id']} failed: {error.get('message')} ({error.get('code')})")
    note(f"charged: {(task.get('billing') or {}).get('cost') or '0.00'} USD")
    raise typer.Exit(ExitCode.FAILED)


def _print_bill(
    task: dict[str, Any], target: Path, size: int, balance: dict[str, Any] | None
) -> None:
    print(f"{target}  {task['size']}, {task['seconds']} s, {size_text(size)}")
    billing = task.get("billing") or {}
    rows = [*bill_rows(billing), ("total", "", "", f"= {billing.get('cost')} USD")]
    widths = [max(len(row[at]) for row in rows) for at in range(3)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  " + "  ".join([*cells, row[3]]))
    if balance is not None:
        print(f"  balance {balance.get('available')} {balance.get('currency', 'USD')}")
