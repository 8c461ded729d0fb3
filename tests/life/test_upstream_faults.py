"""Whole tasks through a worker while their upstream goes wrong on a real socket.

Each test is a table: what happens, and how the task ends. All rows of a table live at once; the
prompt says which is which. Afterwards the books are right (`running` sees to it), and the upstream
has counted at most one submit of each task, or one job where repeats are safe.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from reelgate.domain.errors import TaskError
from reelgate.domain.task import State, Task
from reelgate.flows.upstreams import Breaker, TokenBucket, Upstream
from reelgate.net.stream import Limits
from reelgate.providers.base import Cause, Provider
from reelgate.providers.openai_videos import OpenAIVideos
from reelgate.providers.xai import Xai
from tests.fakes import fake_openai, fake_xai
from tests.fakes.fake_openai import FakeVideos, VideoJob
from tests.fakes.fake_xai import FakeXai, XaiJob
from tests.fakes.wire import Bucket, End, Fault, Mishap, Reply, Request
from tests.support.clips import make_clip
from tests.support.fake_provider import FakeProvider
from tests.support.running import Running, loopback_guard, running
from tests.support.world import open_database

KINDS = ("xai", "openai", "vllm-omni", "reelgate")
CALL_MS, SHORT_CALL_MS = 10_000, 400

Job = XaiJob | VideoJob
Life = Callable[[Any, Any], list[Reply]]  # the fake and the job; the answers to its polls


class Tireless(Breaker):
    """Never rests: each row of a table is to reach the upstream."""

    def bad(self, cause: Cause, detail: str = "", wish_ms: int | None = None) -> bool:
        self.cause, self.detail = cause, detail
        return False


# ---- upstreams that do what the prompt says -----------------------------------------------


@dataclass
class Script:
    """What is to happen to the jobs of each prompt, and how many submits there were."""

    submits: dict[str, deque[Reply | Fault]] = field(default_factory=dict)
    lives: dict[str, Life] = field(default_factory=dict)
    mishaps: dict[str, list[Mishap]] = field(default_factory=dict)
    posts: Counter[str] = field(default_factory=Counter)

    def submit(self, prompt: str, take: Callable[[], Reply]) -> Reply:
        """An answer to a submit: another one than usual, or the usual one with a fault."""
        self.posts[prompt] += 1
        told = self.submits[prompt].popleft() if self.submits.get(prompt) else None
        if isinstance(told, Reply):
            return told
        return take() if told is None else replace(take(), fault=told)


class ScriptedXai(FakeXai):
    def __init__(self, bucket: Bucket, film: bytes, script: Script) -> None:
        super().__init__(bucket, film)
        self.script = script

    def answer(self, request: Request) -> Reply:
        if request.method != "POST":
            return super().answer(request)
        prompt = request.json()["prompt"]
        return self.script.submit(prompt, lambda: super(ScriptedXai, self).answer(request))

    def usual_life(self, job: XaiJob) -> list[Reply]:
        prompt = job.fields["prompt"]
        path = self.bucket.put(f"{job.id}.mp4", self.film).removeprefix(self.bucket.url)
        self.bucket.mishaps[path] = deque(self.script.mishaps.get(prompt, ()))
        life = self.script.lives.get(prompt)
        return life(self, job) if life else [Reply(202), self.done(job)]

    def done(self, job: XaiJob) -> Reply:
        return fake_xai.done(f"{self.bucket.url}/xai-vidgen-bucket/{job.id}.mp4")

    def pending(self, _job: XaiJob, progress: Any = 40) -> Reply:
        return Reply(202, {"status": "pending", "progress": progress})

    def worded(self, _job: XaiJob, word: Any) -> Reply:
        return Reply(200, {"status": word})

    def broken(self, _job: XaiJob, message: str) -> Reply:
        return fake_xai.failed("internal_error", message)


class ScriptedVideos(FakeVideos):
    def __init__(self, name: fake_openai.Name, film: bytes, script: Script) -> None:
        super().__init__(name, film)
        self.script = script

    def answer(self, request: Request) -> Reply:
        if request.method != "POST" or request.path not in self.traits.routes:
            return super().answer(request)
        if request.content_type == "application/json":
            prompt = request.json()["prompt"]
        else:
            prompt = next(part.text for part in request.parts() if part.name == "prompt")
        return self.script.submit(prompt, lambda: super(ScriptedVideos, self).answer(request))

    def usual_life(self, job: VideoJob) -> list[Reply]:
        prompt = job.fields["prompt"]
        job.mishaps.extend(self.script.mishaps.get(prompt, ()))
        life = self.script.lives.get(prompt)
        return life(self, job) if life else [self.pending(job), self.done(job)]

    def state(self, job: VideoJob, status: str, **more: Any) -> Reply:
        shown = super().state(job, status, **more)
        return replace(shown, headers={})  # this one has no time to be asked again after seconds

    def done(self, job: VideoJob) -> Reply:
        return self.state(job, "completed")

    def pending(self, job: VideoJob, progress: Any = 40) -> Reply:
        return self.state(job, "in_progress", progress=progress)

    def worded(self, job: VideoJob, word: Any) -> Reply:
        return self.state(job, word)


@dataclass
class Line:
    """A gateway at work before such an upstream, with a spare one that is asked second."""

    gate: Running
    script: Script
    api: ScriptedXai | ScriptedVideos
    provider: Provider
    spare: FakeProvider
    films: Path

    async def run(self, prompts: list[str], *states: State) -> dict[str, Task]:
        """The tasks of these prompts, once each has ended or is in one of these states."""
        made = {prompt: await self.gate.submit(prompt) for prompt in prompts}
        waited = await asyncio.gather(*(self.gate.when(task, *states) for task in made.values()))
        return dict(zip(made, waited, strict=True))

    def jobs(self) -> Counter[str]:
        """How many jobs the upstream has made of each prompt."""
        return Counter(job.fields["prompt"] for job in self.api.jobs.values())


@asynccontextmanager
async def line(
    kind: str,
    url: str,
    folder: Path,
    film: bytes,
    *,
    spare: bool = True,
    call_ms: int = CALL_MS,
    **policy: Any,
) -> AsyncIterator[Line]:
    script = Script()
    async with AsyncExitStack() as stack:
        guard = loopback_guard()
        stack.push_async_callback(guard.close)
        api: ScriptedXai | ScriptedVideos
        provider: Xai | OpenAIVideos
        if kind == "xai":
            bucket = await stack.enter_async_context(Bucket())
            api = await stack.enter_async_context(ScriptedXai(bucket, film, script))
            model = fake_xai.MODEL
            provider = Xai(api.url, fake_xai.KEY, guard, submit_ms=call_ms, poll_ms=call_ms)
        else:
            name: Any = kind
            api = await stack.enter_async_context(ScriptedVideos(name, film, script))
            key, model = fake_openai.KEY, fake_openai.MODEL
            provider = OpenAIVideos(
                api.url,
                key,
                guard,
                inputs_guard=guard,
                dialect=name,
                submit_ms=call_ms,
                poll_ms=call_ms,
            )
        stack.push_async_callback(provider.close)
        other = FakeProvider(film=film)
        ups = [upstream("first", provider, model)]
        if spare:
            ups.append(upstream("spare", other, "m", priority=1))
        database = open_database(url)
        stack.push_async_callback(database.close)
        gate = await stack.enter_async_context(running(database, folder / "media", ups, **policy))
        yield Line(gate, script, api, provider, other, folder)


def upstream(name: str, provider: Provider, model: str, priority: int = 0) -> Upstream:
    return Upstream(
        name=name,
        provider=provider,
        models={"grok-imagine": model},
        priority=priority,
        bucket=TokenBucket(10_000.0),
        breaker=Tireless(),
    )


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried soon; a download that stops is given up soon."""
    patient = Limits(stall_ms=1_000)
    monkeypatch.setattr("reelgate.flows.drive._BACKOFF_MS", 60)
    monkeypatch.setattr("reelgate.providers.http.results.Limits", lambda: patient)
    monkeypatch.setattr("tests.support.running.LIMITS", patient)


