"""`reelgate serve` as an operator runs it: a process, a port, signals."""

from __future__ import annotations

import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cli.conftest import Shell


@contextmanager
def serving(shell: Shell) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server on a free port and its address; it is gone when the block is left."""
    server = shell.start("serve", "--port", "0")
    assert server.stderr is not None
    try:
        ready = next(line for line in server.stderr if line.startswith("reelgate is ready: "))
        yield server, ready.split()[-1]
    finally:
        if server.poll() is None:
            server.terminate()
            server.communicate(timeout=30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(shell: Shell, number: signal.Signals) -> None:
    with serving(shell) as (server, url):
        with urllib.request.urlopen(f"{url}/readyz", timeout=10) as answer:
            assert answer.status == 200
        server.send_signal(number)
        out, err = server.communicate(timeout=30)
    assert (server.returncode, out) == (0, "")
    assert "worker stopped" in err


def test_a_port_in_use_is_one_line(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, _, err = shell.run("serve", "--port", port)
    assert (code, err.count("\n")) == (2, 1)
    assert f"can't listen on 127.0.0.1 port {port}" in err


def test_a_second_worker_on_one_file_is_refused(shell: Shell) -> None:
    with serving(shell):
        code, _, err = shell.run("serve", "--port", "0")
    assert (code, err.count("\n")) == (2, 1)
    assert "another reelgate worker uses the SQLite database" in err


def test_commands_work_beside_a_running_server(shell: Shell) -> None:
    with serving(shell) as (_, url):
        made = shell.json("accounts", "create", "ann", "--credit", "1")
        shell.env |= {"REELGATE_URL": url, "REELGATE_API_KEY": made["api_key"]}
        video = shell.json("generate", "A boat", "--seconds", "1")
        (listed,) = shell.json("tasks", "list")["data"]
        code, _, err = shell.run("generate", "Too dear", "--seconds", "15", "--size", "720p")
    assert video["task"]["billing"]["cost"] == "0.05"
    assert listed["id"] == video["task"]["id"]
    assert code == 5
    assert "0.95" in err


def test_without_its_key_it_does_not_start(shell: Shell) -> None:
    (shell.directory / "reelgate.toml").write_text('[[upstream]]\nname = "x"\nkind = "xai"\n')
    code, _, err = shell.run("serve", "--port", "0")
    assert (code, err.count("\n")) == (2, 1)
    assert "XAI_API_KEY is not set, but upstream x takes its key from it" in err
