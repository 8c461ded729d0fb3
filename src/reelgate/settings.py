"""Every setting once: name, default, unit and why. Read by `app` and `cli` only.

`REELGATE_<NAME>` variables win over `reelgate.toml` (or the file that `REELGATE_CONFIG` names),
which wins over the defaults below. `reelgate settings` prints the table with what is in force.
"""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from msgspec import Meta, Struct

from reelgate.domain.model import ModelSpec

_DAY_S = 86_400
_MIB = 1024 * 1024


class Secret:
    """A value that never shows itself: not in a table, a message, a log or a traceback."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


def _row(
    why: str,
    unit: str = "",
    *,
    low: int | float | None = None,
    high: int | float | None = None,
    default: str | None = None,
) -> Meta:
    """What a person should know of a setting beside its name, type and default.

    `default` says where a default comes from that can't be written down.
    """
    return Meta(ge=low, le=high, description=why, extra={"unit": unit, "default": default})


def _text(
    why: str, *, pattern: str, allowed: str, default: str | None = None, hide: bool = False
) -> Meta:
    """The same for text with a form: `allowed` says `pattern` in words.

    `hide` keeps a wrong value out of messages, because it may be a secret.
    """
    extra = {"allowed": allowed, "default": default, "hide": hide}
    return Meta(pattern=pattern, description=why, extra=extra)


class UpstreamSettings(Struct, frozen=True, kw_only=True):
    """One `[[upstream]]` table: a service that makes the videos."""

    name: Annotated[
        str,
        _text(
            "How logs, reports and `reelgate upstreams` call it.",
            pattern=r"^[a-z0-9][a-z0-9_.-]{0,39}$",
            allowed="1 to 40 of a-z, 0-9, `_`, `.` and `-`, a letter or digit first",
        ),
    ]
    kind: Annotated[
        Literal["xai", "openai", "sandbox"],
        _row("Which API it speaks; `sandbox` renders test videos here and costs nothing."),
    ]
    base_url: Annotated[
        str | None,
        _text(
            "Where it is. Required for kind openai.",
            pattern=r"^https?://[^\s/?#]+[^\s?#]*$",
            allowed="https://host or http://host, with a path where the API has one",
            default="https://api.x.ai for kind xai",
        ),
    ] = None
    api_key_env: Annotated[
        str | None,
        _text(
            "The variable that holds its key: keys are never written in the file.",
            pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
            allowed="the name of an environment variable, not the key itself",
            default="XAI_API_KEY for kind xai",
            hide=True,
        ),
    ] = None
    priority: Annotated[
        int, _row("Lower first; equal ones share by weight.", low=0, high=1_000)
    ] = 0
    weight: Annotated[
        int, _row("Share of the tasks among equal priorities.", low=1, high=1_000)
    ] = 1
    max_in_flight: Annotated[
        int, _row("Jobs that it may hold for us at once.", "jobs", low=1, high=100_000)
    ] = 200
    submits_per_second: Annotated[
        float, _row("New jobs sent to it.", "per second", low=0.001, high=10_000)
    ] = 1.0
    models: Annotated[
        Mapping[str, str],
        _row(
            "Our model ids, and what it calls them.",
            default='{"grok-imagine": "grok-imagine-video"}; required for kind openai',
        ),
    ] = MappingProxyType({})
    operations: Annotated[
        tuple[str, ...],
        _row("The only operations to send it.", default="all that its kind can do"),
    ] = ()
    sizes: Annotated[
        tuple[str, ...], _row("The only sizes (tiers) to send it.", default="all")
    ] = ()
    allow_private_network: Annotated[
        bool, _row("Whether its results may be fetched from private addresses.")
    ] = False
    dialect: Annotated[
        Literal["openai", "sglang", "vllm-omni", "new-api", "litellm", "reelgate"],
        _row("Kind openai: which server it is, where they differ."),
    ] = "openai"
    image_tags: Annotated[
        Literal["as_given", "zero_based", "one_based"],
        _row("Kind xai: send `@Image1` as it is, as `<IMAGE_0>` or as `<IMAGE_1>`."),
    ] = "as_given"
    api_key: Secret | None = None


class PriceSettings(Struct, frozen=True, kw_only=True):
    """One `[price."model"]` table, exact: absolute prices and mark-ups by the name of the price.

    `markup` is for every price that is not named; a mark-up multiplies the catalogue's price.
    """

    model: str
    items_micro: Mapping[str, int]
    item_markups: Mapping[str, Decimal]
    markup: Decimal = Decimal(1)


class Settings(Struct, frozen=True, kw_only=True):
    """Every knob of the product. Made by `load_settings`, never read from here at import."""

    # ---- where things are kept
    data_dir: Annotated[
        Path,
        _row("Where the SQLite database and the videos are kept, unless the next two say else."),
    ] = Path("reelgate-data")
    database_url: Annotated[
        str,
        _text(
            "Tasks, accounts and money. One SQLite file has one worker; PostgreSQL any number.",
            pattern=r"^(sqlite:///.|postgresql://.)",
            allowed="sqlite:///path/to/file or postgresql://user@host/database",
            default="sqlite:///<data_dir>/reelgate.sqlite3",
        ),
    ] = ""
    media_url: Annotated[
        str,
        _text(
            "Where inputs and finished videos are kept.",
            pattern=r"^(file:///.|s3://.)",
            allowed="file:///path/to/directory",
            default="file:///<data_dir>/media",
        ),
    ] = ""
    # ---- serving
    public_url: Annotated[
        str | None,
        _text(
            "Begins every link that is handed out; set it behind a proxy.",
            pattern=r"^https?://[^\s/?#]+[^\s?#]*$",
            allowed="https://host or http://host:port, with a path where a proxy adds one",
            default="the address that is listened on",
        ),
    ] = None
    host: Annotated[
        str,
        _text(
            "Address to listen on; 0.0.0.0 for all.",
            pattern=r"^[^\s/]+$",
            allowed="a host name or address",
        ),
    ] = "127.0.0.1"
    port: Annotated[int, _row("TCP port to listen on; 0 takes a free one.", low=0, high=65_535)] = (
        8080
    )
    role: Annotated[
        Literal["all", "api", "worker"],
        _row("What this process does: answer requests, drive tasks, or both."),
    ] = "all"
    secret: Annotated[
        Secret | None,
        _text(
            "Signs links and keys the digests of API keys; the same on every node, for good.",
            pattern=r"^\S{32,}$",
            allowed="at least 32 characters without blanks",
            default="made once and kept in the database",
        ),
    ] = None
    request_bytes_max: Annotated[
        int, _row("Largest request taken; cut while streaming.", "bytes", low=65_536)
    ] = 128 * _MIB
    prefer_wait_s_max: Annotated[
        int, _row("Longest that `Prefer: wait` holds an answer.", "s", low=0, high=600)
    ] = 60
    shutdown_grace_s: Annotated[
        int, _row("After SIGTERM: time for open requests and writes.", "s", low=0, high=3_600)
    ] = 20
    log_format: Annotated[
        Literal["text", "json"], _row("Log lines for people or for programs; on stderr.")
    ] = "text"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        _row("Least that is logged; requests and moves of tasks are info."),
    ] = "info"
    # ---- tasks
    task_deadline_s: Annotated[
        int,
        _row(
            "From creation until a task is given up and its hold released, last poll first.",
            "s",
            low=1,
            high=7 * _DAY_S,
        ),
    ] = 1_800
    result_ttl_days: Annotated[
        int,
        _row(
            "How long finished videos are kept; 0 keeps them for good.", "days", low=0, high=36_500
        ),
    ] = 7
    link_ttl_s: Annotated[
        int,
        _row(
            "How long a signed link works when results are kept for good; otherwise it works as "
            "long as the result.",
            "s",
            low=60,
            high=365 * _DAY_S,
        ),
    ] = 7 * _DAY_S
    allow_http_inputs: Annotated[
        bool, _row("Take input links that begin with http: as well as https:.")
    ] = False
    allow_private_inputs: Annotated[
        bool,
        _row(
            "Fetch inputs from private addresses. For laptops and tests: anyone with a key "
            "can then reach your network."
        ),
    ] = False
    # ---- the worker
    worker_concurrency: Annotated[
        int, _row("Tasks that one node drives at once.", "tasks", low=1, high=100_000)
    ] = 5_000
    claim_batch: Annotated[
        int, _row("Due tasks claimed in one transaction.", "tasks", low=1, high=10_000)
    ] = 200
    lease_s: Annotated[
        int,
        _row(
            "How long a silent worker keeps its tasks before another takes them.",
            "s",
            low=1,
            high=600,
        ),
    ] = 10
    poll_interval_ms_min: Annotated[
        int, _row("Shortest wait between two polls of one task.", "ms", low=10, high=600_000)
    ] = 2_000
    poll_interval_ms_max: Annotated[
        int, _row("Longest wait between two polls of one task.", "ms", low=10, high=600_000)
    ] = 5_000
    sandbox_renderers: Annotated[
        int, _row("Videos that the sandbox renders at once.", "videos", low=1, high=64)
    ] = 1
    # ---- the database
    sqlite_group_max: Annotated[
        int, _row("Transactions that may share one fsync.", "transactions", low=1, high=4_096)
    ] = 256
    postgres_threads: Annotated[
        int, _row("Connections of one process to PostgreSQL.", "connections", low=1, high=64)
    ] = 6
    # ---- the command line as a client
    url: Annotated[
        str | None,
        _text(
            "The gateway that `generate` and `tasks wait` talk to; needs api_key too.",
            pattern=r"^https?://[^\s/?#]+[^\s?#]*$",
            allowed="https://host or http://host:port",
            default="an embedded one for the time of the job",
        ),
    ] = None
    api_key: Annotated[
        Secret | None,
        _text(
            "The key for that gateway.",
            pattern=r"^\S+$",
            allowed="an API key, without blanks",
        ),
    ] = None
    # ---- tests
    crash_at: Annotated[
        str | None,
        _row("The labelled point at which this process kills itself. Tests only."),
    ] = None

    upstreams: tuple[UpstreamSettings, ...] = ()
    prices: tuple[PriceSettings, ...] = ()
    config_file: Path | None = None
    origins: Mapping[str, str] = MappingProxyType({})

    @property
    def sqlite_path(self) -> Path | None:
        """The database file, None on PostgreSQL."""
        scheme, _, path = self.database_url.partition(":///")
        return Path(path) if scheme == "sqlite" else None

    @property
    def media_dir(self) -> Path:
        """The directory that `media_url` names."""
        return Path("/" + self.media_url.removeprefix("file:///"))

    def prices_micro(self, spec: ModelSpec) -> dict[str, int]:
        """A model's prices in micro-USD, the catalogue's with the operator's over them.

        A marked-up price is rounded to the micro-USD, halves up.
        """
        own = next((price for price in self.prices if price.model == spec.id), None)
        if own is None:
            return dict(spec.prices_micro)
        marked = {
            name: _times(micro, own.item_markups.get(name, own.markup))
            for name, micro in spec.prices_micro.items()
        }
        return marked | dict(own.items_micro)


def _times(micro: int, markup: Decimal) -> int:
    return int((micro * markup).quantize(Decimal(1), ROUND_HALF_UP))