# ---- the submit ---------------------------------------------------------------------------

ELSEWHERE, STRANDED, REFUSED = "elsewhere", "stranded", "refused"
COMPLAINT = {"error": {"code": "some_code", "message": "Some message."}}
PAGE = b"<!doctype html><title>Gateway</title>"
STATUSES: Mapping[str, tuple[int, ...]] = {
    ELSEWHERE: (300, 301, 307, 308, 401, 402, 403, 404, 405, 421, 425, 429),
    STRANDED: (200, 201, 202, 302, 303, 408, 409, 500, 501, 502, 503, 504, 520),
    REFUSED: (400, 413, 415, 418, 422, 451),
}


def submit_rows() -> Iterator[tuple[str, Reply | Fault, str]]:
    for end, statuses in STATUSES.items():
        for status in statuses:
            yield f"{status} json", Reply(status, COMPLAINT), end
            yield f"{status} wait", Reply(status, COMPLAINT, {"Retry-After": "7"}), end
            page = ELSEWHERE if status in {400, 418, 451} else end
            yield f"{status} page", Reply(status, PAGE), page
            yield f"{status} empty", Reply(status, b""), page
    for name, body in {
        "a list": b"[]",
        "no JSON": b'{"id": "vid',
        "a deep one": b"[" * 50_000,
        "another type": b'{"id": 7, "request_id": {}}',
        "a ref that is none": b'{"id": "../x y", "request_id": ".."}',
        "a word unknown": b'{"status": "thinking"}',
    }.items():
        yield f"200 {name}", Reply(200, body), STRANDED
    for name, fault in {
        "no answer, closed": Fault(send=0),
        "no answer, reset": Fault(send=0, end="reset"),
        "half a head": Fault(send=20),
        "half a body": Fault(send=-5, end="reset"),
        "not HTTP": Fault(instead=b"SSH-2.0-OpenSSH_9.2\r\n"),
        "100 MB": Fault(
            instead=b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n" + b"x" * 2**20,
            repeat=100,
        ),
    }.items():
        yield name, fault, STRANDED


