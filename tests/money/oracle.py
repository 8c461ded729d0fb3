"""The oracle: what accounts, holds and tasks do, in a page of plain Python.

No database, no clock of its own, nothing of the product: only the contract. `PLANS` says what one
step does to a task in a state, given what the upstream answers. A word of a plan is a state that
the task is brought to, `sent` (the upstream was asked to make it), or `!label`: a place where the
process may die.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PRICE = {"480p": 50_000, "720p": 70_000}  # micro-USD per second
LIFETIME_MS = 1_800_000
ENDED = {"completed", "failed", "cancelled", "expired"}

_SEND = ("!send.before_sending_commit", "sending", "!send.after_sending_commit", "sent")
_STRAND = ("stranded", "!send.after_stranded_commit")
_FETCHED = ("!collect.after_download", "!collect.before_rename", "!collect.after_rename")


def end(state: str) -> tuple[str, ...]:
    return ("!settle.before_commit", state, "!settle.after_commit")


PLANS: dict[tuple[str, str], tuple[str, ...]] = {
    ("queued", "accepts"): (
        *_SEND,
        "!send.after_upstream_accepted",
        "running",
        "!send.after_running_commit",
    ),
    ("queued", "refuses"): (*_SEND, *end("failed")),
    ("queued", "is busy"): (*_SEND, "queued", "!send.after_queued_commit"),
    ("queued", "is silent"): (*_SEND, *_STRAND),
    ("queued", "too late"): end("expired"),
    ("sending", ""): _STRAND,
    ("sending", "too late"): (*_STRAND, *end("failed")),
    ("running", "is not done"): ("!poll.after_answer",),
    ("running", "is in trouble"): ("!poll.after_answer",),
    ("running", "is done"): ("!poll.after_answer", "collecting", "!poll.after_collecting_commit"),
    ("running", "failed"): ("!poll.after_answer", *end("failed")),
    ("running", "too late"): ("!poll.after_answer", *end("expired")),
    ("collecting", "gives all"): (*_FETCHED, *end("completed")),
    ("collecting", "gives half"): (),
    ("stranded", ""): (),
    ("stranded", "too late"): end("failed"),
}
ANSWERS = {
    "queued": ("accepts", "accepts", "accepts", "refuses", "is busy", "is silent"),
    "sending": ("",),
    "running": ("is done", "is done", "is not done", "failed", "is in trouble"),
    "collecting": ("gives all", "gives all", "gives half"),
    "stranded": ("",),
}
# Whatever the upstream says, these end at the deadline; a poll is answered first.
LATE = {
    "queued": ANSWERS["queued"],
    "sending": ("",),
    "running": ("is not done", "is in trouble"),
    "stranded": ("",),
}


@dataclass(eq=False)
class Key:
    """`family` is the key whose limits it shares."""

    account: Account
    limit: int | None = None
    in_flight: int | None = None
    ends: int | None = None
    family: Key | None = None

    @property
    def jobs(self) -> list[Job]:
        """Those that count against its limits."""
        root = self.family or self
        return [job for job in self.account.jobs if (job.key.family or job.key) is root]


@dataclass(eq=False)
class Account:
    posted: int
    jobs: list[Job] = field(default_factory=list)
    known: dict[str, tuple[object, Job]] = field(default_factory=dict)

    @property
    def held(self) -> int:
        return sum(job.held for job in self.jobs)

    @property
    def available(self) -> int:
        return self.posted - sum(job.cost for job in self.jobs) - self.held


@dataclass(eq=False)
class Job:
    key: Key
    tier: str
    held: int
    deadline: int
    state: str = "queued"
    cost: int = 0
    loss: int = 0
    sent: int = 0

    def become(self, state: str, film: tuple[int, str] = (0, "480p")) -> None:
        """Bring it to a state; an ended one has given back what it did not cost."""
        if state in ENDED:
            seconds, tier = film
            if state == "completed":
                self.cost = min(self.held, seconds * PRICE[tier])
            elif self.state == "stranded":
                self.loss = self.held
            self.held = 0
        self.state = state

    def step(self, answer: str, film: tuple[int, str], dies_at: str, now: int) -> bool:
        """One step of whoever drives it; whether the process died on the way."""
        if now >= self.deadline and answer in LATE.get(self.state, ()):
            answer = "too late"
        for word in PLANS[self.state, answer]:
            if word == f"!{dies_at}":
                return True
            if word == "sent":
                self.sent += 1
            elif not word.startswith("!"):
                self.become(word, film)
        return False


def submit(key: Key, seconds: int, tier: str, name: str, now: int) -> Job | str:
    """A new task, the one that this idempotency key made before, or why there is none."""
    account, order, price = key.account, (seconds, tier), seconds * PRICE[tier]
    if key.ends is not None and key.ends <= now:
        return "invalid_api_key"
    if name in account.known:
        first_order, job = account.known[name]
        return job if first_order == order else "idempotency_key_reused"
    if price > account.available:
        return "insufficient_balance"
    if key.in_flight is not None and sum(job.held > 0 for job in key.jobs) >= key.in_flight:
        return "rate_limit_exceeded"
    if key.limit is not None and sum(job.held + job.cost for job in key.jobs) + price > key.limit:
        return "spend_limit_exceeded"
    job = Job(key, tier, price, now + LIFETIME_MS)
    account.jobs.append(job)
    if name:
        account.known[name] = (order, job)
    return job
