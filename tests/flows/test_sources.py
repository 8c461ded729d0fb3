"""Sources named by URL are measured before anything is spent, whatever their server answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reelgate.domain.errors import TaskError
from reelgate.domain.order import Draft, MediaDraft, SourceFacts
from reelgate.domain.task import State, Task
from reelgate.flows import accounts, cancel, switches
from reelgate.flows.gateway import Caller
from reelgate.net.guard import Guard, Policy
from reelgate.store.accounts import Limits
from tests.net.servers import Conn, Server, answering, file_answer, free_port, reply
from tests.support.clips import make_clip
from tests.support.world import World

FUNDS = 100_000_000


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sources; the name says their length in seconds and their height."""
    folder = tmp_path_factory.mktemp("clips")
    make_clip(folder / "6s-480.mp4", frames=151, fps=25, size=(640, 480))  # 6.04 s
    make_clip(folder / "8s-720.mp4", frames=16, fps=2, size=(1280, 720))
    make_clip(folder / "1s-480.mp4", frames=19, fps=20, size=(64, 48))  # 0.95 s
    make_clip(folder / "10s-480.mp4", frames=20, fps=2, size=(64, 48))
    make_clip(folder / "late-index.mp4", frames=151, fps=25, size=(640, 480), movflags="")
    make_clip(folder / "mpeg4.mp4", frames=48, codec="mpeg4")
    (folder / "text.mp4").write_bytes(b"this is no film" * 100)
    (folder / "cut.mp4").write_bytes((folder / "6s-480.mp4").read_bytes()[:-500])
    return folder


@pytest.fixture
def film_of_6s(clips: Path, world: World) -> None:
    """What the upstream delivers is as long as the source."""
    world.provider.film = (clips / "6s-480.mp4").read_bytes()


def edit(world: World, url: str, declared: int | None = None) -> Draft:
    draft = extend(world, url, declared)
    draft.seconds = None
    return draft


def extend(world: World, url: str, declared: int | None = None) -> Draft:
    video = MediaDraft("video", url=url)
    return world.draft(seconds=4, video=video, input_video_seconds=declared)


@asynccontextmanager
async def serving(path: Path, **how: Any) -> AsyncIterator[tuple[str, Server]]:
    data = await asyncio.to_thread(path.read_bytes)
    async with answering(file_answer(data, **how)) as server:
        yield f"{server.url}/source.mp4", server


async def failed(world: World, task: Task, code: TaskError) -> str:
    """The message of a task that failed like this, with nothing spent and nobody asked."""
    ended = await world.live(task)
    assert ended.state is State.FAILED
    assert ended.failure is not None
    assert ended.failure.code is code
    assert world.provider.jobs == []
    assert await world.balance() == (FUNDS, 0)
    return ended.failure.message


# ---- measured -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["6s-480.mp4", "late-index.mp4"])
@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no-ranges"])
@pytest.mark.usefixtures("film_of_6s")
async def test_the_hold_grows_to_what_the_source_can_cost(
    world: World, clips: Path, name: str, ranges: bool
) -> None:
    async with serving(clips / name, ranges=ranges) as (url, _):
        task = (await world.submitted(edit(world, url, declared=3))).task
        assert task.held_micro == 240_000  # 3 x 0.07 + 3 x 0.01: of 720p, for all we know
        sent = await world.live(task, until=State.RUNNING)
    assert sent.source == SourceFacts(640, 480, 6_040)
    assert sent.held_micro == 360_000  # 6 x 0.05 + 6 x 0.01
    assert await world.balance() == (FUNDS - 360_000, 360_000)
    assert await world.entries(task) == [("hold", 240_000), ("hold", 120_000)]
    ended = await world.live(task)
    assert ended.bill is not None and ended.bill.total_micro == 360_000
    assert await world.entries(task) == [("hold", 240_000), ("hold", 120_000), ("capture", 360_000)]


@pytest.mark.usefixtures("film_of_6s")
async def test_a_hold_that_is_more_than_enough_stays(world: World, clips: Path) -> None:
    async with serving(clips / "6s-480.mp4") as (url, _):
        task = (await world.submitted(edit(world, url))).task
        assert task.held_micro == 720_000  # 9 x 0.07 + 9 x 0.01: the longest there is
        sent = await world.live(task, until=State.RUNNING)
        assert sent.held_micro == 720_000
        await world.live(task)
    assert await world.balance() == (FUNDS - 360_000, 0)


