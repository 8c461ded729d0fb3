"""What holds for every command: help, exit codes, one line instead of a traceback."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from reelgate import __version__
from reelgate.cli import COMMANDS, exits
from reelgate.cli.exits import ExitCode
from reelgate.domain.errors import StorageFull, StoreUnavailable
from tests.cli.conftest import Run

HEAVY = {"aiohttp", "apsw", "av", "numpy", "psycopg", "rich", "starlette", "uvicorn", "uvloop"}


def loaded_by(*args: str) -> set[str]:
    """The top-level modules that a command has loaded when it ends."""
    code = (
        "import sys; from reelgate.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, check=True
    )
    return set(ran.stderr.split())


@pytest.mark.parametrize("args", [["--help"], ["--version"], []])
def test_help_loads_nothing_heavy(args: list[str]) -> None:
    assert loaded_by(*args) & (HEAVY | {"msgspec", "asyncio", "pydantic"}) == set()


@pytest.mark.parametrize("args", [["settings"], ["models"], ["upstreams", "--help"]])
def test_commands_load_what_they_need(args: list[str]) -> None:
    needed = {"upstreams": HEAVY, "settings": set[str](), "models": set[str]()}[args[0]]
    assert loaded_by(*args) & HEAVY <= needed


def test_help_lists_every_command(run: Run) -> None:
    ran = run("--help")
    assert ran.code == 0
    for name, (_, line) in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(line)}$", ran.out, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(run: Run, name: str) -> None:
    ran = run(name, "--help")
    assert ran.code == 0
    assert f"Usage: reelgate {name} " in ran.out


def test_it_runs_as_a_module(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "reelgate", "--version"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert ran.stdout == f"reelgate {__version__}\n"


def test_every_exit_code_is_in_the_table() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", exits.__doc__ or "", re.MULTILINE)}
    assert listed == set(ExitCode)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["task"], "No such command 'task'. Did you mean 'tasks'?"),
        (["serve", "--prot", "1"], "No such option: --prot"),
        (["serve", "--port", "x"], "Invalid value for '--port'"),
        (["serve", "--role", "both"], "'both'"),
        (["generate"], "Missing argument 'PROMPT'"),
    ],
)
def test_wrong_usage(run: Run, args: list[str], said: str) -> None:
    ran = run(*args)
    assert ran.code == ExitCode.USAGE
    assert said in ran.err


@pytest.mark.parametrize(
    "args", [["settings"], ["serve"], ["tasks", "list"], ["doctor"], ["generate", "A boat"]]
)
def test_wrong_settings_are_one_line(run: Run, args: list[str]) -> None:
    ran = run(*args, REELGATE_PROT="1")
    assert ran.code == ExitCode.USAGE
    assert ran.err == "reelgate: REELGATE_PROT is not a setting; did you mean REELGATE_PORT?\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StorageFull("the disk is full"), ExitCode.UNREACHABLE),
        (StoreUnavailable("the database is away"), ExitCode.UNREACHABLE),
        (RuntimeError("a bug"), ExitCode.BUG),
    ],
)
def test_no_traceback(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, code: ExitCode
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("reelgate.cli.models.load_settings", fail)
    ran = run("models")
    assert (ran.code, ran.err.count("\n")) == (code, 1)
    assert str(error) in ran.err
    shown = run("models", REELGATE_LOG_LEVEL="debug")
    assert ("Traceback" in shown.err) == (code == ExitCode.BUG)


# ---- settings, models ---------------------------------------------------------------------


def test_settings_says_where_each_came_from(run: Run) -> None:
    Path("reelgate.toml").write_text('port = 1234\n[price."grok-imagine"]\nmarkup = "1.5"\n')
    ran = run("settings", "--json", REELGATE_LEASE_S="7")
    assert ran.code == 0
    rows = {row["name"]: row for row in ran.json["settings"]}
    assert (rows["port"]["value"], rows["port"]["from"]) == ("1234", "file")
    assert (rows["lease_s"]["value"], rows["lease_s"]["from"]) == ("7", "environment")
    assert (rows["host"]["value"], rows["host"]["from"]) == ("127.0.0.1", "default")
    assert rows["lease_s"]["variable"] == "REELGATE_LEASE_S"
    assert all(row["why"] for row in rows.values())
    assert ran.json["upstreams"][0]["name"] == "sandbox"
    assert ran.json["prices"] == {"grok-imagine": {"every other price": "× 1.5"}}


def test_settings_shows_no_secret(run: Run) -> None:
    secrets = {
        "REELGATE_SECRET": "tops3cret" * 4,
        "REELGATE_DATABASE_URL": "postgresql://me:tops3cret@db/x",
        "REELGATE_API_KEY": "tops3cret",
        "XAI_API_KEY": "tops3cret",
    }
    for args in (["settings"], ["settings", "--json"]):
        ran = run(*args, **secrets)
        assert ran.code == 0
        assert "tops3cret" not in ran.out + ran.err
        assert "postgresql://me:***@db/x" in ran.out


def test_models_shows_the_prices_in_force(run: Run) -> None:
    Path("reelgate.toml").write_text('[price."grok-imagine"]\noutput_second_720p = "0.99"\n')
    ran = run("models", "--json")
    (model,) = ran.json["models"]
    assert model["prices_usd"]["output_second_720p"] == "0.99"
    assert model["operations"]["edit_video"]["source_seconds"] == "1-8.7"
    assert "0.99" in run("models", "grok-imagine").out


def test_an_unknown_model(run: Run) -> None:
    ran = run("models", "sora")
    assert (ran.code, ran.err) == (3, "reelgate: there is no model sora; there is grok-imagine\n")
