"""Paces, rests and choices of upstreams, on a clock that only the test moves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from reelgate.domain.lane import Lane
from reelgate.domain.model import Operation
from reelgate.flows.upstreams import (
    LOOK_AGAIN_MS,
    RESTS,
    Attempt,
    Breaker,
    TokenBucket,
    Upstream,
    Upstreams,
    Wait,
    what_is_wrong,
)
from reelgate.providers.base import Cause, CheckReport
from tests.support.fake_provider import FakeProvider

MODEL = "grok-imagine"
T2V = Lane(MODEL, "text_to_video", "480p")
T2V_720 = Lane(MODEL, "text_to_video", "720p")
EDIT = Lane(MODEL, "edit_video")


class Clock:
    """Seconds, in steps of whole milliseconds."""

    def __init__(self) -> None:
        self.ms = 5_000

    def __call__(self) -> float:
        return self.ms / 1000


def upstream(name: str, clock: Clock | None = None, **fields: Any) -> Upstream:
    clock = clock or Clock()
    return Upstream(
        **{
            "name": name,
            "provider": FakeProvider(),
            "models": {MODEL: "m"},
            "bucket": TokenBucket(1_000_000.0, clock),
            "breaker": Breaker(clock),
            **fields,
        }
    )


# ---- the pace -----------------------------------------------------------------------------

rates = st.sampled_from([0.01, 0.5, 1.0, 1.5, 2.0, 3.0, 7.0, 60.0, 1000.0])


@given(rates, st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 5)), max_size=40))
def test_no_window_of_time_sees_more_than_its_share(
    per_second: float, moves: list[tuple[int, int]]
) -> None:
    clock = Clock()
    bucket = TokenBucket(per_second, clock)
    taken: list[int] = []
    for wait_ms, wanted in moves:
        clock.ms += wait_ms
        for _ in range(wanted):
            if bucket.turns():
                bucket.take()
                taken.append(clock.ms)
    for first, begin in enumerate(taken):
        for last in range(first, len(taken)):
            seconds = (taken[last] - begin) / 1000
            assert last - first + 1 <= max(1.0, per_second) + per_second * seconds + 1e-6


@given(rates, st.integers(0, 50))
def test_as_many_turns_as_it_says_and_the_next_when_it_says(per_second: float, spent: int) -> None:
    clock = Clock()
    bucket = TokenBucket(per_second, clock)
    for _ in range(spent):
        clock.ms += bucket.wait_ms()
        bucket.take()
    clock.ms += bucket.wait_ms()
    turns = bucket.turns()
    assert turns >= 1
    for _ in range(turns):
        assert bucket.wait_ms() == 0
        bucket.take()
    assert bucket.turns() == 0
    wait_ms = bucket.wait_ms()
    assert 0 < wait_ms <= 1000 / per_second + 1
    clock.ms += wait_ms - 1
    assert bucket.turns() == 0
    clock.ms += 1
    assert bucket.turns() >= 1


def test_idle_time_saves_up_no_more_than_a_second() -> None:
    clock = Clock()
    bucket = TokenBucket(5.0, clock)
    clock.ms += 3_600_000
    assert bucket.turns() == 5
    assert TokenBucket(0.2, clock).turns() == 1


def test_a_pace_that_others_have_used_up_is_held() -> None:
    clock = Clock()
    bucket = TokenBucket(5.0, clock)
    bucket.hold(300)
    assert (bucket.turns(), bucket.wait_ms()) == (0, 300)
    clock.ms += 300
    assert bucket.turns() == 1


# ---- resting ------------------------------------------------------------------------------


def test_every_cause_has_its_rest() -> None:
    assert set(RESTS) == set(Cause)
    assert all(0 < rest.first_ms <= rest.longest_ms for rest in RESTS.values())


def failing(up: Upstream, cause: Cause, wish_ms: int | None = None) -> Attempt:
    attempt = up.begin()
    attempt.bad(cause, "words", wish_ms)
    attempt.close()
    return attempt


@pytest.mark.parametrize("cause", Cause)
def test_after_its_failures_in_a_row_it_rests_and_then_tries_with_one_job(cause: Cause) -> None:
    clock = Clock()
    up = upstream("a", clock)
    for _ in range(RESTS[cause].failures):
        assert up.turns() > 0
        failing(up, cause)
    assert (up.turns(), up.wait_ms()) == (0, RESTS[cause].first_ms)
    clock.ms += RESTS[cause].first_ms - 1
    assert up.turns() == 0
    clock.ms += 1
    assert up.turns() == 1
    probe = up.begin()
    assert probe.probe
    assert (up.turns(), up.wait_ms()) == (0, LOOK_AGAIN_MS)
    probe.good()
    probe.close()
    assert up.turns() > 1
    assert up.breaker.cause is None


def test_a_success_between_failures_starts_the_count_again() -> None:
    up = upstream("a")
    for _ in range(10):
        failing(up, Cause.NETWORK)
        failing(up, Cause.NETWORK)
        well = up.begin()
        well.good()
        well.close()
    assert up.turns() > 0


@pytest.mark.parametrize("cause", Cause)
def test_rests_grow_with_every_probe_that_fails_up_to_their_longest(cause: Cause) -> None:
    clock = Clock()
    up = upstream("a", clock)
    rests: list[int] = []
    for _ in range(RESTS[cause].failures):
        failing(up, cause)
    for _ in range(12):
        rests.append(up.wait_ms())
        clock.ms += rests[-1]
        failing(up, cause)
    assert rests[0] == RESTS[cause].first_ms
    assert rests == sorted(rests)
    assert rests[-1] == RESTS[cause].longest_ms


def test_many_that_fail_at_once_are_one_failure_of_the_upstream() -> None:
    """A hundred submits that were under way say no more than one: the rest is the first one."""
    up = upstream("a")
    under_way = [up.begin() for _ in range(100)]
    for attempt in under_way:
        attempt.bad(Cause.NETWORK)
        attempt.close()
    assert up.wait_ms() == RESTS[Cause.NETWORK].first_ms


def test_what_was_sent_before_a_rest_neither_ends_nor_prolongs_it() -> None:
    clock = Clock()
    up = upstream("a", clock)
    early_good, early_bad = up.begin(), up.begin()
    failing(up, Cause.RATE_LIMITED)
    clock.ms += 400
    early_good.good()
    assert up.wait_ms() == 600
    early_bad.bad(Cause.CREDITS_EXHAUSTED)
    assert up.wait_ms() == 600
    clock.ms += 600
    probe = up.begin()
    for attempt in (early_good, early_bad):
        attempt.close()
    assert up.turns() == 0  # the probe is still under way
    probe.close()
    assert up.turns() == 1  # nobody knows: another may try


def test_an_upstream_that_asks_for_time_gets_it_up_to_five_minutes() -> None:
    clock = Clock()
    up = upstream("a", clock)
    failing(up, Cause.RATE_LIMITED, wish_ms=17_000)
    assert up.wait_ms() == 17_000
    clock.ms += 17_000
    failing(up, Cause.RATE_LIMITED, wish_ms=3_600_000)
    assert up.wait_ms() == 300_000


def test_switching_it_on_again_ends_a_rest() -> None:
    up = upstream("a", disabled=True)
    failing(up, Cause.BAD_CREDENTIALS)
    up.enable()
    assert up.turns() > 0


class BreakerLife(RuleBasedStateMachine):
    """Submits begin, fail, succeed and vanish in any order: what must hold at every moment."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.up = upstream("a", self.clock)
        self.under_way: list[Attempt] = []
        self.rests_until = 0

    @rule(ms=st.sampled_from([1, 100, 999, 1_000, 5_000, 60_000, 400_000]))
    def wait(self, ms: int) -> None:
        self.clock.ms += ms

    @precondition(lambda self: self.up.turns() > 0)
    @rule()
    def begin(self) -> None:
        assert self.clock.ms >= self.rests_until
        self.under_way.append(self.up.begin())

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), cause=st.sampled_from(Cause), wish=st.none() | st.integers(0, 500_000))
    def fail(self, data: st.DataObject, cause: Cause, wish: int | None) -> None:
        attempt = self.taken(data)
        told = attempt.round == self.up.breaker.round
        before = self.up.breaker.wait_ms()
        attempt.bad(cause, "words", wish)
        after = self.up.breaker.wait_ms()
        if not told:
            assert after == before
        if after > before:
            assert RESTS[cause].first_ms <= after <= 300_000
            self.rests_until = self.clock.ms + after
        attempt.close()

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        attempt = self.taken(data)
        resting = self.up.breaker.resting
        attempt.good()
        if attempt.probe and attempt.round == self.up.breaker.round:
            assert not self.up.breaker.resting
        if not attempt.probe:
            assert self.up.breaker.resting is resting
        attempt.close()

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def vanish(self, data: st.DataObject) -> None:
        self.taken(data).close()

    def taken(self, data: st.DataObject) -> Attempt:
        return self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))

    @invariant()
    def one_probe_at_a_time(self) -> None:
        breaker = self.up.breaker
        now = [a for a in self.under_way if a.round == breaker.round]
        probes = [attempt for attempt in now if attempt.probe]
        assert len(probes) <= 1
        if breaker.resting:
            assert now == probes
            assert self.up.turns() == (0 if probes or breaker.wait_ms() else 1)

    @invariant()
    def what_is_under_way_is_counted(self) -> None:
        assert self.up.unanswered == len(self.under_way)

    @invariant()
    def it_always_comes_back(self) -> None:
        assert self.up.breaker.wait_ms() <= 300_000