async def test_every_end_of_a_submit(
    kind: str, sqlite_url: str, tmp_path: Path, film: bytes
) -> None:
    rows = {name: (told, end) for name, told, end in submit_rows()}
    async with line(kind, sqlite_url, tmp_path, film) as up:
        up.script.submits |= {name: deque([told]) for name, (told, _) in rows.items()}
        tasks = await up.run(list(rows), State.STRANDED, *ENDS)
        repeats = up.provider.repeat_safe
        wrong = []
        for name, (_, end) in rows.items():
            task, at = tasks[name], tasks[name].upstream
            code = task.failure.code if task.failure else None
            posts = 2 if repeats and end == STRANDED else 1
            right = {
                ELSEWHERE: (task.state, at) == (State.COMPLETED, "spare"),
                STRANDED: (task.state, at) == ending_of_doubt(repeats=repeats),
                REFUSED: (task.state, code) == (State.FAILED, TaskError.INVALID_INPUT),
            }[end]
            if not right or up.script.posts[name] != posts:
                wrong.append((name, end, task.state, at, code, up.script.posts[name]))
        assert not wrong
        assert max(up.jobs().values()) == 1
        elsewhere = {name for name, (_, end) in rows.items() if end == ELSEWHERE}
        assert {job.prompt for job in up.spare.jobs} == elsewhere


ENDS = (State.COMPLETED, State.FAILED, State.CANCELLED, State.EXPIRED)


def ending_of_doubt(*, repeats: bool) -> tuple[State, str]:
    return (State.COMPLETED if repeats else State.STRANDED), "first"


SILENT: Mapping[str, Fault] = {
    "before the request was read": Fault(read=30, end="hang"),
    "after it was read": Fault(send=0, end="hang"),
    "within the head": Fault(send=60, end="hang"),
    "within the body": Fault(send=-5, end="hang"),
}


