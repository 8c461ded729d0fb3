"""All five operations end to end, by every way to give their inputs, with the bills done by hand.

The prices (contract, section 7): an output second 0.05 at 480p and 0.07 at 720p, an input image
0.002, a second of a source 0.01, an added second of an extension 0.05.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reelgate.media.probe import probe_video
from tests.contract.asking import Ask
from tests.contract.conftest import BLUE, GREEN, RED
from tests.support.clips import Picture, decoded
from tests.support.live import Account, Live

Fields = dict[str, Any]
BASE: Fields = {"model": "grok-imagine", "prompt": "black and white"}


@dataclass(frozen=True)
class Made:
    """What a request must come to: the hold, the bill, and the film.

    `{files}` stands for where inputs are served, `{data:NAME}` for one of them as a data URI.
    """

    what: str
    ask: Ask
    operation: str
    held: str
    cost: str
    items: tuple[tuple[str, int, str], ...]
    seconds: int
    pixels: tuple[int, int]
    size: str


def js(**fields: Any) -> Ask:
    return Ask(json={**BASE, **fields})


def form(*files: tuple[str, str], path: str = "/v1/videos", **fields: str) -> Ask:
    model = {} if path.endswith(("edits", "extensions")) else {"model": "grok-imagine"}
    return Ask(path=path, form={**model, "prompt": "black and white", **fields}, files=files)


def text(n: int, tier: str, amount: str) -> tuple[tuple[str, int, str], ...]:
    return ((f"output_second_{tier}", n, amount),)


ONE_480 = text(1, "480p", "0.05")
EDIT_2_480 = (("output_second_480p", 2, "0.10"), ("input_video_second", 2, "0.02"))
EXTEND_2_2 = (("input_video_second", 2, "0.02"), ("extension_second", 2, "0.10"))
WIDE = (854, 480)

TABLE = [
    Made("text", js(duration=1), "text_to_video", "0.05", "0.05", ONE_480, 1, WIDE, "480p"),
    Made(
        "text at 720p by pixels", js(seconds="2", size="720x1280"), "text_to_video", "0.14", "0.14",
        text(2, "720p", "0.14"), 2, (720, 1280), "720x1280",
    ),
    Made(
        "text, the other pixels of 480p", js(duration=1, size="848x480"), "text_to_video", "0.05",
        "0.05", ONE_480, 1, WIDE, "848x480",
    ),
    Made(
        "text at 720p, square", js(duration=1, size="720p", aspect_ratio="1:1"), "text_to_video",
        "0.07", "0.07", text(1, "720p", "0.07"), 1, (720, 720), "720p",
    ),
    Made(
        "image by link", js(duration=1, image="{files}/red.png", aspect_ratio="4:3"),
        "image_to_video", "0.052", "0.052", (*ONE_480, ("input_image", 1, "0.002")), 1, (640, 480),
        "480p",
    ),
    Made(
        "image by data URI", js(duration=1, image="{data:green.jpg}", aspect_ratio="3:4"),
        "image_to_video", "0.052", "0.052", (*ONE_480, ("input_image", 1, "0.002")), 1, (480, 640),
        "480p",
    ),
    Made(
        "image by upload, at its own shape", form(("input_reference", "blue.webp"), seconds="1"),
        "image_to_video", "0.052", "0.052", (*ONE_480, ("input_image", 1, "0.002")), 1, (480, 480),
        "480p",
    ),
    Made(
        "references by link", js(duration=1, images=["{files}/red.png", "{files}/green.jpg"],
                                 aspect_ratio="1:1"),
        "reference_to_video", "0.054", "0.054", (*ONE_480, ("input_image", 2, "0.004")), 1,
        (480, 480), "480p",
    ),
    Made(
        "references, one of each kind", Ask(
            form={**BASE, "seconds": "1", "size": "720p", "aspect_ratio": "1:1",
                  "images[]": "{data:red.png}"},
            files=(("images[]", "green.jpg"), ("images[]", "blue.webp"))),
        "reference_to_video", "0.076", "0.076",
        (("output_second_720p", 1, "0.07"), ("input_image", 3, "0.006")), 1, (720, 720), "720p",
    ),
    Made(
        "edit by link, nothing declared", js(video="{files}/two.mp4"), "edit_video",
        "0.72", "0.12", EDIT_2_480, 2, (160, 120), "480p",  # held: 9 s x (0.07 + 0.01)
    ),
    Made(
        "edit by link, length declared",
        js(video={"url": "{files}/two.mp4"},
           extra_body={"operation": "edit_video", "input_video_seconds": 8}), "edit_video",
        "0.64", "0.12", EDIT_2_480, 2, (160, 120), "480p",  # held: 8 s x (0.07 + 0.01)
    ),
    Made(
        "edit by link, size declared", js(video="{files}/two.mp4", size="480p",
                                          input_video_seconds=3), "edit_video",
        "0.18", "0.12", EDIT_2_480, 2, (160, 120), "480p",  # held: 3 s x (0.05 + 0.01)
    ),
    Made(
        "edit by link, too little declared", js(video="{files}/two.mp4", size="480p",
                                                input_video_seconds=1), "edit_video",
        "0.06", "0.12", EDIT_2_480, 2, (160, 120), "480p",  # the hold grows: 0.06 and then 0.12
    ),
    Made(
        "edit by upload: measured, whatever is said", form(
            ("video", "two.mp4"), size="720p", input_video_seconds="9"), "edit_video",
        "0.12", "0.12", EDIT_2_480, 2, (160, 120), "720p",
    ),
    Made(
        "edit by data URI", js(video="{data:two.mp4}"), "edit_video", "0.12", "0.12", EDIT_2_480, 2,
        (160, 120), "480p",
    ),
    Made(
        "edit at OpenAI's route", form(("video", "two.mp4"), path="/v1/videos/edits"),
        "edit_video", "0.12", "0.12", EDIT_2_480, 2, (160, 120), "480p",
    ),
    Made(
        "extend by link, nothing declared", js(video="{files}/two.mp4", duration=2), "video_extend",
        "0.25", "0.12", EXTEND_2_2, 4, (160, 120), "480p",  # held: 15 x 0.01 + 2 x 0.05
    ),
    Made(
        "extend by link, length declared",
        js(video="{files}/two.mp4", duration=2,
           extra_body={"operation": "video_extend", "input_video_seconds": 8}), "video_extend",
        "0.18", "0.12", EXTEND_2_2, 4, (160, 120), "480p",  # held: 8 x 0.01 + 2 x 0.05
    ),
    Made(
        "extend by upload", form(("video", "two.mp4"), seconds="2"), "video_extend", "0.12", "0.12",
        EXTEND_2_2, 4, (160, 120), "480p",
    ),
    Made(
        "extend at OpenAI's route", form(
            ("video", "two.mp4"), path="/v1/videos/extensions", seconds="2"), "video_extend",
        "0.12", "0.12", EXTEND_2_2, 4, (160, 120), "480p",
    ),
]  # fmt: skip


def filled(value: Any, files: str, inputs: Path) -> Any:
    """A copy of a request with its inputs put in."""
    if isinstance(value, dict):
        return {name: filled(inner, files, inputs) for name, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, files, inputs) for inner in value]
    if isinstance(value, str) and value.startswith("{data:"):
        data = (inputs / value[len("{data:") : -1]).read_bytes()
        return "data:;base64," + base64.b64encode(data).decode()
    return value.replace("{files}", files) if isinstance(value, str) else value


@pytest.mark.parametrize("row", [pytest.param(row, id=row.what) for row in TABLE])
def test_an_operation(row: Made, api: Account, inputs: Path, files: str, tmp_path: Path) -> None:
    asked = row.ask
    ask = Ask(
        path=asked.path,
        json=filled(asked.json, files, inputs),
        form=filled(asked.form, files, inputs),
        files=asked.files,
    )
    answer = ask.send(api.http, inputs)
    assert answer.status_code == 200, answer.text
    task = answer.json()
    assert task["status"] == "queued"
    assert task["operation"] == row.operation
    assert (task["billing"]["max_cost"], task["billing"]["cost"]) == (row.held, None)

    task = api.ended(task["id"])
    assert task["status"] == "completed", task
    assert task["seconds"] == ("2" if row.operation == "video_extend" else str(row.seconds))
    assert task["size"] == row.size
    billing = task["billing"]
    assert billing["currency"] == "USD"
    assert billing["cost"] == row.cost
    assert [(i["item"], i["quantity"], i["amount"]) for i in billing["items"]] == list(row.items)
    assert api.balance() == (f"{100 - float(row.cost):.3f}".removesuffix("0"), "0.00")

    path = tmp_path / "film.mp4"
    path.write_bytes(api.http.get(f"/v1/videos/{task['id']}/content").content)
    film = probe_video(path)
    assert film.codec == "avc1"
    assert abs(film.duration_ms - 1000 * row.seconds) <= 50
    assert (film.width, film.height) == row.pixels


# ---- what is to be seen -------------------------------------------------------------------


def film_of(api: Account, ask: Ask, inputs: Path, folder: Path) -> list[Picture]:
    answer = ask.send(api.http, inputs)
    assert answer.status_code == 200, answer.text
    return bytes_of(api, api.ended(answer.json()["id"])["id"], folder)


def bytes_of(api: Account, task_id: str, folder: Path) -> list[Picture]:
    path = folder / f"{task_id}.mp4"
    path.write_bytes(api.http.get(f"/v1/videos/{task_id}/content").content)
    return decoded(path, (64, 48))


def nearest(picture: Picture) -> set[str]:
    """Which of the three pictures' colours are to be seen."""
    colours = {"red": RED, "green": GREEN, "blue": BLUE}
    found = set()
    for name, colour in colours.items():
        off = abs(picture.astype(int) - colour).max(axis=2)
        if (off < 60).mean() > 0.02:
            found.add(name)
    return found


