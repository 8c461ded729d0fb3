"""`reelgate generate` with nothing set up: real processes, the sandbox upstream."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

# Whoever runs the tests may ignore SIGINT (a shell does for its background jobs), and children
# inherit that: make sure that Ctrl-C means what it means on a terminal.
MAIN = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from reelgate.cli import main; main(sys.argv[1:])"
)


class Shell:
    """Starts `reelgate` in a directory of its own, without any setting from outside."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        keep = {"PATH", "HOME", "LANG", "TMPDIR"}
        self.env = {name: value for name, value in os.environ.items() if name in keep}

    def start(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", MAIN, *args],
            cwd=self.directory,
            env=self.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *args: str) -> tuple[int, str, str]:
        process = self.start(*args)
        out, err = process.communicate(timeout=50)
        return process.returncode, out, err

    def json(self, *args: str) -> Any:
        code, out, err = self.run(*args, "--json")
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def started(process: subprocess.Popen[str]) -> None:
    """Wait until a task has been created and is being made."""
    assert process.stderr is not None
    assert process.stderr.readline().startswith(("waiting", "making"))


def only_task(shell: Shell) -> Any:
    (task,) = shell.json("tasks", "list")["tasks"]
    return task


def test_from_nothing_to_a_video(shell: Shell) -> None:
    made = shell.json("generate", "A paper boat", "--seconds", "1", "-o", "out/boat.mp4")
    assert (shell.directory / "out" / "boat.mp4").stat().st_size == made["bytes"]
    assert made["task"]["billing"]["cost"] == "0.05"
    again = shell.json("generate", "Another boat", "--seconds", "1")
    assert (shell.directory / again["file"]).exists()
    (account,) = shell.json("accounts", "list")["accounts"]
    assert (account["name"], account["available"], account["held"]) == ("local", "999.90", "0.00")
    assert shell.json("doctor") == {"broken": [], "stranded": []}


def test_ctrl_c_keeps_the_task_and_a_second_gateway_is_told_so(shell: Shell) -> None:
    first = shell.start("generate", "Slow [sandbox:slow=3]", "--seconds", "1", "-o", "s.mp4")
    started(first)
    code, _, err = shell.run("generate", "Another", "--seconds", "1")
    assert (code, err.count("\n")) == (2, 1)
    assert "runs on" in err
    assert "set REELGATE_URL to its address and REELGATE_API_KEY" in err
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=30)
    assert first.returncode == 130
    task = only_task(shell)
    assert f"Go on with: reelgate tasks wait {task['id']} -o s.mp4" in err
    assert task["ended_at"] is None
    done = shell.json("tasks", "wait", task["id"], "-o", "s.mp4")
    assert (shell.directory / "s.mp4").stat().st_size == done["bytes"]
    assert shell.json("doctor") == {"broken": [], "stranded": []}


def test_the_embedded_gateway_ends_with_its_parent(shell: Shell) -> None:
    first = shell.start("generate", "Slow [sandbox:slow=3]", "--seconds", "1")
    started(first)
    first.kill()
    first.communicate(timeout=10)
    log = shell.directory / "reelgate-data" / "embedded.log"
    give_up = time.monotonic() + 20
    while "worker stopped" not in log.read_text() and time.monotonic() < give_up:
        time.sleep(0.05)
    assert "worker stopped" in log.read_text()
    task = only_task(shell)
    assert shell.json("tasks", "wait", task["id"])["task"]["status"] == "completed"


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