BreakerLife.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestBreakerLife = BreakerLife.TestCase


# ---- limits -------------------------------------------------------------------------------


def test_no_more_turns_than_the_tightest_limit() -> None:
    clock = Clock()
    assert upstream("a", clock, max_in_flight=3, in_flight=1).turns() == 2
    assert upstream("a", clock, max_in_flight=3, in_flight=4).turns() == 0
    assert upstream("a", clock, bucket=TokenBucket(5, clock)).turns() == 5
    assert upstream("a", clock, disabled=True).turns() == 0


def test_an_upstream_that_went_silent_is_sent_ten_seconds_worth_and_no_more() -> None:
    """Each submit without an answer may end as a stranded task."""
    clock = Clock()
    up = upstream("a", clock, bucket=TokenBucket(2.0, clock))
    sent = []
    for _ in range(200):
        while up.turns():
            sent.append(up.begin())
        clock.ms += 500
    assert len(sent) == 20
    sent[0].close()
    assert up.turns() == 1


# ---- choices ------------------------------------------------------------------------------


def test_by_model_operation_and_size() -> None:
    edits = upstream("edits", operations=frozenset({Operation.EDIT_VIDEO}))
    small = upstream("small", tiers=frozenset({"480p"}))
    other = upstream("other", models={"another-model": "x"})
    ups = Upstreams([edits, small, other])
    assert {name_of(ups.choose(EDIT)) for _ in range(50)} == {"edits", "small"}
    assert name_of(ups.choose(EDIT._replace(tier="720p"))) == "edits"
    assert name_of(ups.choose(T2V)) == "small"
    assert ups.choose(T2V_720) is None
    assert ups.choose(Lane("another-model", "video_extend")) is other
    assert ups.choose(Lane("unknown", "edit_video")) is None


