"""`XAI_API_KEY=… reelgate generate …` is all a user does: real processes before a fake xAI."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Shell
from tests.fakes import fake_xai
from tests.fakes.fake_xai import FakeXai, XaiJob
from tests.fakes.wire import Bucket, Reply, Request
from tests.support.background import answering
from tests.support.clips import make_clip, make_image

CONFIG = """
[[upstream]]
name = "xai-main"
kind = "xai"
base_url = "{url}"
submits_per_second = 20
allow_private_network = true   # the fake's results lie on loopback
"""
SOON = {"retry-after-ms": "50"}


class QuickXai(FakeXai):
    """Its films are as long as was asked for; it says when to ask, so that no test waits for it."""

    def __init__(self, bucket: Bucket, films: dict[int, bytes]) -> None:
        super().__init__(bucket)
        self.films = films

    def answer(self, request: Request) -> Reply:
        return replace(super().answer(request), headers=SOON)

    def usual_life(self, job: XaiJob) -> list[Reply]:
        source_s = 2 if "video" in job.fields else 0
        film = self.films[source_s + job.fields.get("duration", 0)]
        url = self.bucket.put(f"xai-video-{job.id}.mp4", film)
        return [Reply(202), Reply(202, {"status": "pending", "progress": 40}), fake_xai.done(url)]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[int, bytes]:
    """Films at 480p by their seconds."""
    folder = tmp_path_factory.mktemp("films")
    return {
        seconds: make_clip(
            folder / f"{seconds}.mp4", frames=24 * seconds, size=(854, 480)
        ).read_bytes()
        for seconds in (2, 4)
    }


@pytest.fixture
def api(films: dict[int, bytes]) -> Iterator[QuickXai]:
    bucket = Bucket()
    fake = QuickXai(bucket, films)
    with answering(bucket, fake):
        yield fake


@pytest.fixture
def shell(tmp_path: Path, api: QuickXai) -> Shell:
    shell = Shell(tmp_path)
    (tmp_path / "my.toml").write_text(CONFIG.format(url=api.url))
    shell.env |= {
        "XAI_API_KEY": fake_xai.KEY,
        "REELGATE_CONFIG": "my.toml",
        "REELGATE_POLL_INTERVAL_MS_MIN": "50",
    }
    return shell


def test_all_five_operations_by_command(
    shell: Shell, api: QuickXai, films: dict[int, bytes]
) -> None:
    folder = shell.directory
    (folder / "source.mp4").write_bytes(films[2])
    for name, colour in (("a.png", (200, 30, 30)), ("b.jpg", (30, 200, 30))):
        make_image(folder / name, colour, (96, 64))
    first = shell.json("generate", "A paper boat", "--seconds", "2", "-o", "text.mp4")
    edit = ("--video", "source.mp4")
    extend = ("--video", first["task"]["id"], "--seconds", "2")
    commands = {
        "image_to_video": ("It sails", "--image", "a.png", "--seconds", "2"),
        "reference_to_video": (
            "@Image1 and @Image2", "--image", "a.png", "--image", "b.jpg", "--seconds", "2",
        ),
        "edit_video": ("Make it night", *edit),
        "video_extend": ("It sails on", *extend),
    }  # fmt: skip
    made = {"text_to_video": first, **beside_a_server(shell, commands)}
    bills = {name: answer["task"]["billing"]["cost"] for name, answer in made.items()}
    assert bills == {
        "text_to_video": "0.10",  # 2 x 0.05
        "image_to_video": "0.102",  # and a picture
        "reference_to_video": "0.104",  # and two
        "edit_video": "0.12",  # 2 x 0.05 and 2 x 0.01 of the source
        "video_extend": "0.12",  # 2 x 0.05 added and 2 x 0.01 of the source
    }
    for name, answer in made.items():
        film = films[4 if name == "video_extend" else 2]
        delivered = (folder / answer["file"]).read_bytes()
        assert hashlib.sha256(delivered).digest() == hashlib.sha256(film).digest(), name
        assert answer["task"]["operation"] == name
    sent = {job.fields["prompt"]: (job.route, set(job.fields)) for job in api.jobs.values()}
    base = {"model", "prompt", "duration", "resolution"}
    assert sent == {
        "A paper boat": ("/v1/videos/generations", base | {"aspect_ratio"}),
        "It sails": ("/v1/videos/generations", base | {"image"}),
        "@Image1 and @Image2": (
            "/v1/videos/generations",
            base | {"aspect_ratio", "reference_images"},
        ),
        "Make it night": ("/v1/videos/edits", {"model", "prompt", "video"}),
        "It sails on": ("/v1/videos/extensions", {"model", "prompt", "duration", "video"}),
    }
    assert shell.json("doctor") == {"broken": [], "stranded": []}


def beside_a_server(shell: Shell, commands: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """What each `generate` says; all at once, of one `reelgate serve`."""
    server = shell.start("serve", "--port", "0")
    assert server.stderr is not None
    try:
        ready = next(line for line in server.stderr if line.startswith("reelgate is ready: "))
        key = shell.json("keys", "create", "local")["api_key"]
        shell.env |= {"REELGATE_URL": ready.split()[-1], "REELGATE_API_KEY": key}
        with ThreadPoolExecutor(len(commands)) as pool:
            asked = {
                name: pool.submit(shell.json, "generate", *command)
                for name, command in commands.items()
            }
            return {name: answer.result() for name, answer in asked.items()}
    finally:
        server.terminate()
        server.communicate(timeout=30)
        del shell.env["REELGATE_URL"], shell.env["REELGATE_API_KEY"]


def test_a_moderated_job_costs_its_owner_nothing(shell: Shell, api: QuickXai) -> None:
    api.next_life = lambda _job: [Reply(202), fake_xai.MODERATED]
    code, _, err = shell.run("generate", "Something bad", "--seconds", "2")
    assert code == 1
    assert "(content_policy_violation)" in err
    assert "charged: 0.00 USD" in err
    assert len(api.jobs) == 1
    (line,) = shell.json("report", "--by", "upstream")["data"]
    assert (line["upstream"], line["revenue"]) == ("xai-main", "0.00")
    assert line["upstream_cost"].startswith("0.25")  # what xAI takes for it all the same


def test_what_is_wrong_with_the_account_is_told_apart(shell: Shell, api: QuickXai) -> None:
    assert shell.json("upstreams", "check")["upstreams"][0]["ok"] is True
    shell.env["XAI_API_KEY"] = "xai-another-key"
    code, out, _ = shell.run("upstreams", "check", "--json")
    (found,) = json.loads(out)["upstreams"]
    assert (code, found["authorized"], found["trouble"]) == (1, False, "bad_credentials")
    assert fake_xai.KEY not in out
    shell.env["XAI_API_KEY"] = fake_xai.KEY
    api.models = ["grok-imagine-video-1.5"]
    code, out, _ = shell.run("upstreams", "check", "--json")
    (found,) = json.loads(out)["upstreams"]
    assert (code, found["models_missing"]) == (1, ["grok-imagine-video"])
    assert api.jobs == {}


def test_an_account_without_credits_is_shown_as_that_and_the_task_waits(
    shell: Shell, api: QuickXai
) -> None:
    words = "Your team has used all available credits or reached its monthly spending limit."
    api.next_submits.append(fake_xai.complaint(429, "resource-exhausted", words))
    process = shell.start("generate", "A boat", "--seconds", "2")
    try:
        found = until_in_trouble(shell)
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert found["trouble"] == "credits_exhausted"
    assert "used all available credits" in found["trouble_detail"]
    assert found["paused_ms"] > 0
    _, out, _ = shell.run("upstreams", "list")
    assert "credits_exhausted since" in out
    assert "tried again in" in out
    (task,) = shell.json("tasks", "list")["data"]
    assert task["state"] == "queued"


def until_in_trouble(shell: Shell) -> dict[str, Any]:
    give_up = time.monotonic() + 40
    while time.monotonic() < give_up:
        (found,) = shell.json("upstreams", "list")["data"]
        if found["trouble"]:
            shown: dict[str, Any] = found
            return shown
        time.sleep(0.1)
    raise AssertionError("no trouble is shown")
