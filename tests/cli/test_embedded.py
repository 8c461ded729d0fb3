"""`reelgate generate` with nothing set up: real processes, the sandbox upstream."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import Any

import pytest

from tests.cli.conftest import Shell


def until(process: subprocess.Popen[str], word: str) -> None:
    """Wait until a command says this of its task: waiting or making."""
    assert process.stderr is not None
    assert any(line.startswith(word) for line in process.stderr)


def interrupted(shell: Shell, prompt: str, word: str) -> Any:
    """The task of a `generate` that was stopped by Ctrl-C once it said this."""
    process = shell.start("generate", prompt, "--seconds", "1")
    until(process, word)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    return only_task(shell)


def only_task(shell: Shell) -> Any:
    (task,) = shell.json("tasks", "list")["data"]
    return task


def test_from_nothing_to_a_video(shell: Shell) -> None:
    made = shell.json("generate", "A paper boat", "--seconds", "1", "-o", "out/boat.mp4")
    assert (shell.directory / "out" / "boat.mp4").stat().st_size == made["bytes"]
    assert made["task"]["billing"]["cost"] == "0.05"
    again = shell.json("generate", "Another boat", "--seconds", "1")
    assert (shell.directory / again["file"]).exists()
    (account,) = shell.json("accounts", "list")["data"]
    assert (account["name"], account["available"], account["held"]) == ("local", "999.90", "0.00")
    assert shell.json("doctor") == {"broken": [], "stranded": []}
    report = shell.json("report", "--by", "model,operation")
    assert (report["total"]["completed"], report["total"]["revenue"]) == (2, "0.10")
    _, out, _ = shell.run("report", "--csv", "--by", "upstream")
    assert out.splitlines()[1].startswith("sandbox,2,2,0,0.10,")
    history = shell.json("tasks", "show", made["task"]["id"])
    assert [move["to"] for move in history["moves"]] == [
        "sending",
        "running",
        "collecting",
        "completed",
    ]
    assert [entry["kind"] for entry in history["ledger"]] == ["hold", "capture"]
    _, out, _ = shell.run("tasks", "show", made["task"]["id"])
    assert "prompt: A paper boat\n" in out


def test_ctrl_c_keeps_the_task_and_a_second_gateway_is_told_so(shell: Shell) -> None:
    first = shell.start("generate", "Slow [sandbox:slow=3]", "--seconds", "1", "-o", "s.mp4")
    until(first, "waiting")
    code, _, err = shell.run("generate", "Another", "--seconds", "1")
    assert (code, err.count("\n")) == (2, 1)
    assert "runs on" in err
    assert "set REELGATE_URL to its address and REELGATE_API_KEY" in err
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=30)
    assert first.returncode == 130
    task = only_task(shell)
    assert f"Go on with: reelgate tasks wait {task['id']} -o s.mp4" in err
    assert task["ended_at_ms"] is None
    done = shell.json("tasks", "wait", task["id"], "-o", "s.mp4")
    assert (shell.directory / "s.mp4").stat().st_size == done["bytes"]
    assert shell.json("doctor") == {"broken": [], "stranded": []}


def test_the_embedded_gateway_ends_with_its_parent(shell: Shell) -> None:
    first = shell.start("generate", "Slow [sandbox:slow=3]", "--seconds", "1")
    until(first, "waiting")
    first.kill()
    first.communicate(timeout=10)
    log = shell.directory / "reelgate-data" / "embedded.log"
    give_up = time.monotonic() + 20
    while "worker stopped" not in log.read_text() and time.monotonic() < give_up:
        time.sleep(0.05)
    assert "worker stopped" in log.read_text()
    task = only_task(shell)
    assert shell.json("tasks", "wait", task["id"])["task"]["status"] == "completed"


def test_a_queued_task_is_cancelled(shell: Shell) -> None:
    shell.json("upstreams", "disable", "sandbox")
    task = interrupted(shell, "Not now", "waiting")
    assert task["state"] == "queued"
    assert shell.json("tasks", "cancel", task["id"])["state"] == "cancelled"
    code, _, err = shell.run("tasks", "cancel", task["id"])
    assert (code, "can't be cancelled" in err) == (2, True)
    assert shell.json("doctor")["broken"] == []


def test_a_stranded_task_is_resolved(shell: Shell) -> None:
    task = interrupted(shell, "Lost [sandbox:lost-reply]", "making")
    assert task["state"] == "stranded"
    (stranded,) = shell.json("doctor")["stranded"]
    assert stranded["id"] == task["id"]
    said = ["--outcome", "failed", "--upstream-did-not-run", "--note", "looked it up"]
    resolved = shell.json("tasks", "resolve", task["id"], *said)
    assert (resolved["state"], resolved["video"]["error"]["code"]) == ("failed", "outcome_unknown")
    assert shell.json("doctor") == {"broken": [], "stranded": []}
    code, _, err = shell.run("tasks", "resolve", task["id"], "--outcome", "queued")
    assert (code, "only a stranded one can be resolved" in err) == (2, True)


def test_a_task_that_fails(shell: Shell) -> None:
    code, _, err = shell.run("generate", "No [sandbox:moderated]", "--seconds", "1")
    assert code == 1
    assert "(content_policy_violation)" in err
    assert "charged: 0.00 USD" in err


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("REELGATE_DATA_DIR", "file.txt/data", "REELGATE_DATA_DIR = "),
        ("REELGATE_DATABASE_URL", "postgresql://127.0.0.1:1/x", "REELGATE_DATABASE_URL: can't"),
        ("REELGATE_DATABASE_URL", "sqlite:///file.txt", "REELGATE_DATABASE_URL: can't"),
    ],
)
def test_a_start_that_can_not_work_is_one_line(
    shell: Shell, variable: str, value: str, said: str
) -> None:
    (shell.directory / "file.txt").write_text("in the way\n" * 100)
    shell.env[variable] = value
    code, _, err = shell.run("generate", "A boat", "--seconds", "1")
    assert (code, err.count("\n")) == (2, 1), err
    assert err.startswith(f"reelgate: {said}")
