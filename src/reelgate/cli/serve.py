"""`reelgate serve`: the API and the worker, until SIGTERM or Ctrl-C."""

import asyncio
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated, Literal

import typer

from reelgate.app.parts import make_folder, open_gateway, worker_lock
from reelgate.app.serve import serve as run_server
from reelgate.cli.exits import ExitCode
from reelgate.cli.output import note
from reelgate.domain.errors import OperatorError, StoreError
from reelgate.domain.money import MICRO_PER_USD
from reelgate.flows import accounts as account_flows
from reelgate.flows.gateway import Gateway
from reelgate.settings import Settings
from reelgate.settings_knobs import PREFIX
from reelgate.settings_load import load_settings, require_upstream_keys
from reelgate.store import accounts

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_LOCAL_ACCOUNT = "local"
_LOCAL_CREDIT_MICRO = 1_000 * MICRO_PER_USD
_LOCAL_CREDIT_LOW_MICRO = 100 * MICRO_PER_USD
_LOCAL_KEY_MS = 86_400_000
_EMBEDDED = {"ROLE": "all", "HOST": "127.0.0.1", "PORT": "0"}


@app.command()
def serve(
    *,
    host: Annotated[str | None, typer.Option(help="REELGATE_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="REELGATE_PORT; 0 takes a free one.")] = None,
    role: Annotated[
        Literal["all", "api", "worker"] | None, typer.Option(help="REELGATE_ROLE.")
    ] = None,
    embedded: Annotated[bool, typer.Option("--embedded", hidden=True)] = False,
) -> None:
    """Run the API and the worker in this process.

    Options win over variables, variables over reelgate.toml; `reelgate settings` shows them all.
    """
    given = {"HOST": host, "PORT": port, "ROLE": role}
    chosen = {name: str(value) for name, value in given.items() if value is not None}
    if embedded:
        _serve_parent(chosen)
        return
    settings = _settings(chosen)
    run_server(settings, ready=lambda url: note(f"reelgate is ready: {url}"))


def _settings(chosen: dict[str, str]) -> Settings:
    overrides = {PREFIX + name: value for name, value in chosen.items()}
    settings = load_settings({**os.environ, **overrides}, Path.cwd())
    require_upstream_keys(settings)
    return settings


# ---- for the process that started us (cli/gateways.py) ------------------------------------


def _serve_parent(chosen: dict[str, str]) -> None:
    """Serve on a free loopback port for as long as stdin is open; say how in one line of JSON."""
    try:
        settings = _settings(chosen | _EMBEDDED)
        _refuse_second_worker(settings)
        key = asyncio.run(_local_key(settings))
        threading.Thread(target=_stop_with_parent, daemon=True).start()
        run_server(settings, ready=lambda url: _say({"url": url, "api_key": key}))
    except OperatorError as error:
        _say({"error": str(error), "exit_code": int(error.exit_code)})
    except StoreError as error:
        _say({"error": str(error), "exit_code": int(ExitCode.UNREACHABLE)})


def _say(line: dict[str, str | int]) -> None:
    print(json.dumps(line), flush=True)


def _stop_with_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _refuse_second_worker(settings: Settings) -> None:
    make_folder(settings.data_dir, "REELGATE_DATA_DIR")
    try:
        with worker_lock(settings):
            return
    except OperatorError:
        raise OperatorError(
            f"a gateway runs on {settings.data_dir} already. To use it, set REELGATE_URL to its "
            "address and REELGATE_API_KEY to a key of it (`reelgate keys create ACCOUNT`); to run "
            "another, set REELGATE_DATA_DIR to another directory"
        ) from None


async def _local_key(settings: Settings) -> str:
    """A fresh key of the account that embedded gateways work for, with money on it."""
    async with open_gateway(settings) as gateway:
        account = await gateway.db.read(lambda tx: accounts.get_account(tx, _LOCAL_ACCOUNT))
        if account is None:
            account = await account_flows.create_account(gateway, _LOCAL_ACCOUNT)
        if account.posted_micro - account.held_micro < _LOCAL_CREDIT_LOW_MICRO:
            await _top_up(gateway, account.id)
        expires_at_ms = gateway.clock.now_ms() + _LOCAL_KEY_MS
        made = await account_flows.create_key(
            gateway, account.id, name="embedded", expires_at_ms=expires_at_ms
        )
        return made.secret


async def _top_up(gateway: Gateway, account_id: str) -> None:
    await account_flows.credit(
        gateway, account_id, _LOCAL_CREDIT_MICRO, reference=None, note="for the embedded gateway"
    )
