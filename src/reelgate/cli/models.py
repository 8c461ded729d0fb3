"""`reelgate models`: what each model takes, how long it may be, and what it costs here."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from reelgate.catalog import MODELS
from reelgate.cli.exits import ExitCode
from reelgate.cli.output import Json, print_columns, print_json
from reelgate.domain.errors import OperatorError
from reelgate.domain.model import ModelSpec, OperationSpec, Span
from reelgate.domain.money import usd
from reelgate.settings_load import load_settings

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_MS_PER_SECOND = 1000


@app.command()
def models(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="Only this one.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Show models, their limits and the prices in force (reelgate.toml may change them)."""
    settings = load_settings(os.environ, Path.cwd())
    if model is not None and model not in MODELS:
        raise OperatorError(
            f"there is no model {model}; there is {', '.join(MODELS)}", ExitCode.NOT_FOUND
        )
    chosen = [MODELS[model]] if model else list(MODELS.values())
    described = [_describe(spec, settings.prices_micro(spec)) for spec in chosen]
    if as_json:
        print_json({"models": described})
        return
    for entry in described:
        _print_model(entry)


def _describe(spec: ModelSpec, prices_micro: dict[str, int]) -> dict[str, Any]:
    return {
        "id": spec.id,
        "title": spec.title,
        "prompt_chars_max": spec.prompt_chars_max,
        "sizes": {
            tier: {ratio: pixels[0] for ratio, pixels in ratios.items()}
            for tier, ratios in spec.pixel_sizes.items()
        },
        "operations": {
            operation.value: _describe_operation(row) for operation, row in spec.operations.items()
        },
        "prices_usd": {name: usd(micro) for name, micro in prices_micro.items()},
    }


def _describe_operation(row: OperationSpec) -> dict[str, Any]:
    source = row.source_ms
    return {
        "input": row.inputs.value,
        "images": _span(row.images),
        "seconds": _span(row.seconds),
        "source_seconds": f"{_s(source.low)}-{_s(source.high)}" if source else "",
        "aspect_ratios": list(row.aspect_ratios),
        "charged": [charge.item for charge in row.charges],
    }


def _span(span: Span | None) -> str:
    return f"{span.low}-{span.high}" if span else ""


def _s(ms: int) -> str:
    whole, rest = divmod(ms, _MS_PER_SECOND)
    return f"{whole}.{rest:03d}".rstrip("0").rstrip(".")


def _print_model(entry: dict[str, Any]) -> None:
    print(f"{entry['id']}  {entry['title']}\n")
    headers = ("OPERATION", "INPUT", "SECONDS", "SOURCE SECONDS", "CHARGED")
    rows = [
        (name, row["input"], row["seconds"], row["source_seconds"], ", ".join(row["charged"]))
        for name, row in entry["operations"].items()
    ]
    print_columns(headers, rows)
    print()
    print_columns(("PRICE", "USD"), entry["prices_usd"].items())
    print()
    tiers = list(entry["sizes"])
    ratios = list(entry["sizes"][tiers[0]])
    print_columns(
        ("ASPECT RATIO", *tiers),
        [(ratio, *(entry["sizes"][tier][ratio] for tier in tiers)) for ratio in ratios],
    )