async def test_only_the_index_is_read_of_a_server_with_ranges(world: World, clips: Path) -> None:
    async with serving(clips / "8s-720.mp4") as (url, server):
        task = (await world.submitted(extend(world, url, declared=2))).task
        assert task.held_micro == 220_000  # 2 x 0.01 + 4 x 0.05
        sent = await world.live(task, until=State.RUNNING)
        assert sent.held_micro == 280_000  # 8 x 0.01 + 4 x 0.05
        assert {"range" in request.headers for request in server.requests} == {True}


@pytest.mark.usefixtures("film_of_6s")
async def test_a_source_is_looked_at_once_however_long_the_task_waits(
    world: World, clips: Path
) -> None:
    await switches.disable(world.gateway, world.upstream.name)
    async with serving(clips / "6s-480.mp4") as (url, server):
        task = (await world.submitted(edit(world, url))).task
        await world.claim(task)
        await world.step(task)
        asked = len(server.requests)
        for _ in range(3):
            await world.step(task)
        assert len(server.requests) == asked
        await switches.enable(world.gateway, world.upstream.name)
        assert (await world.live(task)).state is State.COMPLETED
        assert len(server.requests) == asked


# ---- not usable ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("1s-480.mp4", "0.95 s long; edit_video takes sources of 1 to 8.7 s"),
        ("10s-480.mp4", "10 s long; edit_video takes sources of 1 to 8.7 s"),
        ("mpeg4.mp4", "it must be H.264, H.265 or AV1"),
        ("text.mp4", "The source video can't be used"),
        ("cut.mp4", "The source video can't be used"),
    ],
)
async def test_a_source_that_can_not_be_used_costs_nothing(
    world: World, clips: Path, name: str, said: str
) -> None:
    async with serving(clips / name) as (url, _):
        task = (await world.submitted(edit(world, url, declared=9))).task
        assert said in await failed(world, task, TaskError.INVALID_INPUT)


async def test_a_source_over_50_mib_costs_nothing(world: World) -> None:
    async with answering(lambda _: reply(b"x", length=50 * 1024 * 1024 + 1)) as server:
        task = (await world.submitted(edit(world, f"{server.url}/a.mp4"))).task
        assert "larger than" in await failed(world, task, TaskError.INVALID_INPUT)


async def test_a_url_that_we_may_not_call_costs_nothing(world: World) -> None:
    guard = Guard(Policy())
    world.gateway = replace(world.gateway, guard=guard)
    task = (await world.submitted(edit(world, "https://127.0.0.1/a.mp4"))).task
    message = await failed(world, task, TaskError.INVALID_INPUT)
    assert "127.0.0.1" not in message


# ---- not payable --------------------------------------------------------------------------


async def spend_down_to(world: World, left_micro: int) -> None:
    available, _ = await world.balance()
    account_id = world.caller.account_id
    await accounts.adjust(world.gateway, account_id, left_micro - available, note="test")


async def test_a_source_that_nobody_can_pay_for_costs_nothing(world: World, clips: Path) -> None:
    async with serving(clips / "6s-480.mp4") as (url, _):
        task = (await world.submitted(edit(world, url, declared=3))).task  # 0.24 is held
        await spend_down_to(world, 119_999)  # and 0.12 more is needed
        ended = await world.live(task)
    assert ended.failure is not None
    assert ended.failure.code is TaskError.INSUFFICIENT_BALANCE
    assert "0.36 USD, where 0.24 was held and 0.119999 more is available" in ended.failure.message
    assert world.provider.jobs == []
    assert await world.balance() == (119_999 + 240_000, 0)
    assert await world.entries(task) == [("hold", 240_000), ("release", 240_000)]


@pytest.mark.usefixtures("film_of_6s")
async def test_the_last_micro_dollar_is_enough(world: World, clips: Path) -> None:
    async with serving(clips / "6s-480.mp4") as (url, _):
        task = (await world.submitted(edit(world, url, declared=3))).task
        await spend_down_to(world, 120_000)
        assert (await world.live(task)).state is State.COMPLETED
    assert await world.balance() == (0, 0)


