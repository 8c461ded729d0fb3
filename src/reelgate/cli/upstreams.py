"""`reelgate upstreams`: where videos are made, and whether key and model work there."""

import asyncio
from functools import partial
from typing import Annotated, Any

import typer

from reelgate.cli import library
from reelgate.cli.exits import ExitCode
from reelgate.cli.output import Json, print_columns, print_json
from reelgate.domain.errors import OperatorError
from reelgate.flows.gateway import Gateway
from reelgate.flows.upstreams import Upstream
from reelgate.settings_load import require_upstream_keys

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)


@app.callback()
def _upstreams() -> None:
    """List and check upstreams: the `[[upstream]]` tables of reelgate.toml."""


@app.command("list")
def list_upstreams(*, as_json: Json = False) -> None:
    """All upstreams, in the order in which they are asked."""
    found = [
        {
            "name": upstream.name,
            "kind": upstream.kind,
            "base_url": upstream.base_url,
            "has_key": upstream.api_key is not None,
            "priority": upstream.priority,
            "weight": upstream.weight,
            "max_in_flight": upstream.max_in_flight,
            "models": dict(upstream.models),
        }
        for upstream in sorted(library.here().upstreams, key=lambda u: u.priority)
    ]
    if as_json:
        print_json({"upstreams": found})
        return
    names = ("name", "kind", "base_url", "priority", "weight", "max_in_flight")
    rows = [[up[name] if up[name] is not None else "" for name in names] for up in found]
    print_columns([name.upper().replace("_", " ") for name in names], rows)


@app.command()
def check(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Only this one.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Prove that each is there, takes its key and has its models, without spending anything."""
    settings = library.here()
    require_upstream_keys(settings)
    known = [upstream.name for upstream in settings.upstreams]
    if name is not None and name not in known:
        raise OperatorError(
            f"there is no upstream {name}; there is {', '.join(known)}", ExitCode.NOT_FOUND
        )
    found = library.run(partial(_check, name=name))
    if as_json:
        print_json({"upstreams": found})
    else:
        print_columns(
            ("NAME", "OK", "WHAT WAS FOUND"),
            [(up["name"], "yes" if up["ok"] else "no", up["detail"]) for up in found],
        )
    if not all(up["ok"] for up in found):
        raise typer.Exit(ExitCode.FAILED)


async def _check(gateway: Gateway, *, name: str | None) -> list[dict[str, Any]]:
    chosen = [upstream for upstream in gateway.upstreams if name in (None, upstream.name)]
    return await asyncio.gather(*map(_check_one, chosen))


async def _check_one(upstream: Upstream) -> dict[str, Any]:
    report = await upstream.provider.check(tuple(upstream.models.values()))
    ok = report.reachable and report.authorized is not False and not report.models_missing
    return {
        "name": upstream.name,
        "ok": ok,
        "reachable": report.reachable,
        "authorized": report.authorized,
        "models_missing": list(report.models_missing),
        "detail": report.detail,
    }