@pytest.mark.parametrize("kind", ["xai", "reelgate"])
async def test_silence_is_waited_for_so_long_and_no_longer(
    kind: str, sqlite_url: str, tmp_path: Path, film: bytes
) -> None:
    async with line(kind, sqlite_url, tmp_path, film, call_ms=SHORT_CALL_MS) as up:
        up.api.faults.append(SILENT["before the request was read"])
        (first,) = (await up.run(["before the request was read"], State.STRANDED, *ENDS)).values()
        rows = [name for name, fault in SILENT.items() if fault.read is None]
        up.script.submits |= {name: deque([SILENT[name]]) for name in rows}
        tasks = [first, *(await up.run(rows, State.STRANDED, *ENDS)).values()]
        doubt = ending_of_doubt(repeats=up.provider.repeat_safe)
        assert {(task.state, task.upstream) for task in tasks} == {doubt}
        polled = {f"polled {name}": SILENT[name] for name in rows}
        for name, fault in polled.items():
            up.script.lives[name] = _then_done(_then(Reply(200, b"x" * 99, fault=fault)))
        ended = await up.run(list(polled))
        assert {(task.state, task.upstream) for task in ended.values()} == {
            (State.COMPLETED, "first")
        }
        assert set(up.jobs().values()) == {1}
        assert up.spare.jobs == []


async def test_a_request_that_is_cut_while_it_is_sent(
    kind: str, sqlite_url: str, tmp_path: Path, film: bytes
) -> None:
    """Before all of it was read, too: nobody knows what a proxy in between has passed on."""
    async with line(kind, sqlite_url, tmp_path, film) as up:
        ends: tuple[End, ...] = ("close", "reset")
        up.api.faults.extend(Fault(read=n, end=end) for n in (1, 30, 200) for end in ends)
        tasks = await up.run([f"cut {n}" for n in range(6)], State.STRANDED, *ENDS)
        doubt = ending_of_doubt(repeats=up.provider.repeat_safe)
        assert {(task.state, task.upstream) for task in tasks.values()} == {doubt}
        assert not up.api.faults
        assert up.spare.jobs == []
        assert set(up.jobs().values()) <= {1}


@pytest.mark.parametrize("kind", ["xai", "openai"])
async def test_nobody_there_is_certainly_not_taken(
    kind: str, database_url: str, tmp_path: Path, film: bytes
) -> None:
    async with line(kind, database_url, tmp_path, film) as up:
        await up.api.__aexit__(None, None, None)
        (task,) = (await up.run(["nobody there"])).values()
        assert (task.state, task.upstream) == (State.COMPLETED, "spare")
        path = await up.gate.path(task)
    assert path[:5] == [State.QUEUED, State.SENDING, State.QUEUED, State.SENDING, State.RUNNING]


@pytest.mark.parametrize("kind", ["xai", "openai"])
async def test_a_busy_upstream_without_a_spare_is_asked_again(
    kind: str, sqlite_url: str, tmp_path: Path, film: bytes
) -> None:
    async with line(kind, sqlite_url, tmp_path, film, spare=False) as up:
        up.script.submits["busy"] = deque([Reply(429, COMPLAINT)])
        (task,) = (await up.run(["busy"])).values()
        assert (task.state, task.attempts) == (State.COMPLETED, 1)
        assert (up.script.posts["busy"], up.jobs()["busy"]) == (2, 1)


async def test_a_stranded_task_costs_the_operator_and_not_its_owner(
    sqlite_url: str, tmp_path: Path, film: bytes
) -> None:
    policy: dict[str, Any] = {"task_deadline_ms": 600}
    async with line("xai", sqlite_url, tmp_path, film, **policy) as up:
        up.script.submits["lost"] = deque([Fault(send=0, end="reset")])
        (task,) = (await up.run(["lost"])).values()
        assert task.failure is not None and task.failure.code is TaskError.OUTCOME_UNKNOWN
        assert await up.gate.path(task) == [
            State.QUEUED, State.SENDING, State.STRANDED, State.FAILED,
        ]  # fmt: skip
        assert (up.script.posts["lost"], up.jobs()["lost"]) == (1, 1)


# ---- polls --------------------------------------------------------------------------------