def test_an_image_is_what_moves(api: Account, inputs: Path, tmp_path: Path) -> None:
    frames = film_of(api, form(("image", "red.png"), seconds="1"), inputs, tmp_path)
    assert len(frames) == 24
    assert all("red" in nearest(frame) for frame in frames)
    assert not any({"green", "blue"} & nearest(frame) for frame in frames)


def test_every_reference_is_shown(api: Account, inputs: Path, tmp_path: Path) -> None:
    names = ("red.png", "green.jpg", "blue.webp")
    ask = form(*(("images[]", name) for name in names), seconds="1", aspect_ratio="1:1")
    frames = film_of(api, ask, inputs, tmp_path)
    assert set().union(*map(nearest, frames)) == {"red", "green", "blue"}


def test_an_edit_is_seen(api: Account, inputs: Path, tmp_path: Path) -> None:
    before = decoded(inputs / "two.mp4", (64, 48))
    after = film_of(api, form(("video", "two.mp4")), inputs, tmp_path)
    assert len(after) == len(before)
    colour = [abs(f[:20].astype(int) - f[:20].mean(axis=2, keepdims=True)).mean() for f in after]
    assert max(colour) < 8  # black and white, as the prompt says
    assert abs(before[0][:20].astype(int) - before[0][:20].mean(axis=2, keepdims=True)).mean() > 30


