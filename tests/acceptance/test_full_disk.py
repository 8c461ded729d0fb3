"""A disk that is full: what is made waits for room, what can't be kept is not promised."""

from __future__ import annotations

from pathlib import Path

from tests.support.aftermath import CREDIT_MICRO, open_account, wrongs
from tests.support.disks import fill
from tests.support.load import SMALL, Api, Request
from tests.support.processes import Server, Zygote

BODY = {**SMALL, "prompt": "a boat"}
PRICE_USD = 0.05


def serve(zygote: Zygote, folder: Path, env: dict[str, str]) -> tuple[Server, Api]:
    _, key = open_account(folder, **env)
    server = zygote.serve(folder, **env)
    assert server.url is not None
    return server, Api(server.url, key)


def test_a_finished_video_waits_for_room(
    zygote: Zygote, small_disk_folder: Path, tmp_path: Path
) -> None:
    env = {"REELGATE_MEDIA_URL": f"file://{small_disk_folder}"}
    server, api = serve(zygote, tmp_path, env)
    ballast = fill(small_disk_folder)
    request = Request("a boat")
    request.send(api)
    server.said("result could not be collected yet")
    assert api.task(request.task_id or "")["status"] == "in_progress"
    ready = api.call("GET", "/readyz")
    assert ready.status == 503
    assert "media" in ready.body["parts"]
    ballast.unlink()
    task = api.ended(request.task_id or "", timeout_s=40)
    assert task["status"] == "completed"
    assert task["billing"]["cost"] == f"{PRICE_USD}"
    assert server.stop() == 0
    assert "Traceback" not in server.log()
    assert wrongs(tmp_path, **env) == []


def test_an_upload_that_can_not_be_kept_is_refused(
    zygote: Zygote, small_disk_folder: Path, tmp_path: Path, png: bytes
) -> None:
    env = {"REELGATE_MEDIA_URL": f"file://{small_disk_folder}"}
    server, api = serve(zygote, tmp_path, env)
    ballast = fill(small_disk_folder)
    request = Request("a boat", image=png)
    body, headers = request.body()
    refused = api.call("POST", "/v1/videos", body, **headers)
    assert (refused.status, refused.body["error"]["code"]) == (507, "storage_full")
    assert api.call("GET", "/v1/balance").body["held"] == "0.00"
    ballast.unlink()
    request.send(api)
    assert api.ended(request.task_id or "")["status"] == "completed"
    assert server.stop() == 0
    assert wrongs(tmp_path, **env) == []


def test_a_create_that_can_not_be_kept_is_refused(
    zygote: Zygote, small_disk_folder: Path, tmp_path: Path
) -> None:
    env = {"REELGATE_DATABASE_URL": f"sqlite:///{small_disk_folder / 'reelgate.db'}"}
    server, api = serve(zygote, tmp_path, env)
    ballast = fill(small_disk_folder)
    # A page or two may be left in the log of the database: ask until it is full.
    answers = [api.call("POST", "/v1/videos", BODY) for _ in range(40)]
    refused = [answer for answer in answers if answer.status != 200]
    assert {answer.status for answer in refused} == {507}
    assert refused[0].body["error"]["code"] == "storage_full"
    accepted = [answer.body["id"] for answer in answers if answer.status == 200]

    ballast.unlink()
    for task_id in accepted:
        assert api.ended(task_id, timeout_s=40)["status"] == "completed"
    assert len(api.call("GET", "/v1/videos?limit=100").body["data"]) == len(accepted)
    balance = api.call("GET", "/v1/balance").body
    assert balance["held"] == "0.00"
    assert float(balance["available"]) == CREDIT_MICRO / 10**6 - len(accepted) * PRICE_USD
    last = api.call("POST", "/v1/videos", BODY)
    assert api.ended(last.body["id"])["status"] == "completed"
    assert server.stop() == 0
    assert "Traceback" not in server.log()
    assert wrongs(tmp_path, **env) == []
