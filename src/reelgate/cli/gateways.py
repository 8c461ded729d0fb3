"""The gateway that a command talks to: the one that REELGATE_URL names, or one of its own."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from reelgate.cli.client import Client, Endpoint
from reelgate.cli.exits import ExitCode
from reelgate.cli.output import note
from reelgate.domain.errors import OperatorError
from reelgate.settings import Settings
from reelgate.settings_load import load_settings

_START_S_MAX = 60
_STOP_S_EXTRA = 10
_LOG_NAME = "embedded.log"
_LOG_BYTES_MAX = 10 * 1024 * 1024


def remote(settings: Settings) -> Endpoint | None:
    """The gateway that the settings name. Raises OperatorError when half of it is missing."""
    if settings.url is None and settings.api_key is None:
        return None
    if settings.api_key is None:
        raise OperatorError(
            f"REELGATE_URL is set to {settings.url}, but REELGATE_API_KEY is not; set both to use "
            "that gateway, or neither to run one for the time of the job"
        )
    if settings.url is None:
        raise OperatorError(
            "REELGATE_API_KEY is set, but REELGATE_URL is not; set both to use a gateway, or "
            "neither to run one for the time of the job"
        )
    return Endpoint(settings.url, settings.api_key.reveal())


@contextmanager
def connected() -> Iterator[Client]:
    """A client of the gateway that the settings name, or of an embedded one until the end."""
    settings = load_settings(os.environ, Path.cwd())
    endpoint = remote(settings)
    if endpoint is not None:
        yield Client(endpoint)
        return
    with embedded(settings) as endpoint:
        yield Client(endpoint)


@contextmanager
def embedded(settings: Settings) -> Iterator[Endpoint]:
    """A gateway on a free loopback port, with the settings in force here, in a child process.

    It holds its stdin as a lifeline: when that ends, because we are done or because we died, it
    drains and stops; tasks that have not ended go on when a gateway runs on this data again.
    """
    log_path = settings.data_dir / _LOG_NAME
    with _log_file(log_path) as log:
        # Not in our process group: Ctrl-C is for us, and the child is told in its own way.
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "reelgate", "serve", "--embedded"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        yield _ready(child.stdout, log_path)
    finally:
        child.stdin.close()
        try:
            child.wait(settings.shutdown_grace_s + _STOP_S_EXTRA)
        except subprocess.TimeoutExpired:
            note("the embedded gateway does not stop; killing it (nothing is lost)")
            child.kill()
            child.wait()
        child.stdout.close()


def _log_file(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        full = path.exists() and path.stat().st_size > _LOG_BYTES_MAX
        return path.open("wb" if full else "ab")
    except OSError as error:
        raise OperatorError(
            f"REELGATE_DATA_DIR = {path.parent} can't be used: {error.strerror}; allowed is a "
            "directory that can be written to"
        ) from None


def _ready(answers: IO[bytes], log_path: Path) -> Endpoint:
    """What the child says of itself, in one line of JSON."""
    readable, _, _ = select.select([answers], [], [], _START_S_MAX)
    line = answers.readline() if readable else b""
    try:
        said = json.loads(line)
    except ValueError:
        raise OperatorError(
            f"the embedded gateway did not start; {log_path} says why", ExitCode.UNREACHABLE
        ) from None
    if "error" in said:
        raise OperatorError(said["error"], said["exit_code"])
    return Endpoint(said["url"], said["api_key"])
