"""What every flow works with; put together once, by `app`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from reelgate.domain.clock import Clock
from reelgate.domain.model import ModelSpec
from reelgate.domain.task import Task
from reelgate.flows.upstreams import Upstreams
from reelgate.flows.watch import Watch
from reelgate.media.disk import DiskStore
from reelgate.net.guard import Guard
from reelgate.store.accounts import ApiKey
from reelgate.store.database import Database

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Policy:
    """The numbers an operator may set. Times in milliseconds; `result_ttl_ms` 0: kept for good.

    `collect_ms_min` is how long a finished film is fetched for at least, whatever the deadline.
    """

    task_deadline_ms: int = 1_800_000
    result_ttl_ms: int = 7 * _DAY_MS
    idempotency_ttl_ms: int = 7 * _DAY_MS
    link_ttl_ms: int = 7 * _DAY_MS
    poll_ms_min: int = 2_000
    poll_ms_max: int = 5_000
    lease_ms: int = 10_000
    collect_ms_min: int = 300_000
    result_bytes_max: int = 2 * 1024 * 1024 * 1024
    orphan_age_ms: int = _DAY_MS
    allow_http_inputs: bool = False
    public_url: str | None = None


@dataclass(frozen=True, slots=True)
class Gateway:
    """The parts that flows act on. `secret` keys the digests of API keys and signs links."""

    db: Database
    clock: Clock
    models: Mapping[str, ModelSpec]
    media: DiskStore
    upstreams: Upstreams
    guard: Guard
    secret: bytes
    policy: Policy = field(default_factory=Policy)
    watch: Watch = field(default_factory=Watch)

    def spec_of(self, task: Task) -> ModelSpec:
        """The catalogue entry of a task's model."""
        return self.models[task.model]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request: an account, by one of its keys."""

    account_id: str
    key: ApiKey
