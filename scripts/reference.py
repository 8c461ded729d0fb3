"""Writes docs/reference/ from the code: run it with `make reference`.

One function per page; a page says only what a table of the program says. `tests/test_docs.py`
fails when a page is older than what it is made of.
"""

import contextlib
import html
import importlib
import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from reelgate.api.describe import HEADERS, TAGS, Access
from reelgate.api.docs_schema import Shapes, without_null
from reelgate.api.errors import KINDS
from reelgate.api.field_docs import Known
from reelgate.api.meanings import CODES, TASK_ERRORS
from reelgate.api.metrics import METRICS
from reelgate.api.openapi import openapi
from reelgate.api.routes import ROUTES
from reelgate.catalog import MODELS
from reelgate.cli import COMMANDS, exits, main
from reelgate.domain.examples import example
from reelgate.domain.model import MediaLimits, ModelSpec, OperationSpec, Span
from reelgate.domain.money import usd
from reelgate.providers.sandbox.script import TAGS as SANDBOX_TAGS
from reelgate.settings import Settings, UpstreamSettings
from reelgate.settings_knobs import PREFIX, Knob, knobs

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
_MADE = "<!-- Made by `make reference` from the code: changes here are overwritten. -->"
_MIB = 1024 * 1024
_MS_PER_SECOND = 1000
_HELP_COLUMNS = "80"


def pages() -> dict[str, str]:
    """Every page by file name."""
    made = {name: page() for name, (_, page) in _PAGES.items()}
    made["README.md"] = _index()
    return {name: f"{_MADE}\n\n{text.strip()}\n" for name, text in made.items()}


def write(folder: Path) -> list[str]:
    """Write what has changed, remove what is no page any more; the names of those."""
    wanted = pages()
    folder.mkdir(parents=True, exist_ok=True)
    changed = []
    for path in folder.glob("*.md"):
        if path.name not in wanted:
            path.unlink()
            changed.append(path.name)
    for name, text in wanted.items():
        path = folder / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            changed.append(name)
    return changed


# ---- pages --------------------------------------------------------------------------------


def _index() -> str:
    lines = [f"- [{about}]({name})" for name, (about, _) in _PAGES.items()]
    return _page(
        "# Reference",
        "Made from the code. A running gateway has the same at `/docs`, with its own prices, and "
        "as OpenAPI 3.1 at `/openapi.json`.",
        "\n".join(lines),
    )


def _http() -> str:
    document = openapi(ROUTES, Known(MODELS, allow_http=False))
    shapes = Shapes(document)
    parts = ["# HTTP routes"]
    for tag, about in TAGS.items():
        rows = [
            (f"`{route.method}`", f"`{route.path}`", route.doc.summary, _access(route))
            for route in ROUTES
            if route.doc.tag is tag
        ]
        parts += [f"## {tag.value}", about, _table(("", "Route", "Does", "Opened by"), rows)]
    create = document["components"]["schemas"]["CreateVideo"]
    fields = [
        (
            f"`{name}`" + (" (required)" if name in create["required"] else ""),
            _plain(shapes.kind(without_null(value))),
            value["description"],
        )
        for name, value in create["properties"].items()
    ]
    parts += [
        "## Fields of a create request",
        "What each operation takes of them: [models](models.md).",
        _table(("Field", "Value", "Meaning"), fields),
        "## Headers of answers",
        _table(("Header", "Says"), [(f"`{name}`", about) for name, (about, _) in HEADERS.items()]),
    ]
    return _page(*parts)


def _access(route: Any) -> str:
    ways = {
        Access.KEY: "API key",
        Access.LINK: "signed link",
        Access.ADMIN_KEY: "admin key",
    }
    return " or ".join(ways[way] for way in route.doc.access) or (
        "API key" if route.keyed else "anybody"
    )


