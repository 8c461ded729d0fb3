"""`reelgate generate` and `tasks wait` against a gateway elsewhere."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from reelgate.cli import client as client_module
from tests.cli.conftest import KEY, TASK_ID, VIDEO, FakeGateway, Reply, Run, task

CONTENT = f"GET /v1/videos/{TASK_ID}/content"
RETRIEVE = f"GET /v1/videos/{TASK_ID}"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nothing waits for real; the list is what would have been waited, in seconds."""
    pauses: list[float] = []
    for module in ("client", "video"):
        monkeypatch.setattr(f"reelgate.cli.{module}.time.sleep", pauses.append)
    return pauses


def error(status: int, code: str, message: str, **headers: str) -> Reply:
    body = {"error": {"message": message, "type": "x", "param": None, "code": code}}
    return Reply(status, body, headers)


# ---- the way that goes well ---------------------------------------------------------------


def test_a_prompt_becomes_a_file_and_a_bill(run: Run, gateway: FakeGateway) -> None:
    ran = run("generate", "A boat", "--seconds", "4", "--size", "720p", **gateway.env)
    assert ran.code == 0
    assert Path(f"{TASK_ID}.mp4").read_bytes() == VIDEO
    assert ran.out.splitlines() == [
        f"{TASK_ID}.mp4  720p, 4 s, 10240 bytes",
        "  output_second_720p  4 second  × 0.07  = 0.28",
        "  total                                 = 0.28 USD",
        "  balance 9.72 USD",
    ]
    (created,) = gateway.asked("POST /v1/videos")
    assert json.loads(created.body) == {
        "model": "grok-imagine",
        "prompt": "A boat",
        "duration": 4,
        "size": "720p",
    }
    assert created.headers["authorization"] == f"Bearer {KEY}"
    assert created.headers["idempotency-key"]


def test_json_is_one_object_on_stdout(run: Run, gateway: FakeGateway) -> None:
    ran = run("generate", "A boat", "-o", "deep/er/out.mp4", "--json", **gateway.env)
    assert ran.code == 0
    assert ran.json["file"] == "deep/er/out.mp4"
    assert ran.json["bytes"] == len(VIDEO)
    assert ran.json["task"]["id"] == TASK_ID
    assert ran.json["balance"]["available"] == "9.72"
    assert Path("deep/er/out.mp4").read_bytes() == VIDEO
    assert ran.err == ""


def test_waiting_honours_the_gateways_pace(
    run: Run, gateway: FakeGateway, no_pauses: list[float]
) -> None:
    paced = {"openai-poll-after-ms": "3000"}
    gateway.script["POST /v1/videos"] = [Reply(200, task("queued"), paced)]
    gateway.script[RETRIEVE] = [
        Reply(200, task("in_progress", progress=40), paced),
        Reply(200, task("completed")),
    ]
    ran = run("generate", "A boat", **gateway.env)
    assert ran.code == 0
    assert ran.err == "waiting 0%\nmaking 40%\nmade 100%\ndownloading\n"
    polls = [request for request in gateway.asked(RETRIEVE) if "content" not in request.path]
    assert [request.headers["prefer"] for request in polls] == ["wait=3", "wait=3"]
    # This gateway does not hold its answer, so the rest of the 3 s is spent here.
    assert len(no_pauses) == 1
    assert 2.5 < no_pauses[0] <= 3.0


