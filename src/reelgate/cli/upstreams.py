"""`reelgate upstreams`: where videos are made, and whether key and model work there."""

import asyncio
from functools import partial
from typing import Annotated, Any

import typer

from reelgate.api.admin_wire import UpstreamCard, upstream_card
from reelgate.cli import library
from reelgate.cli.exits import ExitCode
from reelgate.cli.output import Json, print_columns, print_json, when_s
from reelgate.domain.errors import OperatorError
from reelgate.flows import switches
from reelgate.flows.gateway import Gateway
from reelgate.flows.upstreams import Upstream, what_is_wrong
from reelgate.settings_load import require_upstream_keys

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)

_DETAIL_CHARS_SHOWN = 120

Name = Annotated[str, typer.Argument(metavar="NAME", help="From `reelgate upstreams list`.")]


@app.callback()
def _upstreams() -> None:
    """List, check, disable and enable upstreams: the `[[upstream]]` tables of reelgate.toml."""


@app.command("list")
def list_upstreams(*, as_json: Json = False) -> None:
    """All upstreams, those asked first coming first, and how they are doing."""
    found = library.run(_health)
    if as_json:
        print_json({"object": "list", "data": found})
        return
    rows = [
        (
            card.name,
            card.kind,
            "on" if card.enabled else f"off since {when_s(card.disabled_at)} {card.note or ''}",
            card.priority,
            card.weight,
            sum(card.live.values()),
            card.completed_last_hour,
            card.failed_last_hour,
            _trouble(card),
        )
        for card in found
    ]
    headers = (
        "NAME",
        "KIND",
        "STATE",
        "PRIORITY",
        "WEIGHT",
        "LIVE",
        "DONE IN 1 H",
        "FAILED IN 1 H",
        "TROUBLE",
    )
    print_columns(headers, rows)


def _trouble(card: UpstreamCard) -> str:
    """What is wrong, what the upstream said, and when it is tried again."""
    if card.trouble is None:
        return ""
    said = (card.trouble_detail or "")[:_DETAIL_CHARS_SHOWN]
    wait_s = -(-card.paused_ms // 1000)
    again = f"tried again in {wait_s} s" if wait_s else "the next task tries it again"
    return f"{card.trouble} since {when_s(card.trouble_since)}, {again}: {said}"


async def _health(gateway: Gateway) -> list[UpstreamCard]:
    return [upstream_card(health) for health in await switches.health(gateway)]


@app.command()
def disable(
    name: Name,
    *,
    comment: Annotated[str, typer.Option("--note", help="Why; the list shows it.")] = "",
    as_json: Json = False,
) -> None:
    """Send no more jobs to an upstream, on every node within seconds; those it has go on."""

    async def switch(gateway: Gateway) -> UpstreamCard | None:
        await switches.disable(gateway, name, note=comment)
        return await _card(gateway, name)

    _print_switched(name, library.run(switch), "off", as_json=as_json)


@app.command()
def enable(name: Name, *, as_json: Json = False) -> None:
    """Send jobs to an upstream again."""

    async def switch(gateway: Gateway) -> UpstreamCard | None:
        await switches.enable(gateway, name)
        return await _card(gateway, name)

    _print_switched(name, library.run(switch), "on", as_json=as_json)


async def _card(gateway: Gateway, name: str) -> UpstreamCard | None:
    """None for one that has left the settings."""
    return next((card for card in await _health(gateway) if card.name == name), None)


def _print_switched(name: str, card: UpstreamCard | None, state: str, *, as_json: bool) -> None:
    if as_json:
        print_json(card)
    else:
        print(f"{name} is {state}")


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
    trouble = what_is_wrong(report)
    return {
        "name": upstream.name,
        "ok": trouble is None,
        "trouble": trouble,
        "reachable": report.reachable,
        "authorized": report.authorized,
        "models_missing": list(report.models_missing),
        "detail": report.detail,
    }
