"""The `reelgate` command: one file per group, imported only when its command runs.

Answers go to stdout (`--json` everywhere), everything else to stderr; exit codes: `cli/exits.py`.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from reelgate import __version__
from reelgate.cli.exits import ExitCode
from reelgate.domain.errors import OperatorError, StoreError

# Command: (module that holds its `app`, one line for `reelgate --help`).
COMMANDS: Mapping[str, tuple[str, str]] = {
    "generate": ("generate", "Turn a prompt into an MP4."),
    "serve": ("serve", "Run the API and the worker."),
    "tasks": ("tasks", "List, show, wait for, cancel and resolve tasks."),
    "accounts": ("accounts", "Create, list, credit and correct accounts."),
    "keys": ("keys", "Create, list, rotate and revoke API keys."),
    "models": ("models", "Show models, their limits and prices."),
    "upstreams": ("upstreams", "List, check, disable and enable upstreams."),
    "report": ("report", "Revenue, upstream cost, margin and losses."),
    "doctor": ("doctor", "Check that money, tasks and files agree."),
    "migrate": ("migrate", "Bring the database up to this version."),
    "settings": ("settings_cmd", "Show every setting, what is in force and why."),
}


class _LazyGroup(TyperGroup):
    """Lists stubs of the commands; the real one is imported when it is chosen."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name is None:
            return name, command, rest
        module = importlib.import_module(f"reelgate.cli.{COMMANDS[name][0]}")
        return name, typer.main.get_command(module.app), rest


def _show_version(asked: bool) -> None:
    if asked:
        print(f"reelgate {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """One OpenAI-compatible API for AI video that you run yourself."""


def _command() -> Any:
    app = typer.Typer(
        cls=_LazyGroup,
        name="reelgate",
        callback=_root,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
    )
    group = typer.main.get_group(app)
    for name, (_, line) in COMMANDS.items():
        group.add_command(TyperCommand(name, help=line))
    return group


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line. Raises SystemExit, always; no traceback for what people can mend."""
    try:
        _command()(args, prog_name="reelgate")
    except OperatorError as error:
        _fail(str(error), error.exit_code)
    except StoreError as error:
        _fail(str(error), ExitCode.UNREACHABLE)
    except Exception as error:  # noqa: BLE001 - the outermost edge: one line, and a code for it
        if os.environ.get("REELGATE_LOG_LEVEL") == "debug":
            traceback.print_exc()
        _fail(
            f"internal error: {type(error).__name__}: {error} "
            "(REELGATE_LOG_LEVEL=debug shows where)",
            ExitCode.BUG,
        )


def _fail(message: str, code: int) -> None:
    print(f"reelgate: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
