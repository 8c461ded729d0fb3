"""A task's states and legal moves, and the task itself.

queued -> sending -> running -> collecting -> completed
   \\________\\__________\\____________\\______-> failed | cancelled | expired
             \\-> stranded  (the upstream may or may not have the job)
"""

from dataclasses import dataclass
from enum import StrEnum

from reelgate.domain.errors import TaskError
from reelgate.domain.lane import Lane
from reelgate.domain.model import tier_of
from reelgate.domain.order import Order, SourceFacts
from reelgate.domain.quote import Bill, Terms


class State(StrEnum):
    """Where a task stands inside the gateway."""

    QUEUED = "queued"
    SENDING = "sending"
    RUNNING = "running"
    COLLECTING = "collecting"
    STRANDED = "stranded"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


_BAD_ENDS = frozenset({State.FAILED, State.CANCELLED, State.EXPIRED})
ENDED = frozenset({State.COMPLETED}) | _BAD_ENDS
LIVE = frozenset(State) - ENDED

# `sending -> queued` is only for a job that the upstream certainly did not receive;
# `stranded -> queued|running` only for an operator who looked it up (`reelgate tasks resolve`).
MOVES: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.SENDING}) | _BAD_ENDS,
    State.SENDING: frozenset({State.QUEUED, State.RUNNING, State.STRANDED}) | _BAD_ENDS,
    State.RUNNING: frozenset({State.COLLECTING}) | _BAD_ENDS,
    State.COLLECTING: frozenset({State.COMPLETED}) | _BAD_ENDS,
    State.STRANDED: frozenset({State.QUEUED, State.RUNNING}) | _BAD_ENDS,
    **{end: frozenset() for end in ENDED},
}

# `sending` shows as queued because it may step back to it, and a status never steps back.
PUBLIC_STATUS: dict[State, str] = {
    State.QUEUED: "queued",
    State.SENDING: "queued",
    State.RUNNING: "in_progress",
    State.COLLECTING: "in_progress",
    State.STRANDED: "in_progress",
    State.COMPLETED: "completed",
    State.FAILED: "failed",
    State.CANCELLED: "failed",
    State.EXPIRED: "failed",
}


def may_move(before: State, after: State) -> bool:
    """Whether the move is a legal one."""
    return after in MOVES[before]


@dataclass(frozen=True, slots=True)
class Result:
    """The delivered video as measured from its own bytes."""

    key: str
    bytes: int
    sha256: str
    duration_ms: int
    width: int
    height: int
    frames: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task ended without a video; the message is safe to show to its owner."""

    code: TaskError
    message: str


@dataclass(frozen=True, slots=True)
class Task:
    """One request and everything that became of it. Times are milliseconds since the epoch.

    `epoch` is the fencing number of the current lease: a write that names an older one changes
    nothing. `revision` grows with every change that the owner can see.
    """

    id: str
    account_id: str
    key_id: str
    model: str
    operation: str
    state: State
    epoch: int
    revision: int
    created_at_ms: int
    due_at_ms: int
    deadline_at_ms: int
    held_micro: int
    progress: int
    attempts: int
    order: Order
    terms: Terms
    lease_owner: str | None = None
    upstream: str | None = None
    upstream_ref: str | None = None
    upstream_cost_ticks: int | None = None
    result_url: str | None = None
    source: SourceFacts | None = None
    result: Result | None = None
    bill: Bill | None = None
    failure: Failure | None = None
    sent_at_ms: int | None = None
    ended_at_ms: int | None = None
    expires_at_ms: int | None = None
    deleted_at_ms: int | None = None
    purged_at_ms: int | None = None
    request_id: str | None = None

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def status(self) -> str:
        """The public status word."""
        return PUBLIC_STATUS[self.state]

    @property
    def lane(self) -> Lane:
        """What an upstream must be able to do for it; an upstream only where it may be there."""
        source = self.source
        tier = tier_of(source.width, source.height) if source else self.order.tier
        return Lane(self.model, self.operation, tier or "", self.upstream or "")