def _errors() -> str:
    of_request = [
        (
            f"`{code.value}`",
            str(kind.status),
            f"`{kind.type}`",
            CODES[code].what,
            CODES[code].remedy,
        )
        for code, kind in KINDS.items()
    ]
    of_task = [
        (f"`{code.value}`", meaning.what, meaning.remedy) for code, meaning in TASK_ERRORS.items()
    ]
    return _page(
        "# Error codes",
        "## Of a request",
        'Every refusal is `{"error": {"message", "type", "param", "code"}}`.',
        _table(("Code", "HTTP", "Type", "Means", "What helps"), of_request),
        "## Of a task",
        "A task without a video is `failed` and says why in its `error`. It costs nothing.",
        _table(("Code", "Means", "What helps"), of_task),
    )


def _models() -> str:
    return _page("# Models", *(_model(spec) for spec in MODELS.values()))


def _model(spec: ModelSpec) -> str:
    operations = [
        (
            f"`{operation.value}`",
            _inputs(row),
            _span(row.seconds) or "as its source",
            f"{_s(row.source_ms.low)}–{_s(row.source_ms.high)}" if row.source_ms else "",
            _span(row.declared_source_seconds),
            (row.tier_default or "its source's") if row.takes_size else "as its source",
            ", ".join(row.aspect_ratios) or "as its source",
            ", ".join(f"`{charge.item}`" for charge in row.charges),
        )
        for operation, row in spec.operations.items()
    ]
    heads = (
        "Operation", "Input", "Seconds", "Source, s", "`input_video_seconds`", "Size if none given",
        "Aspect ratios", "Charged",
    )  # fmt: skip
    ratios = dict.fromkeys(ratio for tier in spec.tiers for ratio in spec.pixel_sizes[tier])
    sizes = [
        (ratio, *(" or ".join(spec.pixel_sizes[tier][ratio]) for tier in spec.tiers))
        for ratio in ratios
    ]
    units = {
        charge.price_name(tier): charge.unit
        for row in spec.operations.values()
        for charge in row.charges
        for tier in spec.tiers
    }
    prices = [(f"`{name}`", usd(micro), units[name]) for name, micro in spec.prices_micro.items()]
    bodies = [
        f"`{operation.value}`:\n\n```json\n{example(operation, spec.id)}\n```"
        for operation in spec.operations
    ]
    return _page(
        f"## {spec.title}: `{spec.id}`",
        _table(heads, operations),
        f"A prompt has at most {spec.prompt_chars_max} characters; `{spec.images_tag}1` names "
        "the first of `images`. "
        f"Pictures: {_media(spec.image_limits)}. Clips: {_media(spec.video_limits)}.",
        "### Prices",
        "Defaults, in USD; `[price]` in reelgate.toml changes them (see [settings](settings.md)).",
        _table(("Price", "USD", "Per"), prices),
        "### Sizes",
        _table(("Aspect ratio", *spec.tiers), sizes),
        "### A whole body for each operation",
        *bodies,
    )


def _inputs(row: OperationSpec) -> str:
    if row.images is not None and row.images.high > 1:
        return f"`{row.inputs.value}` ({_span(row.images)})"
    return "none" if row.inputs.value == "prompt" else f"`{row.inputs.value}`"


def _span(span: Span | None) -> str:
    return f"{span.low}–{span.high}" if span else ""


def _s(ms: int) -> str:
    whole, rest = divmod(ms, _MS_PER_SECOND)
    return f"{whole}.{rest:03d}".rstrip("0").rstrip(".")


def _media(limits: MediaLimits) -> str:
    codecs = f" ({', '.join(limits.codecs)})" if limits.codecs else ""
    return f"{', '.join(limits.mimes)}{codecs}, at most {limits.bytes_max // _MIB} MiB"


