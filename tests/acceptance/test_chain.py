"""Two gateways, one the other's upstream, a sandbox behind: a customer notices no difference."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from reelgate.domain.money import TICKS_PER_MICRO, parse_usd
from reelgate.flows.gateway import Gateway
from reelgate.providers.base import CheckReport
from reelgate.store import settlements
from tests.cli.conftest import Shell
from tests.support.clips import make_clip, make_image
from tests.support.files import file_server
from tests.support.live import QUICK, Account, live_server

CONFIG = """
[[upstream]]
name = "back"
kind = "openai"
dialect = "reelgate"
base_url = "{url}"
api_key_env = "BACK_KEY"
models = {{ "grok-imagine" = "grok-imagine" }}
submits_per_second = 50
"""


@dataclass(frozen=True)
class Chain:
    """A customer of the front, whose own key at the back is `back`'s."""

    front: Account
    back: Account
    inputs: str
    folder: Path

    def behind(self, task: dict[str, Any]) -> dict[str, Any]:
        """The back's task of a front's task: there is exactly one."""
        (found,) = [other for other in self.back.tasks() if other["prompt"] == task["prompt"]]
        return found


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("chain")
    inputs = folder / "inputs"
    inputs.mkdir()
    make_clip(inputs / "one.mp4", frames=24, size=(640, 480))
    make_clip(inputs / "two.mp4", frames=48, size=(640, 480))
    make_image(inputs / "red.png", (200, 30, 30), (96, 64))
    make_image(inputs / "green.jpg", (30, 200, 30), (64, 96))
    with live_server(folder / "back") as back, file_server(inputs) as url:
        there = back.account()
        with live_server(folder / "front", **front_env(folder, there)) as front:
            yield Chain(front.account(), there, url, inputs)


def front_env(folder: Path, back: Account) -> dict[str, str]:
    """The settings of a gateway whose upstream is the back."""
    config = folder / "front.toml"
    config.write_text(CONFIG.format(url=back.live.url))
    return {"REELGATE_CONFIG": str(config), "BACK_KEY": back.key}


def data_uri(path: Path, mime: str) -> str:
    return f"data:{mime};base64,{base64.b64encode(path.read_bytes()).decode()}"


def test_every_operation_with_every_kind_of_input(chain: Chain) -> None:
    """Uploads, data URIs, links and earlier results; the sums are the contract's, by hand."""
    source = chain.front.made(prompt="the source", duration=2)
    png, mp4 = chain.folder / "red.png", chain.folder / "two.mp4"
    edit = {"duration": None, "operation": "edit_video"}
    bodies: dict[str, tuple[dict[str, Any], str]] = {
        "text": ({}, "0.05"),
        "text, large": ({"size": "1280x720"}, "0.07"),
        "picture by data": ({"image": data_uri(png, "image/png"), "size": "720p"}, "0.072"),
        "pictures": (
            {"images": [f"{chain.inputs}/green.jpg", data_uri(png, "image/png")]},
            "0.054",
        ),
        "edit by link": ({**edit, "video": f"{chain.inputs}/one.mp4"}, "0.06"),
        "edit of a result": ({**edit, "video": {"id": source["id"]}}, "0.12"),
        "extend by data": ({"video": data_uri(mp4, "video/mp4"), "duration": 2}, "0.12"),
        "extend a result": ({"video": {"id": source["id"]}, "duration": 2}, "0.12"),
    }
    with ThreadPoolExecutor(len(bodies) + 2) as pool:
        waiting = {
            prompt: pool.submit(chain.front.made, prompt=prompt, **body)
            for prompt, (body, _) in bodies.items()
        }
        uploads = {
            prompt: pool.submit(uploaded, chain.front, prompt, name, path)
            for prompt, name, path in (
                ("picture by upload", "image", png),
                ("edit by upload", "video", chain.folder / "one.mp4"),
            )
        }
        made = {prompt: task.result() for prompt, task in (waiting | uploads).items()}
    right = {prompt: cost for prompt, (_, cost) in bodies.items()}
    right |= {"picture by upload": "0.052", "edit by upload": "0.06"}
    assert {prompt: task["billing"]["cost"] for prompt, task in made.items()} == right
    for prompt, task in made.items():
        behind = chain.behind(task)
        assert behind["billing"] == task["billing"], prompt
        assert (behind["operation"], behind["status"]) == (task["operation"], "completed"), prompt
        assert upstream_cost_micro(chain, task) == parse_usd(right[prompt])
        ours, theirs = film(chain.front, task), film(chain.back, behind)
        assert ours == theirs, prompt
    assert chain.front.balance() == chain.back.balance()


def uploaded(account: Account, prompt: str, name: str, path: Path) -> dict[str, Any]:
    fields = {"model": "grok-imagine", "prompt": prompt}
    if name == "image":
        fields["seconds"] = "1"
    answer = account.http.post("/v1/videos", data=fields, files={name: path.read_bytes()})
    assert answer.status_code == 200, answer.text
    return account.ended(answer.json()["id"])


