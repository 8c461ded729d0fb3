"""What every provider promises, held against each of them before its upstream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reelgate.domain.model import Operation
from reelgate.providers.base import (
    Accepted,
    Cause,
    Done,
    Failed,
    NotTaken,
    Pending,
    PollAnswer,
    Provider,
    Refused,
    ResultChanged,
    ResultGone,
    Trouble,
    Uncertain,
    Verdict,
)
from tests.providers.upstreams import UPSTREAMS, Outcome, Upstream, job_of

T2V = Operation.TEXT_TO_VIDEO
POLLS_MAX = 200


@pytest.fixture(params=UPSTREAMS)
async def upstream(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Upstream]:
    async with UPSTREAMS[request.param](tmp_path) as opened:
        yield opened


async def submitted(
    upstream: Upstream, outcome: Outcome = Outcome.DONE, operation: Operation = T2V
) -> str:
    job = upstream.expect(outcome, job_of(operation, upstream.model, f"task_{operation}"))
    answer = await upstream.provider.submit(job)
    assert isinstance(answer, Accepted), answer
    return answer.ref


async def ended(provider: Provider, ref: str) -> tuple[PollAnswer, list[Pending]]:
    """The answer that is not `Pending`, and those before it."""
    pending: list[Pending] = []
    for _ in range(POLLS_MAX):
        answer = await provider.poll(ref)
        if not isinstance(answer, Pending):
            return answer, pending
        pending.append(answer)
        await asyncio.sleep(0.005)
    raise AssertionError(f"still pending after {POLLS_MAX} polls")


async def done(upstream: Upstream) -> str:
    answer, _ = await ended(upstream.provider, await submitted(upstream))
    assert isinstance(answer, Done), answer
    return answer.result


async def test_every_operation_goes_through_to_its_bytes(upstream: Upstream) -> None:
    provider = upstream.provider
    assert T2V in provider.operations
    for count, operation in enumerate(sorted(provider.operations), 1):
        ref = await submitted(upstream, operation=operation)
        answer, pending = await ended(provider, ref)
        assert isinstance(answer, Done), (operation, answer)
        assert all(step.progress is None or 0 <= step.progress <= 99 for step in pending)
        async with provider.fetch(answer.result) as download:
            film = b"".join([chunk async for chunk in download.chunks])
            assert (download.offset, download.total) == (0, len(film))
        assert film
        assert upstream.made() == count


async def test_a_download_is_resumed_where_it_broke_off(upstream: Upstream) -> None:
    result = await done(upstream)
    async with upstream.provider.fetch(result) as download:
        film = b"".join([chunk async for chunk in download.chunks])
        etag = download.etag
    async with upstream.provider.fetch(result, 1_000, etag) as download:
        assert (download.offset, download.total) == (1_000, len(film))
        assert b"".join([chunk async for chunk in download.chunks]) == film[1_000:]


async def test_a_result_that_changed_is_not_resumed(upstream: Upstream) -> None:
    result = await done(upstream)
    async with upstream.provider.fetch(result) as download:
        etag = download.etag
    upstream.change_results()
    with pytest.raises(ResultChanged):
        async with upstream.provider.fetch(result, 1_000, etag):
            pass


async def test_a_result_that_is_gone_says_so(upstream: Upstream) -> None:
    result = await done(upstream)
    upstream.forget_results()
    with pytest.raises(ResultGone):
        async with upstream.provider.fetch(result):
            pass


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (Outcome.FAILED, Verdict.FAILED),
        (Outcome.MODERATED, Verdict.MODERATED),
        (Outcome.EXPIRED, Verdict.EXPIRED),
    ],
)
async def test_a_bad_end_is_a_verdict_with_a_message(
    upstream: Upstream, outcome: Outcome, verdict: Verdict
) -> None:
    answer, _ = await ended(upstream.provider, await submitted(upstream, outcome))
    assert isinstance(answer, Failed), answer
    assert answer.verdict is verdict
    assert 0 < len(answer.message) <= 300
    assert "/srv/" not in answer.message


async def test_a_refused_job_is_not_made(upstream: Upstream) -> None:
    job = upstream.expect(Outcome.REFUSED, job_of(T2V, upstream.model))
    answer = await upstream.provider.submit(job)
    assert isinstance(answer, Refused), answer
    assert answer.message
    assert upstream.made() == 0


async def test_a_busy_upstream_did_not_take_the_job_and_takes_it_later(upstream: Upstream) -> None:
    job = upstream.expect(Outcome.BUSY, job_of(T2V, upstream.model))
    answer = await upstream.provider.submit(job)
    assert isinstance(answer, NotTaken), answer
    assert answer.cause in {Cause.RATE_LIMITED, Cause.OVERLOADED}
    assert upstream.made() == 0
    assert isinstance(await upstream.provider.submit(job), Accepted)
    assert upstream.made() == 1


async def test_a_lost_answer_is_uncertain_and_the_job_was_made_once(upstream: Upstream) -> None:
    job = upstream.expect(Outcome.LOST_REPLY, job_of(T2V, upstream.model))
    answer = await upstream.provider.submit(job)
    assert isinstance(answer, Uncertain), answer
    assert upstream.made() == 1


async def test_a_repeat_is_one_job_where_that_is_promised(upstream: Upstream) -> None:
    job = upstream.expect(Outcome.LOST_REPLY, job_of(T2V, upstream.model))
    await upstream.provider.submit(job)
    again = await upstream.provider.submit(job)
    assert isinstance(again, Accepted | Uncertain), again
    assert upstream.made() == (1 if upstream.provider.repeat_safe else 2)


async def test_a_pending_job_says_how_far_it_is(upstream: Upstream) -> None:
    ref = await submitted(upstream, Outcome.SLOW)
    for _ in range(3):
        answer = await upstream.provider.poll(ref)
        assert isinstance(answer, Pending), answer


async def test_cancel_is_true_only_when_the_job_is_cancelled(upstream: Upstream) -> None:
    ref = await submitted(upstream, Outcome.SLOW)
    assert await upstream.provider.cancel(ref) is upstream.provider.can_cancel
    answer = await upstream.provider.poll(ref)
    if upstream.provider.can_cancel:
        assert isinstance(answer, Failed)
        assert answer.verdict is Verdict.CANCELLED
    else:
        assert isinstance(answer, Pending)


async def test_a_job_that_the_upstream_does_not_know_is_never_done(upstream: Upstream) -> None:
    answer = await upstream.provider.poll("no-such-job")
    match answer:
        case Trouble():
            assert answer.cause is Cause.JOB_UNKNOWN
            assert answer.if_repeated is not None
        case _:
            assert isinstance(answer, Failed), answer


async def test_check_proves_key_and_model_and_spends_nothing(upstream: Upstream) -> None:
    report = await upstream.provider.check((upstream.model,))
    assert report.reachable
    assert report.authorized is not False
    assert report.models_missing == ()
    assert upstream.made() == 0


async def test_check_tells_a_wrong_key(upstream: Upstream) -> None:
    if upstream.wrong_key is None:
        pytest.skip("it has no key")
    report = await upstream.wrong_key.check((upstream.model,))
    assert (report.reachable, report.authorized) == (True, False)


async def test_a_wrong_key_takes_no_job(upstream: Upstream) -> None:
    if upstream.wrong_key is None:
        pytest.skip("it has no key")
    answer = await upstream.wrong_key.submit(job_of(T2V, upstream.model))
    assert isinstance(answer, NotTaken), answer
    assert answer.cause is Cause.BAD_CREDENTIALS
    assert upstream.made() == 0
    polled = await upstream.wrong_key.poll(await submitted(upstream))
    assert isinstance(polled, Trouble)
    assert polled.cause is Cause.BAD_CREDENTIALS


async def test_nobody_there_took_no_job(upstream: Upstream) -> None:
    if upstream.nowhere is None:
        pytest.skip("it has no address")
    answer = await upstream.nowhere.submit(job_of(T2V, upstream.model))
    assert isinstance(answer, NotTaken), answer
    assert answer.cause is Cause.NETWORK
    assert isinstance(await upstream.nowhere.poll("ref"), Trouble)
    assert not (await upstream.nowhere.check(())).reachable
    assert not await upstream.nowhere.cancel("ref")