def _settings() -> str:
    own = [(f"`{knob.variable}`", *_knob(knob)) for knob in knobs(Settings).values()]
    upstream = [(f"`{knob.name}`", *_knob(knob)) for knob in knobs(UpstreamSettings).values()]
    heads = ("Setting", "Default", "Allowed", "What it does")
    prices = ", ".join(f"`{name}`" for spec in MODELS.values() for name in spec.prices_micro)
    return _page(
        "# Settings",
        f"A variable of the environment wins over `reelgate.toml` in the working directory (or "
        f"the file that `{PREFIX}CONFIG` names), which wins over the default. In the file the "
        f"name is that of the variable in lower case, without `{PREFIX}`. `reelgate settings` "
        "prints what is in force and where it comes from.",
        _table(heads, own),
        "## `[[upstream]]`",
        "As many as wanted, in the file only; with none, xAI if `XAI_API_KEY` is set, else the "
        "sandbox.",
        _table(heads, upstream),
        '## `[price."MODEL"]`',
        f"By the name of the price ({prices}) an amount in USD per unit, or "
        '`{ markup = "1.25" }` on the default; `markup` alone is for every price that is not '
        "named.",
        '```toml\n[price."grok-imagine"]\nmarkup = "1.25"\ninput_image = "0.003"\n```',
    )


def _knob(knob: Knob) -> tuple[str, str, str]:
    default = knob.default_shown
    if default and " " not in default:
        default = f"`{default}` {knob.unit}"
    return default, knob.allowed, knob.why


def _cli() -> str:
    parts = [
        "# Command line",
        "`--json` prints JSON on stdout; everything else goes to stderr.",
        "## Exit codes",
        (exits.__doc__ or "").partition("\n\n")[2].strip(),
    ]
    for path in _commands():
        parts += [f"## `reelgate {' '.join(path)}`", f"```\n{_help(path)}\n```"]
    return _page(*parts)


def _commands() -> Iterator[tuple[str, ...]]:
    """Every command, each before its parts."""
    for name, (module, _) in COMMANDS.items():
        yield (name,)
        group = typer.main.get_command(importlib.import_module(f"reelgate.cli.{module}").app)
        for part in getattr(group, "commands", ()):
            yield name, part


def _help(path: tuple[str, ...]) -> str:
    out = io.StringIO()
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = _HELP_COLUMNS
    try:
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            main([*path, "--help"])
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    return "\n".join(line.rstrip() for line in out.getvalue().strip().splitlines())


def _sandbox() -> str:
    rows = [
        (
            f"`[sandbox:{tag.usage}]`",
            tag.does,
            f"{tag.argument.name}: {tag.argument.allowed}" if tag.argument else "",
        )
        for tag in SANDBOX_TAGS
    ]
    return _page(
        "# Sandbox tags",
        "The sandbox renders real videos and costs nothing. Tags anywhere in a prompt make it "
        "act like an upstream in trouble; they are not shown in the picture. Any number may be "
        "given, in any letter case.",
        _table(("Tag", "What happens", "Argument"), rows),
    )


def _metrics() -> str:
    rows = [
        (f"`{m.name}`", m.kind, ", ".join(f"`{label}`" for label in m.labels), m.about)
        for m in METRICS
    ]
    return _page(
        "# Metrics",
        "`GET /metrics` in Prometheus' text format. Each process tells of itself; what is in "
        "the database is the same from all of them.",
        _table(("Metric", "Kind", "Labels", "Says"), rows),
    )


_PAGES: Mapping[str, tuple[str, Callable[[], str]]] = {
    "http.md": ("HTTP routes, fields and headers", _http),
    "errors.md": ("Error codes", _errors),
    "models.md": ("Models, their limits and prices", _models),
    "settings.md": ("Settings", _settings),
    "cli.md": ("Command line and exit codes", _cli),
    "sandbox.md": ("Sandbox tags", _sandbox),
    "metrics.md": ("Metrics", _metrics),
}


# ---- Markdown -----------------------------------------------------------------------------


def _page(*parts: str) -> str:
    return "\n\n".join(parts)


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _plain(markup: str) -> str:
    """What the reference page shows of a value, as Markdown."""
    return html.unescape(re.sub("<[^>]+>", "", re.sub("</?code>", "`", markup)))


if __name__ == "__main__":
    for name in write(FOLDER):
        sys.stdout.write(f"docs/reference/{name}\n")