SOON = {"retry-after-ms": "20"}


def poll_rows() -> Iterator[tuple[str, Life]]:
    """Whatever comes between, the film is done in the end."""
    for status in (300, 302, 401, 402, 403, 404, 405, 408, 409, 410, 418, 425, 429, 500, 503, 520):
        for name, body in {"json": COMPLAINT, "page": PAGE, "empty": b""}.items():
            reply = Reply(status, body, SOON if name == "json" else {})
            yield f"{status} {name}", _then(reply)
    for name, reply in {
        "nothing": Reply(200, b""),
        "a list": Reply(200, b"[]"),
        "cut JSON": Reply(200, b'{"status": "do'),
        "a deep one": Reply(200, b"[" * 50_000),
        "a cut": Reply(200, b"x" * 200, fault=Fault(send=100)),
        "a reset": Reply(200, b"x" * 200, fault=Fault(send=100, end="reset")),
        "compressed": Reply(200, b"{}", {"Content-Encoding": "br"}),
        "100 MB": Reply(
            fault=Fault(
                instead=b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n" + b"x" * 2**20,
                repeat=100,
            )
        ),
    }.items():
        yield name, _then(reply)
    for word in ("thinking", "", 7, None, ["done"], {"done": True}):
        yield f"the word {word!r}", _worded(word)
    odd: tuple[Any, ...] = (-1, 101, 10**30, 1.5, "60%", None, [], True)
    for progress in odd:
        yield f"{progress!r} percent", _progress(progress)
    yield "falling progress", _progress(60, 20, 90, 5)


def _then(reply: Reply) -> Life:
    return lambda api, job: [api.pending(job), reply]


def _worded(word: object) -> Life:
    return lambda api, job: [api.worded(job, word)]


def _progress(*progress: object) -> Life:
    return lambda api, job: [api.pending(job, percent) for percent in progress]


def _then_done(life: Life) -> Life:
    return lambda api, job: [*life(api, job), api.done(job)]


@pytest.mark.parametrize("kind", ["xai", "openai", "vllm-omni"])
async def test_every_trouble_with_a_poll_passes(
    kind: str, sqlite_url: str, tmp_path: Path, film: bytes
) -> None:
    rows = dict(poll_rows())
    async with line(kind, sqlite_url, tmp_path, film) as up:
        up.script.lives |= {name: _then_done(life) for name, life in rows.items()}
        tasks = await up.run(list(rows))
        wrong = {name: task for name, task in tasks.items() if task.state is not State.COMPLETED}
        assert not wrong
        assert {task.upstream for task in tasks.values()} == {"first"}
        assert up.jobs() == up.script.posts == Counter(list(rows))


async def test_every_verdict_ends_a_task(
    kind: str, sqlite_url: str, tmp_path: Path, film: bytes
) -> None:
    """What is said of the failure reaches the owner, as far as it is safe to show."""
    rows: dict[str, tuple[Life, TaskError]] = {
        "broken": (lambda api, job: [api.broken(job, "The GPU fell.")], TaskError.TASK_FAILED),
        "expired": (lambda api, job: [api.worded(job, "expired")], TaskError.EXPIRED),
        "moderated": (
            lambda api, job: [api.broken(job, "Blocked by content moderation.")],
            TaskError.CONTENT_POLICY_VIOLATION,
        ),
        "unreachable": (
            lambda api, job: [api.broken(job, "Could not fetch the image URL.")],
            TaskError.INPUT_UNREACHABLE,
        ),
    }
    if kind == "xai":
        rows["blocked at poll"] = (
            lambda api, job: [Reply(202), fake_xai.MODERATED],
            TaskError.CONTENT_POLICY_VIOLATION,
        )
        rows["done without a film"] = (
            lambda api, job: [fake_xai.done(None)],
            TaskError.TASK_FAILED,
        )
        rows["done and blocked"] = (
            lambda api, job: [fake_xai.done("", respect_moderation=False)],
            TaskError.CONTENT_POLICY_VIOLATION,
        )
    async with line(kind, sqlite_url, tmp_path, film) as up:
        up.script.lives |= {name: life for name, (life, _) in rows.items()}
        tasks = await up.run(list(rows))
        ends = {name: task.failure.code for name, task in tasks.items() if task.failure}
        assert ends == {name: code for name, (_, code) in rows.items()}
        assert tasks["broken"].failure is not None
        assert "The GPU fell." in tasks["broken"].failure.message
        assert up.spare.jobs == []