def test_what_a_kind_of_upstream_can_not_do_is_not_sent_there() -> None:
    plain = FakeProvider(operations=frozenset({Operation.TEXT_TO_VIDEO}))
    ups = Upstreams([upstream("plain", provider=plain)])
    assert ups.choose(EDIT) is None


def name_of(chosen: Upstream | Wait | None) -> str | None:
    assert not isinstance(chosen, Wait)
    return chosen.name if chosen else None


def test_lower_priorities_first_and_the_next_when_they_can_not() -> None:
    clock = Clock()
    first = upstream("first", clock, bucket=TokenBucket(2, clock))
    second = upstream("second", clock, priority=1)
    ups = Upstreams([second, first])
    for expected in ("first", "first", "second", "second"):
        chosen = ups.choose(T2V)
        assert name_of(chosen) == expected
        assert isinstance(chosen, Upstream)
        chosen.begin().close()
    first.bucket = TokenBucket(100, clock)
    first.disabled = True
    assert name_of(ups.choose(T2V)) == "second"


def test_equal_priorities_share_by_weight() -> None:
    ups = Upstreams([upstream("one", weight=1), upstream("three", weight=3)])
    shares = Counter(name_of(ups.choose(T2V)) for _ in range(4_000))
    assert 2_800 < shares["three"] < 3_200


