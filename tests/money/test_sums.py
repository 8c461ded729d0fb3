"""Contract, section 7, from submit to the bill: every sum here was made by hand.

output second 480p / 720p   0.05 / 0.07      input image          0.002
input video second          0.01             extension second     0.05
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from reelgate.api import wire
from reelgate.domain.money import parse_usd, usd
from reelgate.domain.order import MediaDraft
from reelgate.domain.task import State
from tests.net.servers import answering, file_answer
from tests.support.clips import make_clip
from tests.support.world import CREDIT_MICRO, World

SD, HD = (640, 480), (1280, 720)
SHORT_480, SHORT_481 = (720, 480), (720, 481)
PICTURE = MediaDraft("image", url="https://example.com/a.png")


@dataclass(frozen=True)
class Film:
    """A clip of an exact length: `frames` at `fps`."""

    frames: int
    fps: int = 2
    size: tuple[int, int] = SD

    @property
    def data(self) -> bytes:
        return _made(self)


@lru_cache(maxsize=64)
def _made(film: Film) -> bytes:
    odd = film.size[1] % 2
    with TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        pix_fmt = "yuv444p" if odd else "yuv420p"
        make_clip(
            path, frames=film.frames, fps=film.fps, size=film.size, tone_hz=None, pix_fmt=pix_fmt
        )
        return path.read_bytes()


def seconds(count: int, size: tuple[int, int] = SD) -> Film:
    return Film(count * 2, 2, size)


@dataclass(frozen=True)
class Case:
    """A request, what is delivered for it, and three sums in USD: held when the task is made, held
    when it is sent, charged. `source` is what the request's URL leads to; `uploaded`: was sent."""

    name: str
    asked: dict[str, Any]
    delivered: Film
    held: str
    charged: str
    source: Film | None = None
    uploaded: bool = False
    held_when_sent: str = field(default="")


def text(duration: int, tier: str) -> dict[str, Any]:
    return {"seconds": duration, "size": tier}


def edit(declared: int | None = None, **fields: Any) -> dict[str, Any]:
    return {"seconds": None, "input_video_seconds": declared, **fields}


def extend(added: int, declared: int | None = None) -> dict[str, Any]:
    return {"seconds": added, "input_video_seconds": declared}


