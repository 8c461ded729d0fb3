"""Rendering in child processes: what becomes of films, files and children when things break."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reelgate.domain.model import Operation
from reelgate.providers.sandbox.pool import RenderFailed, RenderPool
from reelgate.providers.sandbox.protocol import decode_job, encode_job
from reelgate.providers.sandbox.scene import BadInput, Scene, part_path
from tests.support.clips import decoded

SHORT = Scene(Operation.TEXT_TO_VIDEO, "short", 1, 320, 240)
LONG = Scene(Operation.TEXT_TO_VIDEO, "long", 60, 1280, 720)
CHILD = (sys.executable, "-m", "reelgate.providers.sandbox.worker_main")


@pytest.fixture
async def pool() -> AsyncIterator[RenderPool]:
    pool = RenderPool()
    yield pool
    await pool.close()


async def begun(pool: RenderPool, out: Path) -> asyncio.Task[None]:
    """A long film in the making, its first percents done."""
    going = asyncio.Event()

    def tell(percent: int) -> None:
        if percent >= 1:
            going.set()

    task = asyncio.create_task(pool.render(LONG, out, tell))
    waiting = asyncio.create_task(going.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    return task


def child_pids(pool: RenderPool) -> list[int]:
    return [child._process.pid for child in pool._children if child._process]


def alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def test_a_film_is_made_with_its_progress(pool: RenderPool, tmp_path: Path) -> None:
    seen: list[int] = []
    await pool.render(SHORT, tmp_path / "film.mp4", seen.append)
    assert len(decoded(tmp_path / "film.mp4")) == 24
    assert seen == sorted(set(seen)) and seen[0] == 0 and seen[-1] == 100


async def test_children_start_late_and_stay(pool: RenderPool, tmp_path: Path) -> None:
    assert child_pids(pool) == []
    await pool.render(SHORT, tmp_path / "one.mp4")
    first = child_pids(pool)
    await pool.render(SHORT, tmp_path / "two.mp4")
    assert child_pids(pool) == first and len(first) == 1


async def test_the_event_loop_goes_on_meanwhile(pool: RenderPool, tmp_path: Path) -> None:
    """While ten seconds of film are made, a short sleep takes about as long as it should."""
    task = asyncio.create_task(
        pool.render(Scene(Operation.TEXT_TO_VIDEO, "", 10, 640, 480), tmp_path / "film.mp4")
    )
    gaps = []
    while not task.done():
        start = time.perf_counter()
        await asyncio.sleep(0.002)
        gaps.append(time.perf_counter() - start)
    await task
    gaps.sort()
    assert len(gaps) > 20 and gaps[len(gaps) * 9 // 10] < 0.05


async def test_a_scene_survives_the_journey(tmp_path: Path) -> None:
    scene = Scene(
        Operation.REFERENCE_TO_VIDEO, "line\nbreak ✂ \ud800", 3, 320, 240,
        images=(tmp_path / "a b.png", tmp_path / "ü.png"), video=tmp_path / "v.mp4",
    )  # fmt: skip
    line = encode_job(scene, tmp_path / "out.mp4")
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert decode_job(line) == (scene, tmp_path / "out.mp4")
    assert decode_job(encode_job(SHORT, tmp_path)) == (SHORT, tmp_path)


async def test_bad_input_says_what_is_wrong_and_the_child_lives(
    pool: RenderPool, tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_text("no picture")
    scene = Scene(Operation.IMAGE_TO_VIDEO, "", 1, 320, 240, (tmp_path / "bad.png",))
    await pool.render(SHORT, tmp_path / "one.mp4")
    before = child_pids(pool)
    with pytest.raises(BadInput, match="an image can't be read"):
        await pool.render(scene, tmp_path / "film.mp4")
    await pool.render(SHORT, tmp_path / "two.mp4")
    assert child_pids(pool) == before


async def test_a_folder_that_is_not_there_is_a_failure(pool: RenderPool, tmp_path: Path) -> None:
    with pytest.raises(RenderFailed, match="FileNotFoundError"):
        await pool.render(SHORT, tmp_path / "missing" / "film.mp4")
    await pool.render(SHORT, tmp_path / "film.mp4")


async def test_a_killed_child_fails_its_film_and_is_replaced(
    pool: RenderPool, tmp_path: Path
) -> None:
    task = await begun(pool, tmp_path / "long.mp4")
    os.kill(child_pids(pool)[0], signal.SIGKILL)
    with pytest.raises(RenderFailed, match="-9"):
        await task
    assert files(tmp_path) == []
    await pool.render(SHORT, tmp_path / "film.mp4")
    assert len(decoded(tmp_path / "film.mp4")) == 24


async def test_a_child_that_died_idle_is_replaced(pool: RenderPool, tmp_path: Path) -> None:
    await pool.render(SHORT, tmp_path / "one.mp4")
    [process] = [child._process for child in pool._children]
    assert process
    process.kill()
    await process.wait()
    await pool.render(SHORT, tmp_path / "two.mp4")
    assert child_pids(pool) != [process.pid]


async def test_cancelling_stops_the_work_and_leaves_no_file(
    pool: RenderPool, tmp_path: Path
) -> None:
    task = await begun(pool, tmp_path / "long.mp4")
    [pid] = child_pids(pool)
    assert part_path(tmp_path / "long.mp4").exists()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive(pid)
    assert files(tmp_path) == []
    await pool.render(SHORT, tmp_path / "film.mp4")


async def test_a_film_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    pool = RenderPool(render_s_max=0.5)
    with pytest.raises(RenderFailed, match=r"0\.5 seconds"):
        await pool.render(LONG, tmp_path / "long.mp4")
    assert files(tmp_path) == []
    await pool.close()


async def test_as_many_films_at_once_as_children(tmp_path: Path) -> None:
    pool = RenderPool(children=2)
    outs = [tmp_path / f"{n}.mp4" for n in range(5)]
    await asyncio.gather(*(pool.render(SHORT, out) for out in outs))
    assert len(set(child_pids(pool))) == 2
    assert files(tmp_path) == outs
    await pool.close()


async def test_closing_ends_children_and_films(pool: RenderPool, tmp_path: Path) -> None:
    task = await begun(pool, tmp_path / "long.mp4")
    waiting = asyncio.create_task(pool.render(SHORT, tmp_path / "film.mp4"))
    [pid] = child_pids(pool)
    await asyncio.sleep(0)
    await pool.close()
    for film in task, waiting:
        with pytest.raises(RenderFailed):
            await film
    assert not alive(pid)
    assert files(tmp_path) == []
    with pytest.raises(RenderFailed, match="closed"):
        await pool.render(SHORT, tmp_path / "film.mp4")


def test_a_child_dies_with_its_parent_in_the_middle_of_a_film(tmp_path: Path) -> None:
    """To the child, a parent that was killed is a stdin that ended."""
    out = tmp_path / "long.mp4"
    with subprocess.Popen(CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin and child.stdout
        child.stdin.write(encode_job(LONG, out))
        child.stdin.flush()
        while json.loads(child.stdout.readline())["progress"] < 2:
            pass
        assert part_path(out).exists()
        child.stdin.close()
        assert child.wait(timeout=5) == 0
    assert files(tmp_path) == []


def test_a_child_outlives_ctrl_c_and_sigterm(tmp_path: Path) -> None:
    """They reach the whole group; the parent decides whether the film is finished."""
    out = tmp_path / "film.mp4"
    with subprocess.Popen(CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin and child.stdout
        child.stdin.write(encode_job(SHORT, out))
        child.stdin.flush()
        assert json.loads(child.stdout.readline()) == {"progress": 0}
        child.send_signal(signal.SIGINT)
        child.send_signal(signal.SIGTERM)
        replies = [json.loads(line) for line in iter(child.stdout.readline, b'{"done": true}\n')]
        assert replies[-1] == {"progress": 100}
        child.stdin.close()
    assert out.exists()