def test_one_that_declined_comes_last_whatever_its_priority() -> None:
    ups = Upstreams([upstream("a"), upstream("b", priority=7)])
    assert name_of(ups.choose(T2V, frozenset({"a"}))) == "b"
    assert name_of(ups.choose(T2V, frozenset({"a", "b"}))) == "a"


def test_one_that_may_have_the_job_is_the_only_one_asked() -> None:
    ups = Upstreams([upstream("a"), upstream("b")])
    assert name_of(ups.choose(T2V._replace(upstream="b"), frozenset({"b"}))) == "b"
    assert isinstance(ups.choose(T2V._replace(upstream="gone")), Wait)
    b = ups.get("b")
    assert b is not None
    b.disabled = True
    assert isinstance(ups.choose(T2V._replace(upstream="b")), Wait)


def test_when_all_are_busy_it_says_when_the_first_is_not() -> None:
    clock = Clock()
    slow = upstream("slow", clock, bucket=TokenBucket(0.1, clock))
    quick = upstream("quick", clock, bucket=TokenBucket(2, clock))
    ups = Upstreams([slow, quick])
    for up in (slow, quick, quick):
        up.begin().close()
    assert ups.choose(T2V) == Wait(500)
    assert ups.wait_ms([T2V]) == 500
    assert ups.wait_ms([]) == LOOK_AGAIN_MS


# ---- who is taken out of the queue --------------------------------------------------------

LANES = (T2V, T2V_720, EDIT, EDIT._replace(tier="720p"), T2V._replace(upstream="a"))


@given(
    turns=st.lists(st.integers(0, 30), min_size=3, max_size=3),
    waiting=st.sets(st.sampled_from(LANES)),
    going=st.lists(st.sampled_from(LANES), max_size=10),
    room=st.integers(1, 50),
)
def test_quotas_fill_the_places_that_there_are(
    turns: list[int], waiting: set[Lane], going: list[Lane], room: int
) -> None:
    ups = [
        upstream("a", max_in_flight=turns[0]),
        upstream("b", max_in_flight=turns[1], operations=frozenset({Operation.EDIT_VIDEO})),
        upstream("c", max_in_flight=turns[2], tiers=frozenset({"480p"}), priority=1),
    ]
    quotas = Upstreams(ups).quotas(waiting, going, room)
    assert set(quotas) <= waiting
    assert all(quota > 0 for quota in quotas.values())
    assert sum(quotas.values()) <= min(room, sum(turns))
    for lane, quota in quotas.items():
        able = [n for n, up in zip(turns, ups, strict=True) if up.can_do(lane)]
        assert quota <= (turns[0] if lane.upstream else sum(able))
    if sum(turns) - len(going) > 0 and waiting == set(LANES):
        assert quotas or turns[0] <= len(going)


def test_lanes_share_a_place_evenly_and_a_blocked_one_gets_none() -> None:
    shared = upstream("shared", max_in_flight=10)
    blocked = upstream("blocked", operations=frozenset({Operation.EDIT_VIDEO}), disabled=True)
    shared.operations = frozenset(Operation) - {Operation.EDIT_VIDEO}
    quotas = Upstreams([shared, blocked]).quotas([T2V, T2V_720, EDIT], [], 200)
    assert quotas == {T2V: 5, T2V_720: 5}


def test_tasks_that_nobody_can_do_are_taken_to_be_told_so() -> None:
    ups = Upstreams([upstream("a", operations=frozenset({Operation.EDIT_VIDEO}), disabled=True)])
    assert ups.quotas([T2V, EDIT], [], 20) == {T2V: 20}
    assert Upstreams([]).quotas([T2V._replace(upstream="gone")], [], 20) == {}


# ---- checks -------------------------------------------------------------------------------

REPORTS: Mapping[CheckReport, Cause | None] = {
    CheckReport(False, None, (), ""): Cause.NETWORK,
    CheckReport(True, False, (), ""): Cause.BAD_CREDENTIALS,
    CheckReport(True, True, ("m",), ""): Cause.MODEL_UNAVAILABLE,
    CheckReport(True, True, (), ""): None,
    CheckReport(True, None, (), ""): None,
}


@pytest.mark.parametrize("report", REPORTS)
def test_what_a_check_says(report: CheckReport) -> None:
    assert what_is_wrong(report) is REPORTS[report]


def test_a_lane_comes_back_from_its_text() -> None:
    for lane in LANES:
        assert Lane.parse(str(lane)) == lane