@pytest.mark.parametrize("kind", ["xai", "reelgate"])
async def test_at_the_deadline_there_is_a_last_poll(
    kind: str, sqlite_url: str, tmp_path: Path, film: bytes
) -> None:
    policy: dict[str, Any] = {"task_deadline_ms": 800, "poll_ms_min": 9_000, "poll_ms_max": 9_000}
    async with line(kind, sqlite_url, tmp_path, film, **policy) as up:
        up.script.lives["never"] = lambda api, job: [api.pending(job)]
        up.script.lives["at last"] = lambda api, job: [api.pending(job), api.done(job)]
        tasks = await up.run(["never", "at last"])
        assert tasks["never"].failure is not None
        assert tasks["never"].failure.code is TaskError.EXPIRED
        assert tasks["at last"].state is State.COMPLETED
        if isinstance(up.api, ScriptedVideos) and up.provider.can_cancel:
            assert up.api.cancelled == {tasks["never"].upstream_ref}


# ---- downloads ----------------------------------------------------------------------------


def fetch_rows(
    film: bytes, other: bytes, complaints: list[str]
) -> Iterator[tuple[str, list[Mishap], bytes]]:
    """What happens to one download after the other; which film is there in the end.

    `complaints` are what the server has to say of what it is asked.
    """
    for share in (0, 1, 50, 99):
        cut = len(film) * share // 100
        yield f"closed at {share}%", [_faulty(Fault(send=300 + cut))], film
        yield f"reset at {share}%", [_faulty(Fault(send=300 + cut, end="reset"))], film
    yield "three cuts", [_faulty(Fault(send=9_000))] * 2 + [_faulty(Fault(send=400))], film
    yield "a stop", [_faulty(Fault(send=20_000, end="hang"))], film
    yield "silence", [_faulty(Fault(send=0, end="hang"))], film
    for status in (404, 403, 410, 429, 500, 502, 503, 504):
        yield f"{status} first", [_instead(Reply(status, COMPLAINT, SOON))], film
    yield "a page", [_instead(Reply(200, PAGE, {"Content-Type": "text/html"}))], film
    yield "a page that says it is a film", [_instead(Reply(200, PAGE, MP4))], film
    yield "nothing", [_instead(Reply(200, b"", MP4))], film
    yield "204", [_instead(Reply(204))], film
    yield "more declared than sent", [_longer], film
    yield "less than there is", [_instead(Reply(200, film[:-9_000], MP4))], film
    yield "no length, cut", [_unending(film[:-9_000])], film
    yield "no validator, cut", [_bare(complaints), _bare(complaints)], film
    once_more = _complain(complaints, "asked for a third time")
    yield "ranges ignored", [_faulty(Fault(send=9_000)), _all(film), once_more], film
    yield "compressed", [_instead(Reply(200, film, {**MP4, "Content-Encoding": "gzip"}))], film
    yield "another range", [_faulty(Fault(send=9_000)), _instead(WRONG_RANGE)], film
    yield "a range beyond", [_faulty(Fault(send=9_000)), _instead(Reply(416, b""))], film
    changed = [_faulty(Fault(send=20_000)), *[_version(other, '"v2"')] * 3]
    yield "changed meanwhile", changed, other


MP4 = {"Content-Type": "video/mp4"}
WRONG_RANGE = Reply(206, b"x" * 50, {**MP4, "Content-Range": "bytes 3-52/100"})


def _faulty(fault: Fault) -> Mishap:
    return lambda _request, good: replace(good, fault=fault)


def _instead(reply: Reply) -> Mishap:
    return lambda _request, _good: reply


