"""`reelgate settings`: the table of settings, with what is in force here and why it exists."""

import os
from pathlib import Path
from typing import Any

import typer

from reelgate.cli.output import Json, print_columns, print_json
from reelgate.domain.money import usd
from reelgate.settings import Settings, UpstreamSettings
from reelgate.settings_knobs import Knob, knobs, show
from reelgate.settings_load import load_settings

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def settings(*, as_json: Json = False) -> None:
    """Show every setting: the value in force, where it came from, its default and its reason.

    In reelgate.toml the name is that of the variable in lower case, without REELGATE_.
    """
    found = load_settings(os.environ, Path.cwd())
    rows = [_row(knob, found) for knob in knobs(Settings).values()]
    if as_json:
        print_json(
            {
                "config_file": show(found.config_file),
                "settings": rows,
                "upstreams": [_upstream(upstream) for upstream in found.upstreams],
                "prices": {price.model: _prices(found, price.model) for price in found.prices},
            }
        )
        return
    for row in rows:
        unit = f" {row['unit']}" if row["unit"] and row["value"] else ""
        print(f"{row['variable']} = {row['value']}{unit}  ({row['from']})")
        print(f"    {row['why']} Default: {row['default'] or 'none'}. Allowed: {row['allowed']}.")
    print(f"\nreelgate.toml: {show(found.config_file) or 'none'}\n")
    _print_upstreams(found)


def _row(knob: Knob, found: Settings) -> dict[str, str]:
    return {
        "name": knob.name,
        "variable": knob.variable,
        "value": show(getattr(found, knob.name)),
        "default": knob.default_shown,
        "unit": knob.unit,
        "allowed": knob.allowed,
        "from": found.origins.get(knob.name, "default"),
        "why": knob.why,
    }


def _upstream(upstream: UpstreamSettings) -> dict[str, Any]:
    fields = {name: getattr(upstream, name) for name in knobs(UpstreamSettings)}
    return {**fields, "models": dict(upstream.models), "has_key": upstream.api_key is not None}


def _prices(found: Settings, model: str) -> dict[str, str]:
    own = next(price for price in found.prices if price.model == model)
    items = {name: usd(micro) for name, micro in own.items_micro.items()}
    markups = {name: f"× {factor}" for name, factor in own.item_markups.items()}
    return {"every other price": f"× {own.markup}"} | markups | items


def _print_upstreams(found: Settings) -> None:
    rows = [
        (
            upstream.name,
            upstream.kind,
            upstream.base_url or "",
            f"{upstream.api_key_env or ''}{'' if upstream.api_key else ' (not set)'}"
            if upstream.api_key_env
            else "",
            upstream.priority,
            show(upstream.models),
        )
        for upstream in found.upstreams
    ]
    print_columns(("UPSTREAM", "KIND", "BASE URL", "KEY", "PRIORITY", "MODELS"), rows)
    for price in found.prices:
        for name, said in _prices(found, price.model).items():
            print(f"price of {price.model}: {name} {said}")
