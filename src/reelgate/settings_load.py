"""Reads the settings: `REELGATE_*` variables over `reelgate.toml` over the defaults.

Whatever is wrong ends in one line that names the setting, what was given and what is allowed.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from reelgate.catalog import MODELS
from reelgate.domain.errors import OperatorError
from reelgate.domain.model import Operation
from reelgate.domain.money import parse_usd
from reelgate.settings import PriceSettings, Secret, Settings, UpstreamSettings
from reelgate.settings_knobs import PREFIX, Knob, knobs, quoted

CONFIG_VARIABLE = "REELGATE_CONFIG"
_CONFIG_NAME = "reelgate.toml"
_TEST_PREFIX = "REELGATE_TEST_"  # read by the test suite alone
_TABLES = ("upstream", "price")
_MARKUP_MAX = Decimal(1000)
_XAI_MODELS = {"grok-imagine": "grok-imagine-video"}

_KIND_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "xai": {
        "base_url": "https://api.x.ai",
        "api_key_env": "XAI_API_KEY",
        "models": _XAI_MODELS,
    },
    "openai": {},
    "sandbox": {"models": _XAI_MODELS, "max_in_flight": 10_000, "submits_per_second": 1_000.0},
}
_KIND_NEEDS: Mapping[str, tuple[str, ...]] = {"openai": ("base_url", "models")}
_ONLY_FOR: Mapping[str, tuple[str, ...]] = {
    "base_url": ("xai", "openai"),
    "api_key_env": ("xai", "openai"),
    "dialect": ("openai",),
    "image_tags": ("xai",),
}


# ---- the settings -------------------------------------------------------------------------


def load_settings(env: Mapping[str, str], cwd: Path) -> Settings:
    """The settings in force for an environment and a working directory.

    Relative paths are relative to `cwd`; an empty variable counts as not given. Raises
    OperatorError, one line, for anything unknown or not allowed.
    """
    file = _config_file(env, cwd)
    tables = _read_file(file) if file else {}
    given = [*_from_file(tables, file), *_from_env(env)]  # the last word counts
    labels = {name: label for name, label, _ in given}
    values = {name: _knob(name, label).read(label, value) for name, label, value in given}
    return Settings(
        **_resolved(values, labels, cwd),
        upstreams=_upstreams(tables.get("upstream"), env, file),
        prices=_prices(tables.get("price", {}), file),
        config_file=file,
        origins={
            name: "environment" if label.startswith(PREFIX) else "file"
            for name, label in labels.items()
        },
    )


def require_upstream_keys(settings: Settings) -> None:
    """Refuses to go on when an upstream's key is not there. Raises OperatorError.

    Only serving needs the keys: an operator may create accounts from a shell without them.
    """
    for upstream in settings.upstreams:
        if upstream.api_key_env is not None and upstream.api_key is None:
            raise OperatorError(
                f"{upstream.api_key_env} is not set, but upstream {upstream.name} takes its key "
                f"from it (api_key_env); set it to the key of {upstream.base_url}"
            )


def _config_file(env: Mapping[str, str], cwd: Path) -> Path | None:
    named = env.get(CONFIG_VARIABLE)
    if named:
        return cwd / named
    path = cwd / _CONFIG_NAME
    return path if path.exists() else None


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"), parse_float=Decimal)
    except OSError as error:
        raise OperatorError(f"{CONFIG_VARIABLE}: can't read {path}: {error.strerror}") from None
    except ValueError as error:
        raise OperatorError(f"{path} is not a TOML file: {error}") from None


_Given = tuple[str, str, Any]  # the setting, how to call it in a message, the value


def _from_file(tables: Mapping[str, Any], file: Path | None) -> Iterator[_Given]:
    for name, value in tables.items():
        if name not in _TABLES:
            yield name, f"{name} in {file}", value


def _from_env(env: Mapping[str, str]) -> Iterator[_Given]:
    for variable, text in sorted(env.items()):
        ours = variable.startswith(PREFIX) and not variable.startswith(_TEST_PREFIX)
        if ours and variable != CONFIG_VARIABLE and text:
            yield variable.removeprefix(PREFIX).lower(), variable, text


def _knob(name: str, label: str) -> Knob:
    knob = knobs(Settings).get(name)
    if knob is not None:
        return knob
    hint = _hint(name, [*knobs(Settings), *_TABLES])
    if label.startswith(PREFIX):
        hint = _hint(label, [row.variable for row in knobs(Settings).values()])
    raise OperatorError(f"{label} is not a setting{hint}")


def _hint(name: str, known: Iterable[str]) -> str:
    nearest = get_close_matches(name, list(known), 1)
    return f"; did you mean {nearest[0]}?" if nearest else "; `reelgate settings` lists them"


def _resolved(values: dict[str, Any], labels: Mapping[str, str], cwd: Path) -> dict[str, Any]:
    """Defaults that depend on other settings, and what only holds between settings."""
    defaults = {name: knob.default for name, knob in knobs(Settings).items()}
    found = defaults | values
    data_dir = cwd / found["data_dir"]
    database = found["database_url"] or f"sqlite:///{data_dir / 'reelgate.sqlite3'}"
    scheme, _, path = database.partition(":///")
    if scheme == "sqlite":
        database = f"sqlite:///{cwd / path}"
    media = found["media_url"] or f"file://{data_dir / 'media'}"
    if media.startswith("s3://"):
        raise OperatorError(
            f"{labels['media_url']} = {quoted(media)} can't be used: s3:// is not available in "
            "this version; use file:///path/to/directory"
        )
    shortest, longest = found["poll_interval_ms_min"], found["poll_interval_ms_max"]
    if shortest > longest:
        raise OperatorError(
            f"poll_interval_ms_min = {shortest} can't be used: allowed is at most "
            f"poll_interval_ms_max, which is {longest}"
        )
    return found | {"data_dir": data_dir, "database_url": database, "media_url": media}


# ---- upstreams ----------------------------------------------------------------------------


def _upstreams(
    given: Any, env: Mapping[str, str], file: Path | None
) -> tuple[UpstreamSettings, ...]:
    if given is None:
        kind = "xai" if env.get("XAI_API_KEY") else "sandbox"
        given = [{"name": kind, "kind": kind}]
    if not isinstance(given, list) or not all(isinstance(table, dict) for table in given):
        raise OperatorError(f"upstream in {file} must be tables: write [[upstream]] above each")
    found: dict[str, UpstreamSettings] = {}
    for number, table in enumerate(given, 1):
        upstream = _upstream(table, number, env, file)
        if upstream.name in found:
            raise OperatorError(
                f"name = {upstream.name} of upstream {number} in {file} is taken; "
                "every upstream needs its own"
            )
        found[upstream.name] = upstream
    if not found:
        raise OperatorError(f"upstream in {file} is empty; leave it out or name an upstream")
    return tuple(found.values())


def _upstream(
    table: dict[str, Any], number: int, env: Mapping[str, str], file: Path | None
) -> UpstreamSettings:
    rows = knobs(UpstreamSettings)
    whole = f"upstream {table.get('name', number)} in {file}"
    for name in table:
        if name not in rows:
            raise OperatorError(f"{name} of {whole} is not a setting{_hint(name, rows)}")
    for name in ("name", "kind"):
        if name not in table:
            raise OperatorError(f"{name} of {whole} is missing: {rows[name].allowed}")
    values = {name: rows[name].read(f"{name} of {whole}", given) for name, given in table.items()}
    kind = values["kind"]
    for name in table:
        if kind not in _ONLY_FOR.get(name, (kind,)):
            raise OperatorError(
                f"{name} of {whole} means nothing for kind {kind}, only for "
                f"{' and '.join(_ONLY_FOR[name])}; leave it out"
            )
    values = {**_KIND_DEFAULTS[kind], **values}
    for name in _KIND_NEEDS.get(kind, ()):
        if name not in values:
            raise OperatorError(f"{name} of {whole} is missing: {rows[name].allowed}")
    _check_names("models", values["models"], MODELS, whole)
    _check_names("operations", values.get("operations", ()), list(Operation), whole)
    tiers = {tier for spec in MODELS.values() for tier in spec.tiers}
    _check_names("sizes", values.get("sizes", ()), sorted(tiers), whole)
    key = env.get(values.get("api_key_env") or "")
    return UpstreamSettings(**values, api_key=Secret(key) if key else None)


def _check_names(name: str, given: Iterable[str], known: Iterable[str], whole: str) -> None:
    for item in given:
        if item not in known:
            raise OperatorError(
                f"{name} of {whole} has {quoted(item)}, which is not known: allowed is "
                f"{', '.join(known)}"
            )


# ---- prices -------------------------------------------------------------------------------


def _prices(given: Any, file: Path | None) -> tuple[PriceSettings, ...]:
    if not isinstance(given, dict) or not all(isinstance(t, dict) for t in given.values()):
        raise OperatorError(f'price in {file} must be tables: write [price."grok-imagine"]')
    return tuple(_price(model, table, file) for model, table in given.items())


def _price(model: str, table: dict[str, Any], file: Path | None) -> PriceSettings:
    whole = f'price."{model}" in {file}'
    spec = MODELS.get(model)
    if spec is None:
        raise OperatorError(f"{whole} is for no known model: allowed is {', '.join(MODELS)}")
    items: dict[str, int] = {}
    markups: dict[str, Decimal] = {}
    for name, amount in table.items():
        label = f"{name} of {whole}"
        if name == "markup":
            continue
        if name not in spec.prices_micro:
            raise OperatorError(f"{label} is not a price{_hint(name, spec.prices_micro)}")
        if isinstance(amount, dict) and list(amount) == ["markup"]:
            markups[name] = _markup(label, amount["markup"])
        else:
            items[name] = _amount(label, amount)
    whole_markup = _markup(f"markup of {whole}", table.get("markup", "1"))
    return PriceSettings(model=model, items_micro=items, item_markups=markups, markup=whole_markup)


def _amount(label: str, given: object) -> int:
    try:
        micro = parse_usd(_number(given))
    except ValueError:
        micro = -1
    if micro < 0:
        raise OperatorError(
            f"{label} = {quoted(given)} can't be used: allowed is an amount in USD like "
            '"0.06", with at most six decimal places, or { markup = "1.25" }'
        )
    return micro


def _markup(label: str, given: object) -> Decimal:
    try:
        factor = Decimal(_number(given))
    except (ValueError, InvalidOperation):
        factor = Decimal(0)
    if not (factor.is_finite() and 0 < factor <= _MARKUP_MAX):
        raise OperatorError(
            f"{label} = {quoted(given)} can't be used: allowed is a factor like "
            f'"1.25", above 0 and at most {_MARKUP_MAX}'
        )
    return factor


def _number(given: object) -> str:
    """The digits of a TOML string, integer or (exactly read) decimal."""
    if isinstance(given, bool) or not isinstance(given, str | int | Decimal):
        raise ValueError(given)
    return str(given)