CASES = (
    # ---- length and picture against what was asked
    Case("as asked: 6 x 0.07", text(6, "720p"), seconds(6, HD), "0.42", "0.42"),
    Case("6.04 s is 6 s: 6 x 0.05", text(6, "480p"), Film(151, 25), "0.30", "0.30"),
    Case("6.12 s is 7 s: 7 x 0.05", text(8, "480p"), Film(153, 25), "0.40", "0.35"),
    Case("shorter, 4.5 s are 5: 5 x 0.07", text(6, "720p"), Film(9, 2, HD), "0.42", "0.35"),
    Case("longer, 9 s: not more than held", text(6, "720p"), seconds(9, HD), "0.42", "0.42"),
    Case("a bigger picture: not more than held", text(6, "480p"), seconds(6, HD), "0.30", "0.30"),
    Case("bigger and shorter: 2 x 0.07", text(6, "480p"), seconds(2, HD), "0.30", "0.14"),
    Case("a smaller picture: 6 x 0.05", text(6, "720p"), seconds(6), "0.42", "0.30"),
    # ---- pictures
    Case(
        "one picture: 3 x 0.05 + 0.002",
        {"seconds": 3, "image": PICTURE},
        seconds(3),
        "0.152",
        "0.152",
    ),
    Case(
        "seven pictures, and a shorter film: 2 x 0.05 + 7 x 0.002",
        {"seconds": 4, "images": [PICTURE] * 7},
        seconds(2),
        "0.214",
        "0.114",
    ),
    # ---- edits
    Case(
        "edit, said to be 3 s and is 6.04: 6 x 0.05 + 6 x 0.01",
        edit(declared=3),
        Film(151, 25),
        "0.24",  # 3 x 0.07 + 3 x 0.01
        "0.36",
        source=Film(151, 25),
        held_when_sent="0.36",
    ),
    Case(
        "edit, said to be 9 s and is 2: 2 x 0.07 + 2 x 0.01",
        edit(declared=9),
        seconds(2, HD),
        "0.72",  # 9 x 0.07 + 9 x 0.01
        "0.16",
        source=seconds(2, HD),
    ),
    Case(
        "edit, nothing said: 2 x 0.05 + 2 x 0.01",
        edit(),
        seconds(2),
        "0.72",
        "0.12",
        source=seconds(2),
    ),
    Case(
        "edit, short side 480: 2 x 0.05 + 2 x 0.01",
        edit(declared=2),
        seconds(2, SHORT_480),
        "0.16",  # 2 x 0.07 + 2 x 0.01
        "0.12",
        source=seconds(2, SHORT_480),
    ),
    Case(
        "edit, short side 481: 2 x 0.07 + 2 x 0.01",
        edit(declared=2),
        seconds(2, SHORT_481),
        "0.16",
        "0.16",
        source=seconds(2, SHORT_481),
    ),
    Case(
        "edit, upright, short side 480: 2 x 0.05 + 2 x 0.01",
        edit(declared=2),
        seconds(2, (480, 854)),
        "0.16",
        "0.12",
        source=seconds(2, (480, 854)),
    ),
    Case(
        "edit, 480p asked of a 720p source: 2 x 0.07 + 2 x 0.01",
        edit(declared=2, size="480p"),
        seconds(2, HD),
        "0.12",  # 2 x 0.05 + 2 x 0.01
        "0.16",
        source=seconds(2, HD),
        held_when_sent="0.16",
    ),
    Case(
        "edit, the result is longer than its source: not more than held",
        edit(declared=2),
        seconds(3),
        "0.16",
        "0.16",  # 3 x 0.05 + 2 x 0.01 is 0.17
        source=seconds(2),
    ),
    Case(
        "edit of an upload, whatever was said of it: 2 x 0.05 + 2 x 0.01",
        edit(declared=9),
        seconds(2),
        "0.12",
        "0.12",
        source=seconds(2),
        uploaded=True,
    ),
    # ---- extensions: no tier
    Case(
        "extend, said to be 2 s and is 8: 8 x 0.01 + 4 x 0.05",
        extend(4, declared=2),
        seconds(12, HD),
        "0.22",  # 2 x 0.01 + 4 x 0.05
        "0.28",
        source=seconds(8, HD),
        held_when_sent="0.28",
    ),
    Case(
        "extend, nothing said, 3 s: 3 x 0.01 + 4 x 0.05",
        extend(4),
        seconds(7),
        "0.35",  # 15 x 0.01 + 4 x 0.05
        "0.23",
        source=seconds(3),
    ),
    Case(
        "extend, less was added than asked: 8 x 0.01 + 2 x 0.05",
        extend(4, declared=8),
        seconds(10),
        "0.28",
        "0.18",
        source=seconds(8),
    ),
    Case(
        "extend, more was added than asked: not more than held",
        extend(4, declared=8),
        seconds(14),
        "0.28",
        "0.28",
        source=seconds(8),
    ),
    Case(
        "extend of an upload: 3 x 0.01 + 2 x 0.05",
        extend(2),
        seconds(5),
        "0.13",
        "0.13",
        source=seconds(3),
        uploaded=True,
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_what_is_held_and_what_is_charged(world: World, case: Case) -> None:
    world.provider.film = case.delivered.data
    served = case.source.data if case.source else b""
    async with answering(file_answer(served)) as server:
        asked = dict(case.asked)
        if case.uploaded:
            asked["video"] = MediaDraft("video", data=served)
        elif case.source:
            asked["video"] = MediaDraft("video", url=f"{server.url}/source.mp4")
        task = await world.submit(**asked)
        assert usd(task.held_micro) == case.held
        assert usd((await world.balance())[1]) == case.held
        sent = await world.live(task, until=State.RUNNING)
        assert usd(sent.held_micro) == (case.held_when_sent or case.held)
        ended = await world.live(task)
    assert ended.bill is not None and usd(ended.bill.total_micro) == case.charged
    assert await world.balance() == (CREDIT_MICRO - parse_usd(case.charged), 0)
    billing = wire.video(ended, None).billing
    assert (billing.cost, billing.max_cost) == (case.charged, case.held_when_sent or case.held)
    assert sum(parse_usd(item.amount) for item in billing.items) == parse_usd(case.charged)


async def test_a_source_by_task_id_is_measured_at_submit(world: World) -> None:
    world.provider.film = seconds(3).data
    first = await world.live(await world.submit(seconds=3))
    edit_of_it = await world.submit(**edit(video=MediaDraft("video", task_id=first.id)))
    assert usd(edit_of_it.held_micro) == "0.18"  # 3 x 0.05 + 3 x 0.01
    ended = await world.live(edit_of_it)
    assert ended.bill is not None and usd(ended.bill.total_micro) == "0.18"
    assert await world.balance() == (CREDIT_MICRO - 150_000 - 180_000, 0)