def test_a_terminal_gets_a_bar(
    run: Run, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    gateway.script[RETRIEVE] = [
        Reply(200, task("in_progress", progress=40)),
        Reply(200, task("completed")),
    ]
    ran = run("generate", "A boat", **gateway.env)
    assert ran.code == 0
    assert "downloading" in ran.err
    assert "100%" in ran.err


def test_the_address_may_end_in_v1(run: Run, gateway: FakeGateway) -> None:
    assert (
        run("generate", "A boat", **{**gateway.env, "REELGATE_URL": f"{gateway.url}/v1/"}).code == 0
    )


def test_a_gateway_that_tells_no_balance(run: Run, gateway: FakeGateway) -> None:
    del gateway.script["GET /v1/balance"]
    ran = run("generate", "A boat", **gateway.env)
    assert ran.code == 0
    assert "balance" not in ran.out


# ---- inputs -------------------------------------------------------------------------------

IMAGE = "https://example.com/a.png"


@pytest.mark.parametrize(
    ("args", "fields"),
    [
        (["--image", IMAGE], {"image": IMAGE}),
        (
            ["--image", IMAGE, "--image", "data:image/png;base64,AA"],
            {"images": [IMAGE, "data:image/png;base64,AA"]},
        ),
        (
            ["--image", IMAGE, "--operation", "reference_to_video"],
            {"images": [IMAGE], "operation": "reference_to_video"},
        ),
        (["--video", TASK_ID], {"video": {"id": TASK_ID}}),
        (
            ["--video", "https://x/a.mp4", "--input-video-seconds", "5", "--user", "me"],
            {"video": "https://x/a.mp4", "input_video_seconds": 5, "user": "me"},
        ),
        (["--aspect-ratio", "9:16"], {"aspect_ratio": "9:16"}),
    ],
)
def test_links_and_ids_go_as_json(
    run: Run, gateway: FakeGateway, args: list[str], fields: dict[str, object]
) -> None:
    assert run("generate", "A boat", *args, **gateway.env).code == 0
    (created,) = gateway.asked("POST /v1/videos")
    assert json.loads(created.body) == {"model": "grok-imagine", "prompt": "A boat", **fields}


def test_files_go_as_a_form_in_their_order(run: Run, gateway: FakeGateway) -> None:
    Path("a.png").write_bytes(b"\x89PNG first")
    Path("b.png").write_bytes(b"\x89PNG second")
    ran = run(
        "generate", "A böat", "--image", "a.png", "--image", IMAGE, "--image", "b.png",
        "--seconds", "3", **gateway.env,
    )  # fmt: skip
    assert ran.code == 0
    (created,) = gateway.asked("POST /v1/videos")
    boundary = created.headers["content-type"].partition("boundary=")[2]
    parts = created.body.split(f"--{boundary}".encode())[1:-1]
    file_head = b'\r\nContent-Disposition: form-data; name="images"; filename="upload"\r\n'
    file_head += b"Content-Type: application/octet-stream\r\n\r\n"
    assert parts == [
        b'\r\nContent-Disposition: form-data; name="model"\r\n\r\ngrok-imagine\r\n',
        b'\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n' + "A böat\r\n".encode(),
        b'\r\nContent-Disposition: form-data; name="duration"\r\n\r\n3\r\n',
        file_head + b"\x89PNG first\r\n",
        b'\r\nContent-Disposition: form-data; name="images"\r\n\r\n' + IMAGE.encode() + b"\r\n",
        file_head + b"\x89PNG second\r\n",
    ]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--image", "gone.png"], "--image gone.png: there is no such file; allowed is a file"),
        (["--video", "gone.mp4"], "or the id of a finished task"),
        (["--image", TASK_ID], f"--image {TASK_ID}: a task's result is a video; give it as"),
        (["--video", "https://x/1", "--video", "https://x/2"], "--video is given more than once"),
        (["-o", "file.txt/out.mp4"], "can't write to file.txt"),
    ],
)
def test_what_can_not_work_costs_nothing(
    run: Run, gateway: FakeGateway, args: list[str], said: str
) -> None:
    Path("file.txt").write_text("in the way")
    ran = run("generate", "A boat", *args, **gateway.env)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert said in ran.err
    assert gateway.requests == []


# ---- what goes wrong ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        (400, "invalid_value", 2),
        (401, "invalid_api_key", 2),
        (402, "insufficient_balance", 5),
        (402, "spend_limit_exceeded", 5),
        (403, "model_not_allowed", 2),
        (404, "model_not_found", 3),
        (413, "request_too_large", 2),
        (422, "idempotency_key_reused", 2),
        (429, "rate_limit_exceeded", 4),
        (500, "internal_error", 4),
        (503, "unavailable", 4),
        (507, "storage_full", 4),
    ],
)
def test_a_refusal_is_one_line_with_a_code(
    run: Run, gateway: FakeGateway, status: int, code: str, exit_code: int
) -> None:
    gateway.script["POST /v1/videos"] = [error(status, code, "Because I say so.")]
    ran = run("generate", "A boat", **gateway.env)
    assert (ran.code, ran.err) == (exit_code, "reelgate: Because I say so.\n")
    keys = {request.headers["idempotency-key"] for request in gateway.asked("POST /v1/videos")}
    assert len(keys) == 1


def test_a_gateway_that_is_busy_is_asked_again_when_it_says(
    run: Run, gateway: FakeGateway, no_pauses: list[float]
) -> None:
    good = gateway.script["POST /v1/videos"]
    busy = error(429, "rate_limit_exceeded", "Slow down.", **{"Retry-After": "7"})
    gateway.script["POST /v1/videos"] = [busy, *good]
    assert run("generate", "A boat", **gateway.env).code == 0
    assert no_pauses[0] == 7
    first, second = gateway.asked("POST /v1/videos")
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


def test_a_failed_task(run: Run, gateway: FakeGateway) -> None:
    why = {"code": "content_policy_violation", "message": "Not that."}
    gateway.script[RETRIEVE] = [Reply(200, task("failed", error=why, progress=100))]
    ran = run("generate", "A boat", **gateway.env)
    assert ran.code == 1
    assert f"reelgate: {TASK_ID} failed: Not that. (content_policy_violation)\n" in ran.err
    assert ran.err.endswith("charged: 0.00 USD\n")
    ran = run("generate", "A boat", "--json", **gateway.env)
    assert (ran.code, ran.json["task"]["error"]["code"]) == (1, "content_policy_violation")


