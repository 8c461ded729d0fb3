"""xAI's video API as its documentation and its users describe it, on a loopback socket.

Strict where xAI is: JSON only, the key checked, no field that it does not know. What it answers
to a submit or a poll can be scripted; by default a job is pending twice and then done.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.wire import Bucket, Reply, Request, Wire

KEY = "xai-test-key-0123456789"
MODEL = "grok-imagine-video"
RATIOS = {"1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3"}
FILM = bytes(range(256)) * 512

# What each route takes; the value says what it must be.
Check = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_source(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"url"}
        and value["url"].startswith(("https://", "http://", "data:"))
    )


def _whole(low: int, high: int) -> Check:
    return lambda value: type(value) is int and low <= value <= high


_COMMON: Mapping[str, Check] = {"model": _is_text, "prompt": _is_text}
ROUTES: Mapping[str, tuple[Mapping[str, Check], frozenset[str]]] = {
    "/v1/videos/generations": (
        {
            **_COMMON,
            "duration": _whole(1, 15),
            "resolution": lambda value: value in {"480p", "720p"},
            "aspect_ratio": lambda value: value in RATIOS,
            "image": _is_source,
            "reference_images": lambda v: (
                isinstance(v, list) and 0 < len(v) <= 7 and all(map(_is_source, v))
            ),
            "user": _is_text,
        },
        frozenset({"model", "prompt"}),
    ),
    "/v1/videos/edits": (
        {**_COMMON, "video": _is_source, "user": _is_text},
        frozenset({"model", "prompt", "video"}),
    ),
    "/v1/videos/extensions": (
        {**_COMMON, "video": _is_source, "duration": _whole(2, 10)},
        frozenset({"model", "prompt", "video"}),
    ),
}


def complaint(status: int, code: str, text: str, **more: Any) -> Reply:
    """An error as xAI words it: flat, with the text under `error`."""
    return Reply(status, {"code": code, "error": text, **more})


MODERATED = complaint(
    400,
    "imagine:content-moderated",
    "Generated video rejected by content moderation.",
    usage={"cost_in_usd_ticks": 2_500_000_000},
)
BAD_KEY = complaint(
    400,
    "Client specified an invalid argument",
    "Incorrect API key provided: xa***ys. You can obtain an API key from https://console.x.ai.",
)
UNKNOWN_JOB = complaint(404, "not-found", "The requested job was not found.")


@dataclass
class XaiJob:
    """One accepted submit. `life` are the answers to its polls; the last one stays."""

    id: str
    route: str
    fields: dict[str, Any]
    life: deque[Reply] = field(default_factory=deque)
    polls: int = 0


class FakeXai(Wire):
    """The API; its `bucket` is the other host, where results lie."""

    def __init__(self, bucket: Bucket, film: bytes = FILM) -> None:
        super().__init__()
        self.bucket = bucket
        self.film = film
        self.models = [MODEL]
        self.jobs: dict[str, XaiJob] = {}
        self.next_submits: deque[Reply] = deque()
        self.next_life: Callable[[XaiJob], list[Reply]] | None = None

    def answer(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return BAD_KEY
        if request.method == "POST":
            return self._submit(request)
        if request.path == "/v1/video-generation-models":
            return Reply(200, {"models": [{"id": name, "aliases": []} for name in self.models]})
        job = self.jobs.get(request.path.removeprefix("/v1/videos/"))
        if request.method != "GET" or job is None:
            return UNKNOWN_JOB
        job.polls += 1
        return job.life[0] if len(job.life) == 1 else job.life.popleft()

    def _submit(self, request: Request) -> Reply:
        if request.path not in ROUTES:
            return complaint(
                404, "Some requested entity was not found", "No handler found on route."
            )
        if self.next_submits:
            return self.next_submits.popleft()
        if request.content_type != "application/json":
            return Reply(415, b"Expected request with `Content-Type: application/json`")
        fields = request.json()
        if problem := _problem(request.path, fields):
            return complaint(400, "invalid-argument", problem)
        if fields["model"] not in self.models:
            return complaint(
                404,
                "Some requested entity was not found",
                f"The model {fields['model']} does not exist or your team "
                "16f2151a-40f4-4a80-8ad0-cae00c27e8dd does not have access to it. Please ensure "
                "you're using the correct API key.",
            )
        job = XaiJob(str(uuid.uuid4()), request.path, fields)
        job.life.extend((self.next_life or self.usual_life)(job))
        self.next_life = None
        self.jobs[job.id] = job
        return Reply(200, {"request_id": job.id})

    def usual_life(self, job: XaiJob) -> list[Reply]:
        """Pending without a body, pending with one, done."""
        url = self.bucket.put(f"xai-video-{job.id}.mp4", self.film)
        return [Reply(202), Reply(202, {"status": "pending", "progress": 40}), done(url)]


def done(url: str | None, ticks: int = 2_500_000_000, **video: Any) -> Reply:
    """A finished job's poll."""
    shown = {"url": url, "duration": 5, "respect_moderation": True, **video}
    body = {"status": "done", "progress": 100, "model": MODEL, "video": shown}
    return Reply(200, {**body, "usage": {"cost_in_usd_ticks": ticks}})


def failed(code: str, message: str, **more: Any) -> Reply:
    """A failed job's poll."""
    return Reply(200, {"status": "failed", "error": {"code": code, "message": message}, **more})


def _problem(route: str, fields: Any) -> str | None:
    """Why xAI would refuse these fields."""
    known, required = ROUTES[route]
    if not isinstance(fields, dict):
        return "the body is not an object"
    for name, value in fields.items():
        if name not in known:
            return f"unknown field {name}"
        if not known[name](value):
            return f"bad value for {name}"
    if missing := required - set(fields):
        return f"missing {sorted(missing)}"
    if "image" in fields and "reference_images" in fields:
        return "image and reference_images can't be combined"
    if "reference_images" in fields and fields.get("duration", 8) > 10:
        return f"Duration {fields['duration']}s exceeds the maximum allowed"
    return None
