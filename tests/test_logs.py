"""What the log says, and what it never says."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from reelgate.domain.clock import ManualClock
from reelgate.logs import LogFormat, RequestLog, event, masked, setup_logging

log = logging.getLogger("reelgate.test")
START_MS = 1_795_372_980_123  # 2026-11-22T18:43:00.123Z

Setup = Callable[..., RequestLog]


class Noticed(io.StringIO):
    """A stream that says when it was written to."""

    def __init__(self) -> None:
        super().__init__()
        self.written = asyncio.Event()

    def write(self, text: str) -> int:
        self.written.set()
        return super().write(text)


class Broken(io.StringIO):
    """A stream whose reader has gone away."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def setup(out: io.StringIO) -> Iterator[Setup]:
    """`setup_logging` into `out`; logging is as it was when the test is over."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []

    def set_up(
        log_format: LogFormat = "text", level: str = "info", stream: io.StringIO = out
    ) -> RequestLog:
        return setup_logging(log_format, level, ManualClock(START_MS), stream)

    yield set_up
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_request_is_one_line_for_people(setup: Setup, out: io.StringIO) -> None:
    setup()("POST", "/v1/videos", 200, 1_234, "req_1", "task_1")
    assert out.getvalue() == (
        "2026-11-22T18:43:00.123Z INFO POST /v1/videos 200 elapsed_us=1234 "
        "request_id=req_1 task_id=task_1\n"
    )


def test_a_request_is_one_object_for_programs(setup: Setup, out: io.StringIO) -> None:
    setup("json")("GET", '/v1/"\n\x00é', 404, 99, "req_2")
    assert out.getvalue().count("\n") == 1
    assert json.loads(out.getvalue()) == {
        "time": "2026-11-22T18:43:00.123Z",
        "level": "info",
        "event": "request",
        "method": "GET",
        "path": '/v1/"\n\x00é',
        "status": 404,
        "elapsed_us": 99,
        "request_id": "req_2",
        "task_id": "",
    }


def test_nobody_can_forge_a_second_line(setup: Setup, out: io.StringIO) -> None:
    requests = setup()
    requests("GET", "/v1/videos\n2026 INFO forged", 404, 1, "req\n3")
    event(log, "two\nlines", name="also\nhere")
    logging.getLogger("other").warning("and\rthis")
    assert len(out.getvalue().splitlines()) == 3
    assert out.getvalue().count("\n") == 3


def test_an_event_has_its_fields(setup: Setup, out: io.StringIO) -> None:
    setup()
    event(log, "task moved", task_id="task_1", from_="queued", to="sending", nothing=None, none="")
    line = out.getvalue()
    assert line.endswith("Z INFO task moved task_id=task_1 from=queued to=sending\n")


def test_fields_may_come_as_extra(setup: Setup, out: io.StringIO) -> None:
    setup()
    log.info("task moved", extra={"task_id": "task_1", "from": "queued", "gone": None})
    assert out.getvalue().endswith("Z INFO task moved task_id=task_1 from=queued\n")


def test_a_field_may_have_any_name(setup: Setup, out: io.StringIO) -> None:
    setup()
    event(log, "key made", name="default", args=1, message_="x")
    assert out.getvalue().endswith("Z INFO key made name=default args=1 message=x\n")


def test_an_event_is_one_object_for_programs(setup: Setup, out: io.StringIO) -> None:
    setup("json")
    event(log, "task moved", level=logging.WARNING, attempts=3, note='say "no"')
    line = json.loads(out.getvalue())
    assert (line["level"], line["event"]) == ("warning", "task moved")
    assert (line["attempts"], line["note"]) == (3, 'say "no"')


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_an_error_is_one_line_that_says_where(
    setup: Setup, out: io.StringIO, log_format: LogFormat
) -> None:
    setup(log_format)
    with pytest.raises(KeyError) as caught:
        raise KeyError("no such key")
    event(log, "it broke", level=logging.ERROR, error=caught.value)
    line = out.getvalue()
    assert line.count("\n") == 1
    assert "KeyError" in line
    assert "no such key" in line
    assert "test_logs.py:" in line
    assert ("Traceback" in line) == (log_format == "json")


def test_below_the_level_nothing_is_logged(setup: Setup, out: io.StringIO) -> None:
    requests = setup(level="warning")
    requests("GET", "/", 200, 1, "req_1")
    event(log, "quiet")
    logging.getLogger("uvicorn.error").info("started")
    assert out.getvalue() == ""
    logging.getLogger("uvicorn.error").warning("trouble")
    assert out.getvalue().endswith(" WARNING trouble logger=uvicorn.error\n")


def test_chatter_of_others_is_left_out(setup: Setup, out: io.StringIO) -> None:
    setup()
    logging.getLogger("uvicorn.error").info("started")
    logging.getLogger("aiohttp.access").info("GET /")
    assert out.getvalue() == ""


@pytest.mark.parametrize(
    "secret",
    [
        "Authorization: Bearer {}",
        "sk-{}",
        "sk-admin-{}",
        "xai-" + "{}" * 4,
        "whsec_{}",
        "https://h/v1/videos/t/content?variant=video&sig={}&x=1",
        "https://h/x?token={}",
        "https://bucket/x?X-Amz-Signature={}",
        "postgresql://me:{}@db/reelgate",
    ],
)
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_secrets_that_slip_in_are_masked(
    setup: Setup, out: io.StringIO, secret: str, log_format: LogFormat
) -> None:
    setup(log_format)
    text = secret.format(*["tops3cretTOPS3CRET"] * 4)
    event(log, f"said {text}", level=logging.WARNING, field=text, error=ValueError(text))
    logging.getLogger("other").warning("%s", text)
    assert "tops3cret" not in out.getvalue()
    assert out.getvalue().count("***") >= 4


@pytest.mark.parametrize(
    "text", ["upstream xai-main-secondary", "task-moved", "https://host:8080/path?limit=20", "3:4"]
)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert masked(text) == text


async def test_requests_are_written_by_the_loop_soon(setup: Setup) -> None:
    out = Noticed()
    requests = setup(stream=out)
    for number in range(3):
        requests("GET", f"/{number}", 200, 1, "req")
    assert out.getvalue() == ""
    await asyncio.wait_for(out.written.wait(), timeout=5)
    assert [line.split()[3] for line in out.getvalue().splitlines()] == ["/0", "/1", "/2"]


async def test_lines_keep_their_order(setup: Setup, out: io.StringIO) -> None:
    requests = setup()
    requests("GET", "/first", 200, 1, "req")
    event(log, "second")
    requests("GET", "/third", 200, 1, "req")
    logging.getLogger().handlers[0].flush()
    words = [line.split()[2:4] for line in out.getvalue().splitlines()]
    assert [word for pair in words for word in pair if word != "GET"][:3] == [
        "/first",
        "second",
        "/third",
    ]


async def test_no_line_is_lost_between_threads(setup: Setup, out: io.StringIO) -> None:
    requests = setup()

    def chatter() -> None:
        for _ in range(500):
            event(log, "from a thread")

    threads = [threading.Thread(target=chatter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(2_000):
        requests("GET", "/", 200, 1, "req")
        await asyncio.sleep(0)
    for thread in threads:
        thread.join()
    logging.getLogger().handlers[0].flush()
    lines = out.getvalue().splitlines()
    assert sum(line.endswith("from a thread") for line in lines) == 2_000
    assert sum(" GET / 200 " in line for line in lines) == 2_000


def test_a_log_that_nobody_reads_stops_nobody(setup: Setup) -> None:
    requests = setup(stream=Broken())
    requests("GET", "/", 200, 1, "req")
    event(log, "nobody hears")