def test_nobody_there(run: Run) -> None:
    env = {"REELGATE_URL": "http://127.0.0.1:1", "REELGATE_API_KEY": KEY}
    ran = run("generate", "A boat", **env)
    assert ran.code == 4
    assert ran.err.startswith("reelgate: can't reach http://127.0.0.1:1: ")


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"REELGATE_URL": "http://127.0.0.1:1"}, "but REELGATE_API_KEY is not"),
        ({"REELGATE_API_KEY": KEY}, "but REELGATE_URL is not"),
    ],
)
def test_half_a_gateway(run: Run, env: dict[str, str], said: str) -> None:
    ran = run("generate", "A boat", **env)
    assert ran.code == 2
    assert said in ran.err
    assert KEY not in ran.err


def test_something_else_answers(run: Run, gateway: FakeGateway) -> None:
    gateway.script["POST /v1/videos"] = [Reply(200, b"<html>hello</html>")]
    ran = run("generate", "A boat", **gateway.env)
    assert (ran.code, "is REELGATE_URL right?" in ran.err) == (4, True)


def test_a_redirect_is_not_followed_with_the_key(run: Run, gateway: FakeGateway) -> None:
    elsewhere = {"Location": "https://elsewhere.example/v1/videos"}
    gateway.script["POST /v1/videos"] = [Reply(301, {}, elsewhere)]
    ran = run("generate", "A boat", **gateway.env)
    assert ran.code == 2
    assert "a redirect to https://elsewhere.example/v1/videos; set REELGATE_URL" in ran.err


# ---- waiting and downloading through trouble ----------------------------------------------


def test_trouble_while_waiting_is_waited_out(run: Run, gateway: FakeGateway) -> None:
    gateway.script[RETRIEVE] = [
        error(503, "unavailable", "Busy."),
        Reply(200, task("in_progress", progress=50)),
        error(500, "internal_error", "Oops."),
        Reply(200, task("completed")),
    ]
    assert run("generate", "A boat", **gateway.env).code == 0


def test_a_gateway_that_goes_away_leaves_a_way_back(
    run: Run, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reelgate.cli.video._SILENT_S_MAX", 0)
    gateway.script[RETRIEVE] = [error(503, "unavailable", "Busy.")]
    ran = run("generate", "A boat", "-o", "out.mp4", **gateway.env)
    assert ran.code == 4
    assert f"Go on with: reelgate tasks wait {TASK_ID} -o out.mp4\n" in ran.err


def test_a_broken_download_is_resumed(run: Run, gateway: FakeGateway) -> None:
    broken = Reply(200, VIDEO, cut=1_000)
    gateway.script[CONTENT] = [broken, Reply(200, VIDEO, cut=2_000), Reply(200, VIDEO)]
    assert run("generate", "A boat", "-o", "out.mp4", **gateway.env).code == 0
    assert Path("out.mp4").read_bytes() == VIDEO
    ranges = [request.headers.get("range") for request in gateway.asked(CONTENT)]
    assert ranges == [None, "bytes=1000-", "bytes=3000-"]
    assert [path.name for path in Path().iterdir()] == ["out.mp4"]


def test_a_download_is_resumed_by_the_next_command(
    run: Run, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_DOWNLOAD_ATTEMPTS_MAX", 1)
    gateway.script[CONTENT] = [Reply(200, VIDEO, cut=4_000), Reply(200, VIDEO)]
    ran = run("generate", "A boat", "-o", "out.mp4", **gateway.env)
    assert ran.code == 4
    assert not Path("out.mp4").exists()
    assert run("tasks", "wait", TASK_ID, "-o", "out.mp4", **gateway.env).code == 0
    assert Path("out.mp4").read_bytes() == VIDEO
    assert gateway.asked(CONTENT)[-1].headers["range"] == "bytes=4000-"


def test_a_part_that_is_already_whole(run: Run, gateway: FakeGateway) -> None:
    Path(f".out.mp4.{TASK_ID}.part").write_bytes(VIDEO)
    assert run("tasks", "wait", TASK_ID, "-o", "out.mp4", **gateway.env).code == 0
    assert Path("out.mp4").read_bytes() == VIDEO


def test_a_part_of_something_else_is_begun_anew(run: Run, gateway: FakeGateway) -> None:
    Path(f".out.mp4.{TASK_ID}.part").write_bytes(VIDEO + b"more")
    assert run("tasks", "wait", TASK_ID, "-o", "out.mp4", **gateway.env).code == 0
    assert Path("out.mp4").read_bytes() == VIDEO


def test_ctrl_c_leaves_the_task_and_says_how_to_go_on(
    run: Run, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    gateway.script[RETRIEVE] = [Reply(200, task("in_progress", progress=50))]
    monkeypatch.setattr("reelgate.cli.video.time.sleep", interrupt)
    ran = run("generate", "A boat", "-o", "my.mp4", **gateway.env)
    assert ran.code == 130
    assert f"Go on with: reelgate tasks wait {TASK_ID} -o my.mp4\n" in ran.err
    assert gateway.asked(f"POST /v1/videos/{TASK_ID}/cancel") == []