def _longer(_request: Request, good: Reply) -> Reply:
    length = str(len(good.body) + 5_000)
    return Reply(good.status, good.body, {**good.headers, "Content-Length": length}, Fault())


def _unending(data: bytes) -> Mishap:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n"
    return lambda _request, _good: Reply(fault=Fault(instead=head + data))


def _bare(complaints: list[str]) -> Mishap:
    def served(request: Request, good: Reply) -> Reply:
        if "range" in request.headers:
            complaints.append("asked to go on, though nothing says that it is the same film")
        return replace(good, headers=MP4, fault=Fault(send=30_000))

    return served


def _all(film: bytes) -> Mishap:
    """Whatever range was asked for."""

    def served(_request: Request, good: Reply) -> Reply:
        kept = {name: value for name, value in good.headers.items() if name != "Content-Range"}
        return Reply(200, film, kept)

    return served


def _complain(complaints: list[str], text: str) -> Mishap:
    def served(_request: Request, good: Reply) -> Reply:
        complaints.append(text)
        return good

    return served


def _version(data: bytes, etag: str) -> Mishap:
    """Another film by now; what is asked of the one before is answered with all of this one."""
    return lambda _request, _good: Reply(200, data, {**MP4, "ETag": etag})


@pytest.mark.parametrize("kind", ["xai", "openai"])
async def test_every_download_that_goes_wrong_is_made_good(
    kind: str, database_url: str, tmp_path: Path, film: bytes
) -> None:
    if kind != "xai" and database_url.startswith("postgres"):
        pytest.skip("one kind is enough to see that the database makes no difference")
    other = (await asyncio.to_thread(make_clip, tmp_path / "other.mp4", frames=30)).read_bytes()
    complaints: list[str] = []
    rows = {name: (mishaps, end) for name, mishaps, end in fetch_rows(film, other, complaints)}
    async with line(kind, database_url, tmp_path, film) as up:
        up.script.mishaps |= {name: mishaps for name, (mishaps, _) in rows.items()}
        tasks = await up.run(list(rows))
        wrong = [
            (name, task.state, task.failure)
            for name, task in tasks.items()
            if task.result is None or task.result.sha256 != sha256(rows[name][1])
        ]
        assert (wrong, complaints) == ([], [])
        assert up.jobs() == up.script.posts == Counter(list(rows))
        left = await up.gate.gateway.media.keys("tmp")
        assert [key for key, _ in left if key.endswith(".mp4")] == []


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def test_a_link_that_has_died_is_replaced_by_asking_again(
    sqlite_url: str, tmp_path: Path, film: bytes
) -> None:
    async with line("xai", sqlite_url, tmp_path, film) as up:

        def life(api: ScriptedXai, job: XaiJob) -> list[Reply]:
            dead = fake_xai.done(f"{api.bucket.url}/xai-vidgen-bucket/dead.mp4")
            return [dead, Reply(202), api.done(job)]

        up.script.lives["expired link"] = life
        (task,) = (await up.run(["expired link"])).values()
        assert task.state is State.COMPLETED
        assert up.jobs() == up.script.posts == Counter(["expired link"])


@pytest.mark.parametrize("kind", ["xai", "openai"])
async def test_a_film_that_can_never_be_fetched_fails_and_is_never_made_again(
    kind: str, sqlite_url: str, tmp_path: Path, film: bytes
) -> None:
    policy: dict[str, Any] = {"task_deadline_ms": 900, "collect_ms_min": 900}
    never: dict[str, Mishap] = {
        "gone": _instead(Reply(404, COMPLAINT)),
        "down": _instead(Reply(503)),
        "no film": _instead(Reply(200, PAGE, MP4)),
    }
    async with line(kind, sqlite_url, tmp_path, film, **policy) as up:
        up.script.mishaps |= {name: [mishap] * 50 for name, mishap in never.items()}
        tasks = await up.run(list(never))
        codes = {name: task.failure and task.failure.code for name, task in tasks.items()}
        assert codes == dict.fromkeys(never, TaskError.UPSTREAM_UNAVAILABLE)
        assert up.jobs() == up.script.posts == Counter(list(never))
