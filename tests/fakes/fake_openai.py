"""Servers that speak OpenAI's Videos API, one class, a row of data for each.

What each takes, answers and gets wrong follows what was seen of it; by default a job is queued,
in progress, and then done. Fields that a server does not know are refused here even where the
real one ignores them, so that nothing is sent in vain.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.fakes.wire import Mishap, Part, Reply, Request, Wire, ranged

KEY = "sk-test-0123456789abcdef"
MODEL = "the-model"
FILM = bytes(range(256)) * 512

Name = Literal["openai", "sglang", "vllm-omni", "new-api", "litellm", "reelgate"]


@dataclass(frozen=True)
class Traits:
    """What sets a server apart. `text` are fields of a form, `files` its file parts."""

    id_form: str
    text: frozenset[str]
    files: frozenset[str] = frozenset({"input_reference"})
    routes: frozenset[str] = frozenset({"/v1/videos"})
    json_fields: frozenset[str] = frozenset()
    first_status: str = "queued"
    needs_key: bool = True
    lists_models: bool = True


_PLAIN = frozenset({"model", "prompt", "seconds", "size"})
TRAITS: Mapping[Name, Traits] = {
    "openai": Traits(
        "video_{:032x}",
        _PLAIN | {"input_reference[image_url]"},
        frozenset({"input_reference", "video"}),
        frozenset({"/v1/videos", "/v1/videos/edits", "/v1/videos/extensions"}),
    ),
    "sglang": Traits(
        "00000000-0000-4000-8000-{:012x}",
        _PLAIN | {"reference_url"},
        needs_key=False,
        lists_models=False,
    ),
    "vllm-omni": Traits("video_gen_{:032x}", _PLAIN | {"image_reference"}),
    "new-api": Traits("task_{:032x}", _PLAIN | {"input_reference"}, first_status="unknown"),
    "litellm": Traits("video_bGl0ZWxsbTo{:x}", _PLAIN),
    "reelgate": Traits(
        "task_{:032d}",
        frozenset(),
        frozenset(),
        json_fields=_PLAIN | {"aspect_ratio", "operation", "user", "image", "images", "video"},
    ),
}


@dataclass
class VideoJob:
    """One accepted create. `life` are the answers to its polls; the last one stays. `mishaps`
    befall its downloads, in order.
    """

    id: str
    route: str
    fields: dict[str, Any]
    files: list[Part]
    key: str | None
    life: deque[Reply] = field(default_factory=deque)
    content: Reply | None = None
    mishaps: deque[Mishap] = field(default_factory=deque)


class FakeVideos(Wire):
    """One server of a row of TRAITS."""

    def __init__(self, name: Name = "openai", film: bytes = FILM) -> None:
        super().__init__()
        self.film = film
        self.name: Name = name
        self.traits = TRAITS[name]
        self.models = [MODEL]
        self.jobs: dict[str, VideoJob] = {}
        self.cancelled: set[str] = set()
        self.next_submits: deque[Reply] = deque()
        self.next_life: Callable[[VideoJob], list[Reply]] | None = None
        self.etag = '"film"'

    # ---- what it answers

    def answer(self, request: Request) -> Reply:
        if self.traits.needs_key and request.headers.get("authorization") != f"Bearer {KEY}":
            return self.error(401, "invalid_api_key", "Unauthorized")
        if request.method == "GET" and request.path == "/v1/models":
            if not self.traits.lists_models:
                return self.error(404, "not_found", "Not Found")
            return Reply(200, {"object": "list", "data": [{"id": name} for name in self.models]})
        if request.method == "POST" and request.path in self.traits.routes:
            return self._create(request)
        ref, _, action = request.path.removeprefix("/v1/videos/").partition("/")
        job = self.jobs.get(ref)
        if job is None:
            return self.error(404, "task_not_found", "Video not found")
        match request.method, action:
            case "GET", "":
                return job.life[0] if len(job.life) == 1 else job.life.popleft()
            case "GET", "content":
                return self._content(request, job)
            case "POST", "cancel" if self.name == "reelgate":
                self.cancelled.add(ref)
                error = {"code": "cancelled", "message": "The task was cancelled."}
                job.life = deque([self.state(job, "failed", error=error)])
                return job.life[0]
            case _:
                return self.error(405, "method_not_allowed", "Method Not Allowed")

    def error(self, status: int, code: str, text: str) -> Reply:
        """An error as this server words it."""
        match self.name:
            case "sglang":
                return Reply(status, {"detail": text})
            case "vllm-omni" if status == 401:
                return Reply(status, {"error": "Unauthorized"})
            case "vllm-omni":
                row = {"message": text, "type": "Bad Request", "param": None, "code": status}
                return Reply(status, {"error": row})
            case "new-api":
                return Reply(status, {"code": code, "message": text, "data": None})
            case _:
                row = {"message": text, "type": "invalid_request_error", "code": code}
                return Reply(status, {"error": {**row, "param": None}})

    def state(self, job: VideoJob, status: str, **more: Any) -> Reply:
        """A job as this server shows it."""
        body: dict[str, Any] = {
            "id": job.id,
            "object": "video",
            "model": MODEL,
            "status": status,
            "progress": 100 if status == "completed" else 40,
            "created_at": 1_790_000_000,
            "seconds": "4",
            "size": "1280x720",
        }
        cost = "0.25" if status == "completed" else None
        extra: Mapping[str, Mapping[str, Any]] = {
            # `seconds` recomputed from frames, and a path of its own disk
            "sglang": {"seconds": "1", "file_path": f"/srv/outputs/{job.id}.mp4", "url": None},
            "vllm-omni": {"file_name": f"{job.id}.mp4", "media_type": "video/mp4"},
            "reelgate": {"billing": {"currency": "USD", "max_cost": "0.28", "cost": cost}},
        }
        body |= extra.get(self.name, {})
        headers = {"openai-poll-after-ms": "2000"} if self.name == "reelgate" else {}
        return Reply(200, {**body, **more}, headers)

    def broken(self, job: VideoJob, message: str, code: str = "task_failed") -> Reply:
        """A failed job's poll: vLLM-Omni answers with an error status and an integer code."""
        match self.name:
            case "vllm-omni":
                return Reply(
                    500, self.state(job, "failed", error={"code": 500, "message": message}).body
                )
            case "sglang":
                return self.state(job, "failed", error={"message": message})
            case _:
                return self.state(job, "failed", error={"code": code, "message": message})

    # ---- what it does

    def _create(self, request: Request) -> Reply:
        if self.next_submits:
            return self.next_submits.popleft()
        key = request.headers.get("idempotency-key")
        if self.name == "reelgate":
            for job in self.jobs.values():
                if job.key == key:
                    return self.state(job, "queued")
        read = self._read(request)
        if isinstance(read, str):
            return self.error(400, "invalid_value", read)
        fields, files = read
        if self.name != "sglang" and fields.get("model") not in self.models:
            return self.error(404, "model_not_found", "The model does not exist")
        job = VideoJob(
            self.traits.id_form.format(len(self.jobs) + 1), request.path, fields, files, key
        )
        self.jobs[job.id] = job
        job.life.extend((self.next_life or self.usual_life)(job))
        self.next_life = None
        return self.state(job, "queued")

    def usual_life(self, job: VideoJob) -> list[Reply]:
        """Queued, in progress, completed."""
        words = (self.traits.first_status, "in_progress", "completed")
        return [self.state(job, status) for status in words]

    def _read(self, request: Request) -> tuple[dict[str, Any], list[Part]] | str:
        """The fields and files of a create, or what is wrong with it."""
        if self.traits.json_fields:
            if request.content_type != "application/json":
                return "this fake wants JSON"
            fields = json.loads(request.body)
            unknown = set(fields) - self.traits.json_fields
            return f"unknown {sorted(unknown)}" if unknown else (fields, [])
        if request.content_type != "multipart/form-data":
            return "this fake wants a form"
        parts = request.parts()
        texts = {part.name: part.text for part in parts if part.filename is None}
        files = [part for part in parts if part.filename is not None]
        if len(texts) + len(files) != len(parts):
            return "a field twice"
        unknown = set(texts) - self.traits.text | {f.name for f in files} - self.traits.files
        if unknown:
            return f"unknown {sorted(unknown)}"
        if not texts.get("prompt") or not texts.get("seconds", "4").isdigit():
            return "prompt or seconds"
        if len(files) + len(set(texts) - _PLAIN) > 1:
            return "more than one input"
        return texts, files

    def _content(self, request: Request, job: VideoJob) -> Reply:
        if job.content is not None:
            return job.content
        if request.query:
            return self.error(404, "not_found", "Not Found")  # SGLang's answer to variant=video
        good = ranged(request, self.film, self.etag)
        return job.mishaps.popleft()(request, good) if job.mishaps else good