async def test_a_hold_never_grows_over_the_key_s_limit(world: World, clips: Path) -> None:
    limits = Limits(spend_day_max_micro=359_999)
    made = await accounts.create_key(world.gateway, world.caller.account_id, limits=limits)
    world.caller = Caller(world.caller.account_id, made.key)
    async with serving(clips / "6s-480.mp4") as (url, _):
        task = (await world.submitted(edit(world, url, declared=3))).task
        message = await failed(world, task, TaskError.INSUFFICIENT_BALANCE)
    assert "may spend 0.359999 USD per day" in message


# ---- not reachable from here --------------------------------------------------------------


async def _no_answer(conn: Conn) -> None:
    await conn.request()
    conn.reset()


@asynccontextmanager
async def nobody() -> AsyncIterator[str]:
    yield f"http://127.0.0.1:{free_port()}/a.mp4"


@asynccontextmanager
async def not_found() -> AsyncIterator[str]:
    async with answering(lambda _: reply(b"", 404)) as server:
        yield f"{server.url}/a.mp4"


@asynccontextmanager
async def reset() -> AsyncIterator[str]:
    async with Server(_no_answer) as server:
        yield f"{server.url}/a.mp4"


@asynccontextmanager
async def without_length() -> AsyncIterator[str]:
    async def script(conn: Conn) -> None:
        await conn.request()
        await conn.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nsomething")

    async with Server(script) as server:
        yield f"{server.url}/a.mp4"


@pytest.mark.parametrize("hidden", [nobody, not_found, reset, without_length])
async def test_what_only_the_upstream_reaches_is_held_for_at_the_dearest(
    world: World, clips: Path, hidden: Any
) -> None:
    make_clip(clips / "12s.mp4", frames=24, fps=2, size=(64, 48))
    world.provider.film = (clips / "12s.mp4").read_bytes()
    async with hidden() as url:
        task = (await world.submitted(extend(world, url, declared=2))).task
        assert task.held_micro == 220_000  # 2 x 0.01 + 4 x 0.05
        sent = await world.live(task, until=State.RUNNING)
        assert (sent.source, sent.held_micro) == (None, 350_000)  # 15 x 0.01 + 4 x 0.05
        ended = await world.live(task)
    # 12 s came back, 4 of them new: 8 x 0.01 + 4 x 0.05
    assert ended.bill is not None and ended.bill.total_micro == 280_000
    assert await world.balance() == (FUNDS - 280_000, 0)


async def test_what_only_the_upstream_reaches_must_be_payable_too(world: World) -> None:
    async with nobody() as url:
        task = (await world.submitted(edit(world, url, declared=1))).task  # 0.08 is held
        await spend_down_to(world, 639_999)  # 9 x 0.07 + 9 x 0.01 is 0.72
        ended = await world.live(task)
    assert ended.failure is not None
    assert ended.failure.code is TaskError.INSUFFICIENT_BALANCE
    assert world.provider.jobs == []


# ---- at the same moment -------------------------------------------------------------------


async def test_a_cancel_that_looked_before_the_hold_grew_gives_all_of_it_back(
    world: World, clips: Path
) -> None:
    await switches.disable(world.gateway, world.upstream.name)
    async with serving(clips / "6s-480.mp4") as (url, _):
        before = (await world.submitted(edit(world, url, declared=3))).task
        await world.claim(before)
        looked = await world.look(before)
        await world.step(before)
    assert (await world.balance())[1] == 360_000
    assert (await cancel.cancel(world.gateway, looked)).state is State.CANCELLED
    assert await world.balance() == (FUNDS, 0)
    await switches.enable(world.gateway, world.upstream.name)


async def test_a_task_that_is_cancelled_while_its_source_is_measured_holds_nothing(
    world: World, clips: Path
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()
    answer = file_answer((clips / "6s-480.mp4").read_bytes())

    async def script(conn: Conn) -> None:
        while True:
            request = await conn.request()
            asked.set()
            await go_on.wait()
            await conn.send(answer(request))

    async with Server(script) as server:
        url = f"{server.url}/a.mp4"
        task = (await world.submitted(edit(world, url, declared=3))).task
        await world.claim(task)
        step = asyncio.create_task(world.step(task))
        await asked.wait()
        await cancel.cancel(world.gateway, await world.look(task))
        go_on.set()
        assert await step is None
    assert world.provider.jobs == []
    assert await world.balance() == (FUNDS, 0)