def film(account: Account, task: dict[str, Any]) -> bytes:
    answer = account.http.get(f"/v1/videos/{task['id']}/content")
    assert answer.status_code == 200, answer.text
    return answer.content


def upstream_cost_micro(chain: Chain, task: dict[str, Any]) -> int | None:
    """What the back has billed for it, as the front's operator sees it."""
    settlement = chain.front.live.run(
        lambda gateway: gateway.db.read(lambda tx: settlements.get(tx, task["id"]))
    )
    assert settlement is not None
    ticks = settlement.upstream_cost_ticks
    return None if ticks is None else ticks // TICKS_PER_MICRO


def test_failures_pass_through_with_their_codes_and_cost_nothing(chain: Chain) -> None:
    before = chain.front.balance(), chain.back.balance()
    codes = {
        "[sandbox:fail]": "task_failed",
        "[sandbox:moderated]": "content_policy_violation",
        "[sandbox:expired]": "expired",
    }
    created = {tag: chain.front.create(prompt=f"no {tag}") for tag in codes}
    created["broken link"] = chain.front.create(image=f"{chain.inputs}/missing.png", prompt="no x")
    codes["broken link"] = "input_unreachable"
    tasks = {tag: chain.front.ended(task["id"]) for tag, task in created.items()}
    assert {tag: task["error"]["code"] for tag, task in tasks.items()} == codes
    for task in tasks.values():
        assert chain.behind(task)["error"] == task["error"]
        assert task["billing"]["cost"] == "0.00"
    assert (chain.front.balance(), chain.back.balance()) == before


def test_a_cancel_stops_the_job_behind(chain: Chain) -> None:
    created = chain.front.create(prompt="too slow [sandbox:slow=60]")
    until(lambda: status(chain.front, created) == "in_progress")
    answer = chain.front.http.post(f"/v1/videos/{created['id']}/cancel")
    assert answer.status_code == 200, answer.text
    assert answer.json()["error"]["code"] == "cancelled"
    behind = chain.behind(created)
    assert (behind["status"], behind["error"]["code"]) == ("failed", "cancelled")
    assert chain.front.balance()[1] == chain.back.balance()[1] == "0.00"


def status(account: Account, task: dict[str, Any]) -> str:
    found: str = account.http.get(f"/v1/videos/{task['id']}").json()["status"]
    return found


def until(true: Any, seconds: float = 20.0) -> None:
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def test_a_check_proves_the_key_and_the_model_for_nothing(chain: Chain) -> None:
    async def check(gateway: Gateway) -> CheckReport:
        (upstream,) = gateway.upstreams
        return await upstream.provider.check(("grok-imagine",))

    report = chain.front.live.run(check)
    assert (report.reachable, report.authorized, report.models_missing) == (True, True, ())


DYING = ("send.after_sending_commit", "send.after_upstream_accepted", "send.after_running_commit")


def test_a_front_that_dies_while_it_sends_makes_no_second_job(chain: Chain, tmp_path: Path) -> None:
    """It sends again with the same key, which is the task's own id: the back knows it."""

    def survive(point: str) -> dict[str, Any]:
        folder = tmp_path / point
        folder.mkdir()
        env = front_env(folder, chain.back)
        task_id, key = killed_while_sending(folder, env, point)
        with live_server(folder, **env) as front:
            answer = front.client(key).get(f"/v1/videos/{task_id}", headers={"prefer": "wait=40"})
            task: dict[str, Any] = answer.json()
            return task

    with ThreadPoolExecutor(len(DYING)) as pool:
        tasks = list(pool.map(survive, DYING))
    for task in tasks:
        assert (task["status"], task["billing"]["cost"]) == ("completed", "0.05")
        assert chain.behind(task)["billing"] == task["billing"]


def killed_while_sending(folder: Path, env: dict[str, str], point: str) -> tuple[str, str]:
    """A task whose gateway killed itself at `point`, and the key of its owner."""
    shell = Shell(folder)
    shell.env |= {**QUICK, **env, "REELGATE_DATA_DIR": str(folder / "data")}
    key = shell.json("accounts", "create", "customer", "--credit", "10")["api_key"]
    shell.env["REELGATE_CRASH_AT"] = point
    server = shell.start("serve")
    assert server.stderr is not None
    try:
        ready = next(line for line in server.stderr if line.startswith("reelgate is ready: "))
        body = {"model": "grok-imagine", "prompt": f"killed at {point}", "duration": 1}
        headers = {"authorization": f"Bearer {key}"}
        answer = httpx.post(f"{ready.split()[-1]}/v1/videos", json=body, headers=headers)
        created = answer.json()
        server.communicate(timeout=20)
    finally:
        server.kill()
    assert server.returncode == -9
    return created["id"], key
