"""Answers that were seen, or that a server's own source gives, and what each must be read as.

Sources are public: issue threads as `repository#number`, documentation pages, packages as
published. Ids and keys in the bodies are made up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reelgate.providers.base import (
    Accepted,
    Cause,
    Done,
    Failed,
    NotTaken,
    Pending,
    PollAnswer,
    Refused,
    SubmitAnswer,
    Trouble,
    Uncertain,
    Verdict,
)
from reelgate.providers.dialects import DialectName
from reelgate.providers.http.idiom import MESSAGES

TEAM = "16f2151a-40f4-4a80-8ad0-cae00c27e8dd"
BLOCKED = "Generated video rejected by content moderation."
URL = "https://vidgen.x.ai/xai-vidgen-bucket/xai-video-a9395fb9.mp4"
LOST = "The upstream no longer knows this job."


@dataclass(frozen=True)
class Recording:
    """`expected` is an answer whose `detail`, if it has one, is not compared."""

    name: str
    source: str
    status: int
    body: Any
    expected: SubmitAnswer | PollAnswer
    headers: Mapping[str, str] = field(default_factory=dict)
    dialect: DialectName = "openai"


def _moderated(ticks: int | None = None) -> Failed:
    return Failed(Verdict.MODERATED, BLOCKED, ticks)


XAI_POLLS = (
    Recording("202 without a body", "vercel/ai#17308", 202, b"", Pending()),
    Recording(
        "pending", "docs.x.ai", 202, {"status": "pending", "progress": 12}, Pending(progress=12)
    ),
    Recording(
        "pending, 200, with a wish",
        "docs.x.ai",
        200,
        {"status": "pending"},
        Pending(retry_after_ms=5_000),
        headers={"retry-after": "5"},
    ),
    Recording(
        "just accepted, no status",
        "QuantumNous/new-api#5927",
        200,
        {"request_id": "b53c8bb4", "id": "task_x"},
        Pending(),
    ),
    Recording(
        "done",
        "vercel/ai#13390",
        200,
        {
            "status": "done",
            "video": {"url": URL, "duration": 5, "respect_moderation": True},
            "model": "grok-imagine-video",
            "usage": {"cost_in_usd_ticks": 2_500_000_000},
        },
        Done(URL, 2_500_000_000),
    ),
    Recording(
        "done, early 2026: no status",
        "vercel/ai packages/xai",
        200,
        {"video": {"url": URL, "duration": 5}, "model": "grok-imagine-video"},
        Done(URL),
    ),
    Recording(
        "moderated: 400 on the poll, Aug 2026",
        "theopenco/llmgateway#3704",
        400,
        {"code": "imagine:content-moderated", "error": BLOCKED},
        _moderated(),
    ),
    Recording(
        "moderated: 400 on the poll, early 2026, charged",
        "vercel/ai#13390",
        400,
        {
            "code": "Client specified an invalid argument",
            "error": BLOCKED,
            "usage": {"cost_in_usd_ticks": 2_500_000_000},
        },
        _moderated(2_500_000_000),
    ),
    Recording(
        "moderated: as text",
        "a relay",
        400,
        BLOCKED.encode(),
        Failed(Verdict.MODERATED, MESSAGES[Verdict.MODERATED]),
    ),
    Recording(
        "moderated: failed",
        "docs.x.ai video/generation",
        200,
        {"status": "failed", "error": {"code": "invalid_argument", "message": BLOCKED}},
        _moderated(),
    ),
    Recording(
        "moderated: done without a URL",
        "xai-proto video.proto",
        200,
        {"status": "done", "video": {"url": "", "respect_moderation": False}},
        Failed(Verdict.MODERATED, MESSAGES[Verdict.MODERATED]),
    ),
    Recording(
        "done without a URL",
        "lidge-jun/opencodex#582",
        200,
        {"status": "done", "video": {"url": None}, "usage": {"cost_in_usd_ticks": 5}},
        Failed(Verdict.FAILED, "The upstream finished without a video.", 5),
    ),
    Recording(
        "done without a video",
        "lidge-jun/opencodex#582",
        200,
        {"status": "done"},
        Failed(Verdict.FAILED, "The upstream finished without a video."),
    ),
    Recording(
        "failed: overloaded mid-job, zero progress",
        "xai-proto deferred.proto",
        200,
        {
            "status": "failed",
            "progress": 0,
            "error": {"code": "service_unavailable", "message": "Overloaded."},
            "usage": {"cost_in_usd_ticks": 0},
        },
        Failed(Verdict.FAILED, "Overloaded.", 0),
    ),
    Recording(
        "failed: the error is a string",
        "tetsuo-ai/agenc-core#2349",
        200,
        {"status": "failed", "error": "Rendering broke."},
        Failed(Verdict.FAILED, "Rendering broke."),
    ),
    Recording(
        "failed: bad argument",
        "docs.x.ai",
        200,
        {"status": "failed", "error": {"code": "invalid_argument", "message": "Bad clip."}},
        Failed(Verdict.INVALID_INPUT, "Bad clip."),
    ),
    Recording(
        "failed: input not reached",
        "docs.x.ai",
        200,
        {
            "status": "failed",
            "error": {"code": "invalid_argument", "message": "Failed to fetch image."},
        },
        Failed(Verdict.INPUT_UNREACHABLE, "Failed to fetch image."),
    ),
    Recording(
        "expired",
        "xai-sdk-python 1.19.0",
        200,
        {"status": "expired"},
        Failed(Verdict.EXPIRED, MESSAGES[Verdict.EXPIRED]),
    ),
    Recording(
        "a word of tomorrow",
        "TanStack/ai",
        200,
        {"status": "upscaling", "progress": 70},
        Pending(progress=70),
    ),
    Recording(
        "unknown id",
        "TanStack/ai",
        404,
        {"code": "not-found", "error": "Request not found"},
        Trouble(Cause.JOB_UNKNOWN, "", if_repeated=Failed(Verdict.FAILED, LOST)),
    ),
    Recording(
        "short-lived 400 of an early poll",
        "a relay's notes",
        400,
        {"code": "Client specified an invalid argument", "error": "Not ready."},
        Trouble(Cause.JOB_UNKNOWN, "", if_repeated=Failed(Verdict.INVALID_INPUT, "Not ready.")),
    ),
    Recording(
        "the key was taken back",
        "continuedev/continue#10778",
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "Incorrect API key provided: na***ys. You can obtain an API key from "
            "https://console.x.ai.",
        },
        Trouble(Cause.BAD_CREDENTIALS, ""),
    ),
    Recording("Cloudflare", "vercel/ai", 502, b"error code: 502", Trouble(Cause.OVERLOADED, "")),
    Recording(
        "a proxy's page for 200",
        "a relay",
        200,
        b"<html><body>Please log in</body></html>",
        Trouble(Cause.UNREADABLE, ""),
    ),
    Recording(
        "rate limited",
        "a relay's log",
        429,
        {
            "code": "resource-exhausted",
            "error": f"Too many requests for team {TEAM} and model grok-imagine-video. "
            "Requests per Second (actual/limit): 2/2",
        },
        Trouble(Cause.RATE_LIMITED, "", 7_000),
        headers={"retry-after": "7"},
    ),
)

_NO_CREDITS = (
    f"Your team {TEAM} has either used all available credits or reached its monthly spending "
    "limit. To continue making API requests, please purchase more credits or raise your spending "
    "limit."
)

XAI_SUBMITS = (
    Recording("accepted", "docs.x.ai", 200, {"request_id": "a9395fb9"}, Accepted("a9395fb9")),
    Recording(
        "bad argument",
        "a relay's log",
        400,
        {"code": "invalid-argument", "error": "Duration 15s exceeds the maximum allowed of 10s."},
        Refused(Verdict.INVALID_INPUT, "Duration 15s exceeds the maximum allowed of 10s."),
    ),
    Recording(
        "moderated at submit, charged",
        "vercel/ai#13390",
        400,
        {
            "code": "imagine:content-moderated",
            "error": BLOCKED,
            "usage": {"cost_in_usd_ticks": 500_000_000},
        },
        Refused(Verdict.MODERATED, BLOCKED, 500_000_000),
    ),
    Recording(
        "moderated as forbidden",
        "xAI's text API",
        403,
        {"code": "permission-denied", "error": "Content violates usage guidelines."},
        Refused(Verdict.MODERATED, "Content violates usage guidelines."),
    ),
    Recording(
        "zero data retention",
        "phuryn/grok-build-vscode#100",
        400,
        {
            "code": "invalid-argument",
            "error": "Zero Data Retention teams must provide output.upload_url for video "
            "generation.",
        },
        NotTaken(Cause.ZERO_DATA_RETENTION, ""),
    ),
    Recording(
        "wrong key",
        "i-am-bee/beeai-framework#447",
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "Incorrect%20API%20key%20provided:%20ba***na.",
        },
        NotTaken(Cause.BAD_CREDENTIALS, ""),
    ),
    Recording(
        "no credits, 429",
        "continuedev/continue#10373",
        429,
        {"code": "resource-exhausted", "error": _NO_CREDITS},
        NotTaken(Cause.CREDITS_EXHAUSTED, ""),
    ),
    Recording(
        "no credits, 403",
        "NousResearch/hermes-agent#26847",
        403,
        {"code": "permission-denied", "error": _NO_CREDITS},
        NotTaken(Cause.CREDITS_EXHAUSTED, ""),
    ),
    Recording(
        "rate limited",
        "a relay's log",
        429,
        {
            "code": "resource-exhausted",
            "error": f"Too many requests for team {TEAM} and model grok-imagine-video. "
            "Requests per Second (actual/limit): 2/2",
        },
        NotTaken(Cause.RATE_LIMITED, "", 1_500),
        headers={"retry-after-ms": "1500"},
    ),
    Recording(
        "unknown model",
        "ChatGPTNextWeb/NextChat#6397",
        404,
        {
            "code": "Some requested entity was not found",
            "error": "The model grok-imagine does not exist or your team XXXX does not have "
            "access to it. Please ensure you're using the correct API key.",
        },
        NotTaken(Cause.MODEL_UNAVAILABLE, ""),
    ),
    Recording(
        "no such route",
        "iniwap/AIWriteX#26",
        404,
        {
            "code": "Some requested entity was not found",
            "error": "No handler found on route. Please double check your URL.",
        },
        NotTaken(Cause.MODEL_UNAVAILABLE, ""),
    ),
    Recording(
        "field of a wrong type, as text",
        "docs.x.ai debugging",
        422,
        b"Failed to deserialize the JSON body into the target type",
        Refused(Verdict.INVALID_INPUT, "The upstream refused the request as invalid."),
    ),
    Recording(
        "the envelope of a relay",
        "Wei-Shaw/sub2api#4546",
        400,
        {"error": {"message": "prompt is required", "type": "invalid_request_error"}},
        Refused(Verdict.INVALID_INPUT, "prompt is required"),
    ),
    Recording(
        "overloaded",
        "docs.x.ai",
        503,
        {"code": "unavailable", "error": "Busy"},
        Uncertain(Cause.OVERLOADED, ""),
    ),
    Recording(
        "Cloudflare", "a relay's log", 520, b"error code: 520", Uncertain(Cause.OVERLOADED, "")
    ),
    Recording("accepted, but by whom", "a relay", 200, {"id": 7}, Uncertain(Cause.UNREADABLE, "")),
    Recording(
        "too large for a proxy",
        "Wei-Shaw/sub2api#4170",
        413,
        b"<html>413</html>",
        Refused(Verdict.INVALID_INPUT, "The inputs are larger than the upstream takes."),
    ),
)


def _video(status: str, **more: Any) -> dict[str, Any]:
    return {"id": "video_1", "object": "video", "model": "m", "status": status, **more}


CONTENT = "/v1/videos/video_1/content"

OPENAI_POLLS = (
    Recording("queued", "OpenAI's specification", 200, _video("queued", progress=0), Pending(0)),
    Recording(
        "in progress, with a wish",
        "openai-python `poll`",
        200,
        _video("in_progress", progress=33.4),
        Pending(33, 3_000),
        headers={"openai-poll-after-ms": "3000"},
    ),
    Recording("completed", "OpenAI's specification", 200, _video("completed"), Done(CONTENT)),
    Recording(
        "moderated",
        "OpenAI's specification",
        200,
        _video("failed", error={"code": "moderation_blocked", "message": "Blocked."}),
        Failed(Verdict.MODERATED, "Blocked."),
    ),
    Recording(
        "failed without a code",
        "SGLang 0.5.23",
        200,
        _video("failed", error={"message": "CUDA out of memory at /srv/models/wan/pipe.py"}),
        Failed(Verdict.FAILED, "CUDA out of memory at [path]"),
        dialect="sglang",
    ),
    Recording(
        "recomputed seconds, a path of the server",
        "SGLang 0.5.23",
        200,
        _video("completed", seconds="1", file_path="/srv/outputs/x.mp4", url=None),
        Done(CONTENT),
        dialect="sglang",
    ),
    Recording(
        "completed in a cloud store",
        "SGLang 0.5.23",
        200,
        _video("completed", url="https://bucket.example/x.mp4", file_path=None),
        Done("https://bucket.example/x.mp4"),
        dialect="sglang",
    ),
    Recording(
        "a link that is not asked for",
        "new-api",
        200,
        _video("completed", url="https://elsewhere.example/x.mp4"),
        Done(CONTENT),
        dialect="new-api",
    ),
    Recording(
        "deleted",
        "SGLang 0.5.23",
        200,
        _video("deleted"),
        Failed(Verdict.CANCELLED, MESSAGES[Verdict.CANCELLED]),
        dialect="sglang",
    ),
    Recording(
        "lost on restart",
        "SGLang 0.5.23",
        404,
        {"detail": "Video not found"},
        Trouble(Cause.JOB_UNKNOWN, "", if_repeated=Failed(Verdict.FAILED, LOST)),
        dialect="sglang",
    ),
    Recording(
        "failed as an error status with the job as body",
        "vLLM-Omni 0.30.0",
        500,
        _video("failed", error={"code": 500, "message": "engine died"}),
        Failed(Verdict.FAILED, "engine died"),
        dialect="vllm-omni",
    ),
    Recording(
        "failed as 400 with the job as body",
        "vLLM-Omni 0.30.0",
        400,
        _video("failed", error={"code": 400, "message": "bad frames"}),
        Failed(Verdict.FAILED, "bad frames"),
        dialect="vllm-omni",
    ),
    Recording(
        "a real 500",
        "vLLM-Omni 0.30.0",
        500,
        {"error": {"message": "boom", "type": "Internal Server Error", "code": 500}},
        Trouble(Cause.OVERLOADED, ""),
        dialect="vllm-omni",
    ),
    Recording(
        "not begun",
        "QuantumNous/new-api#5045",
        200,
        _video("unknown"),
        Pending(),
        dialect="new-api",
    ),
    Recording(
        "no status yet",
        "QuantumNous/new-api#5927",
        200,
        {"request_id": "b53c8bb4", "id": "task_x"},
        Pending(),
        dialect="new-api",
    ),
    Recording(
        "done, as xAI says it",
        "QuantumNous/new-api#5927",
        200,
        {"status": "done", "video": {"url": URL}},
        Done(CONTENT),
        dialect="new-api",
    ),
    Recording(
        "percent as text",
        "new-api",
        200,
        _video("in_progress", progress="45%"),
        Pending(45),
        dialect="new-api",
    ),
    Recording(
        "completed, with its bill",
        "the contract",
        200,
        _video("completed", billing={"cost": "0.42", "max_cost": "0.56"}),
        Done(CONTENT, 4_200_000_000),
        dialect="reelgate",
    ),
    Recording(
        "the operator's own balance ran out",
        "the contract",
        200,
        _video(
            "failed",
            error={"code": "insufficient_balance", "message": "0.42 needed, 0.01 available"},
        ),
        Failed(Verdict.FAILED, MESSAGES[Verdict.FAILED]),
        dialect="reelgate",
    ),
    Recording(
        "input not reached",
        "the contract",
        200,
        _video("failed", error={"code": "input_unreachable", "message": "No image there."}),
        Failed(Verdict.INPUT_UNREACHABLE, "No image there."),
        dialect="reelgate",
    ),
    Recording(
        "expired",
        "the contract",
        200,
        _video("failed", error={"code": "expired", "message": "Too late."}),
        Failed(Verdict.EXPIRED, "Too late."),
        dialect="reelgate",
    ),
    Recording(
        "a proxy's 404", "nginx", 404, b"<html>404 Not Found</html>", Trouble(Cause.UNREADABLE, "")
    ),
    Recording(
        "no key",
        "vLLM-Omni 0.30.0",
        401,
        {"error": "Unauthorized"},
        Trouble(Cause.BAD_CREDENTIALS, ""),
        dialect="vllm-omni",
    ),
)

OPENAI_SUBMITS = (
    Recording("accepted", "OpenAI's specification", 200, _video("queued"), Accepted("video_1")),
    Recording(
        "accepted, as `task_id` only",
        "QuantumNous/new-api#1988",
        200,
        {"task_id": "4326796003218200779"},
        Accepted("4326796003218200779"),
        dialect="new-api",
    ),
    Recording(
        "accepted, with a wish",
        "the contract",
        200,
        {"id": "task_1", "object": "video", "status": "queued"},
        Accepted("task_1", 3_000),
        headers={"openai-poll-after-ms": "3000"},
        dialect="reelgate",
    ),
    Recording(
        "refused by the policy",
        "OpenAI, second-hand",
        400,
        {"error": {"code": "sentinel_block", "message": "Refused.", "type": "x"}},
        Refused(Verdict.MODERATED, "Refused."),
    ),
    Recording(
        "FastAPI's rows, which repeat the prompt",
        "SGLang 0.5.23",
        422,
        {"detail": [{"loc": ["seconds"], "msg": "not an integer", "input": "my secret prompt"}]},
        Refused(Verdict.INVALID_INPUT, "not an integer"),
        dialect="sglang",
    ),
    Recording(
        "another model is loaded",
        "vLLM-Omni 0.30.0",
        400,
        {"error": {"message": "model 'x' does not match the served model", "code": 400}},
        NotTaken(Cause.MODEL_UNAVAILABLE, ""),
        dialect="vllm-omni",
    ),
    Recording(
        "the operator's quota",
        "new-api",
        403,
        {"code": "insufficient_user_quota", "message": "quota is not enough", "data": None},
        NotTaken(Cause.CREDITS_EXHAUSTED, ""),
        dialect="new-api",
    ),
    Recording(
        "the operator's balance",
        "the contract",
        402,
        {"error": {"code": "insufficient_balance", "message": "0.42 needed"}},
        NotTaken(Cause.CREDITS_EXHAUSTED, ""),
        dialect="reelgate",
    ),
    Recording(
        "the same key is being worked on",
        "the contract",
        409,
        {"error": {"code": "idempotency_in_progress", "message": "wait"}},
        Uncertain(Cause.UNREADABLE, ""),
        dialect="reelgate",
    ),
    Recording(
        "disk full there",
        "the contract",
        507,
        {"error": {"code": "storage_full", "message": "full"}},
        Uncertain(Cause.OVERLOADED, ""),
        dialect="reelgate",
    ),
    Recording(
        "a wrapped error with 200",
        "new-api",
        200,
        {"code": "fail", "message": "no", "data": None},
        Uncertain(Cause.UNREADABLE, ""),
        dialect="new-api",
    ),
)