def test_an_extension_goes_on_from_its_source(api: Account, inputs: Path, tmp_path: Path) -> None:
    source = decoded(inputs / "two.mp4", (64, 48))
    film = film_of(api, form(("video", "two.mp4"), seconds="2"), inputs, tmp_path)
    assert len(film) == 96
    for n in (0, 24, 46):
        assert abs(film[n][:30].astype(int) - source[n][:30]).mean() < 20


# ---- one task as the source of the next ---------------------------------------------------


def test_results_can_be_edited_extended_and_remixed(live: Live) -> None:
    api = live.account()
    first = api.made(duration=2, size="720p")  # 2 x 0.07 = 0.14
    source = {"id": first["id"]}

    edited = api.create(video=source, duration=None)
    assert edited["billing"]["max_cost"] == "0.16"  # 2 x (0.07 + 0.01), measured
    assert edited["remixed_from_video_id"] is None
    edited = api.ended(edited["id"])
    assert (edited["status"], edited["billing"]["cost"]) == ("completed", "0.16")
    assert (edited["seconds"], edited["size"]) == ("2", "720p")

    answer = api.http.post(f"/v1/videos/{first['id']}/remix", json={"prompt": "sepia"})
    assert answer.status_code == 200, answer.text
    remixed = api.ended(answer.json()["id"])
    assert remixed["remixed_from_video_id"] == first["id"]
    assert (remixed["operation"], remixed["billing"]["cost"]) == ("edit_video", "0.16")

    body = {"prompt": "and on", "video": {"id": edited["id"]}, "seconds": "2"}
    answer = api.http.post("/v1/videos/extensions", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["billing"]["max_cost"] == "0.12"  # 2 x 0.01 + 2 x 0.05
    extended = api.ended(answer.json()["id"])
    assert (extended["status"], extended["billing"]["cost"]) == ("completed", "0.12")
    assert (extended["seconds"], extended["size"]) == ("2", "720p")
    assert api.balance() == ("99.42", "0.00")  # 100 - 0.14 - 0.16 - 0.16 - 0.12


def test_a_task_without_a_video_is_no_source(api: Account) -> None:
    pending = api.create(prompt="[sandbox:slow=600]")
    for status, then in (("queued|in_progress", api.cancelled), ("failed", api.ended)):
        answer = api.http.post(
            "/v1/videos/edits", json={"prompt": "x", "video": {"id": pending["id"]}}
        )
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (400, "video"), error
        assert any(word in error["message"] for word in status.split("|")), error
        assert "completed" in error["message"]
        then(pending["id"])
    assert api.balance() == ("100.00", "0.00")


# ---- sources that turn out otherwise ------------------------------------------------------


@dataclass(frozen=True)
class Ends:
    what: str
    fields: Fields
    code: str
    says: tuple[str, ...]


BAD_SOURCES = [
    Ends("too long", {"video": "{files}/ten.mp4", "input_video_seconds": 4}, "invalid_input",
         ("10 s", "1 to 8.7 s")),
    Ends("too short", {"video": "{files}/half.mp4", "duration": 2}, "invalid_input",
         ("0.5 s", "2 to 15 s")),
    Ends("another codec", {"video": "{files}/mpeg4.mp4"}, "invalid_input", ("H.264",)),
    Ends("no video", {"video": "{files}/red.png"}, "invalid_input", ()),
    Ends("not there", {"video": "{files}/none.mp4"}, "input_unreachable", ()),
    Ends("no picture", {"image": "{files}/two.mp4", "duration": 1}, "invalid_input", ()),
    Ends("no picture there", {"images": ["{files}/none.png"], "duration": 1}, "input_unreachable",
         ()),
]  # fmt: skip


@pytest.mark.parametrize("row", [pytest.param(row, id=row.what) for row in BAD_SOURCES])
def test_a_bad_source_costs_nothing(row: Ends, api: Account, inputs: Path, files: str) -> None:
    answer = js(**filled(row.fields, files, inputs)).send(api.http)
    assert answer.status_code == 200, answer.text
    task = api.ended(answer.json()["id"])
    assert task["status"] == "failed"
    assert task["error"]["code"] == row.code, task["error"]
    for piece in row.says:
        assert piece in task["error"]["message"]
    assert files not in task["error"]["message"]
    assert (task["billing"]["cost"], task["billing"]["items"]) == ("0.00", [])
    assert api.balance() == ("100.00", "0.00")


def test_a_hold_that_can_not_grow_ends_the_task(live: Live, files: str) -> None:
    api = live.account("0.10")  # declared 1 s: 0.06 held; measured 2 s: 0.12 needed
    ask = js(video=f"{files}/two.mp4", size="480p", input_video_seconds=1)
    answer = ask.send(api.http)
    assert answer.json()["billing"]["max_cost"] == "0.06"
    task = api.ended(answer.json()["id"])
    assert task["error"]["code"] == "insufficient_balance"
    assert "0.12" in task["error"]["message"]
    assert task["billing"]["cost"] == "0.00"
    assert api.balance() == ("0.10", "0.00")
