"""Runs a flow on the configured data from a command: the same functions that the API calls."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from reelgate.app.parts import open_gateway
from reelgate.cli.exits import ExitCode
from reelgate.domain.errors import Code, OperatorError, Refusal
from reelgate.flows.gateway import Gateway
from reelgate.settings import Settings
from reelgate.settings_load import load_settings
from reelgate.store import accounts
from reelgate.store.accounts import Account

T = TypeVar("T")

_NOT_FOUND = frozenset(
    {
        Code.TASK_NOT_FOUND,
        Code.MODEL_NOT_FOUND,
        Code.ACCOUNT_NOT_FOUND,
        Code.KEY_NOT_FOUND,
        Code.UPSTREAM_NOT_FOUND,
    }
)


def here() -> Settings:
    """The settings in force for this command. Raises OperatorError."""
    return load_settings(os.environ, Path.cwd())


def run(flow: Callable[[Gateway], Awaitable[T]]) -> T:
    """What `flow` returns. Its errors become OperatorError with the exit code that fits."""

    async def opened() -> T:
        async with open_gateway(here()) as gateway:
            return await flow(gateway)

    try:
        return asyncio.run(opened())
    except Refusal as refusal:
        code = ExitCode.NOT_FOUND if refusal.code in _NOT_FOUND else ExitCode.USAGE
        if refusal.code is Code.INSUFFICIENT_BALANCE:
            code = ExitCode.INSUFFICIENT_BALANCE
        raise OperatorError(refusal.message, code) from None
    except ValueError as error:
        raise OperatorError(str(error)) from None


async def find_account(gateway: Gateway, id_or_name: str) -> Account:
    """An account by its id or name. Raises OperatorError."""
    account = await gateway.db.read(lambda tx: accounts.get_account(tx, id_or_name))
    if account is None:
        raise OperatorError(
            f"there is no account {id_or_name}; `reelgate accounts list` shows all",
            ExitCode.NOT_FOUND,
        )
    return account
