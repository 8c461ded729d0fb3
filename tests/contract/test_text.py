"""Prompts in any language, with any character, come back byte for byte; NUL is refused."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterator

import pytest

from tests.contract.asking import Ask, Untouched, check_refusal, create
from tests.support.live import Account, Live

END = " [sandbox:refuse]"
CHUNK = 4096 - len(END)

PROMPTS = {
    "Arabic": "قارب ورقي يعبر الميناء تحت ضوء القمر",
    "Hebrew, with points": "סִירַת נְיָר חוֹצָה אֶת הַנָּמֵל",
    "Hindi": "चाँदनी रात में बंदरगाह पार करती काग़ज़ की नाव",
    "Tamil": "நிலவொளியில் காகிதப் படகு",
    "Thai": "เรือกระดาษข้ามท่าเรือใต้แสงจันทร์",
    "Khmer": "ទូកក្រដាសឆ្លងកាត់កំពង់ផែ",
    "Chinese": "一只纸船穿过月光下的港口",
    "Japanese": "月明かりの港を渡る紙の舟、ﾊﾝｶｸ",
    "Korean, composed and not": "달빛 항구 달빛",
    "Greek and Cyrillic": "Χάρτινη βάρκα · Бумажный кораблик",
    "Georgian": "ქაღალდის ნავი",
    "Amharic": "የወረቀት ጀልባ",
    "Yoruba, combining": "ọkọ̀ ojú omi",
    "Egyptian": "𓊛𓏏𓈗",
    "a family": "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 👍🏽",
    "both directions": "left \u202eright\u202c \u2066isolated\u2069",
    "blanks are kept": "  two\u00a0blanks\u3000and\t tabs \n\n\r\nlines \u2028 \u2029 ",
    "quotes and slashes": "\"it's\" \\ / \\u0041 \\n %41 + & ; = &amp; ${y} '); DROP TABLE--",
    "unusual": "\ufeffmark \u200bzero \u00adsoft \ufffd \uffff \U0010ffff \x01\x1f\x7f\x85",
    "looks like JSON": '{"operation": "edit_video"}',
    "looks like a list": "[1, 2]",
    "looks like a number": "1e400",
    "looks like nothing": "null",
}


@pytest.fixture(scope="module")
def account(either: Live) -> Account:
    return either.account("1000")


def come_back(account: Account, ask: Ask, prompt: str) -> str:
    """The id of a task whose prompt came back as it was sent, wherever it is shown."""
    answer = ask.send(account.http)
    assert answer.status_code == 200, answer.text
    task_id: str = answer.json()["id"]
    again = account.http.get(f"/v1/videos/{task_id}")
    assert answer.json()["prompt"] == again.json()["prompt"] == prompt
    assert prompt.encode() == json.loads(again.content)["prompt"].encode()
    return task_id


@pytest.mark.parametrize("text", PROMPTS.values(), ids=PROMPTS)
def test_a_prompt_comes_back(account: Account, text: str) -> None:
    prompt = text + END
    fields = {"model": "grok-imagine", "prompt": prompt, "duration": "1"}
    utf8 = {"content-type": "application/json"}
    come_back(account, create(prompt=prompt), prompt)
    raw = json.dumps(fields, ensure_ascii=False).encode()
    come_back(account, Ask(content=raw, headers=utf8), prompt)
    come_back(account, Ask(content=json.dumps(fields).encode(), headers=utf8), prompt)
    come_back(account, Ask(form=fields), prompt)
    task_id = come_back(account, Ask(pairs=tuple(fields.items())), prompt)
    assert account.ended(task_id)["prompt"] == prompt
    assert account.http.get("/v1/videos?limit=1").json()["data"][0]["prompt"] == prompt


@pytest.mark.parametrize("text", PROMPTS.values(), ids=PROMPTS)
def test_user_and_metadata_come_back(account: Account, text: str) -> None:
    name = text.strip()[:16]
    ask = create(prompt=END, user=text, metadata={name: text, "k": "v"})
    answer = ask.send(account.http)
    assert answer.status_code == 200, answer.text
    assert answer.json()["metadata"] == {name: text, "k": "v"}
    again = account.http.get(f"/v1/videos/{answer.json()['id']}")
    assert again.json()["metadata"] == {name: text, "k": "v"}


def everything() -> Iterator[str]:
    """All characters that Unicode knows, in prompts as long as they may be."""
    known = [
        chr(code)
        for code in range(1, sys.maxunicode + 1)
        if unicodedata.category(chr(code)) not in {"Cn", "Cs", "Co"}
    ]
    for start in range(0, len(known), CHUNK):
        yield "".join(known[start : start + CHUNK])


def test_every_character_comes_back(account: Account) -> None:
    for text in everything():
        prompt = text + END
        come_back(account, create(prompt=prompt), prompt)
        come_back(account, Ask(form={**create().json, "prompt": prompt, "duration": "1"}), prompt)


def test_the_longest_prompt_is_counted_in_characters(account: Account) -> None:
    longest = "🎬" * CHUNK + END
    come_back(account, create(prompt=longest), longest)
    come_back(account, create(prompt=f" \n{longest} \n"), f" \n{longest} \n")
    answer = create(prompt=f"x{longest}").send(account.http)
    check_refusal(answer, 400, "invalid_value", "prompt")


NUL = {
    "in JSON": Ask(
        content=b'{"model": "grok-imagine", "prompt": "a\\u0000b", "duration": 1}',
        headers={"content-type": "application/json"},
    ),
    "in multipart": Ask(form={"model": "grok-imagine", "prompt": "a\0b", "seconds": "1"}),
    "in a form": Ask(pairs=(("model", "grok-imagine"), ("prompt", "a\0b"), ("seconds", "1"))),
}


@pytest.mark.parametrize("ask", NUL.values(), ids=NUL)
def test_nul_in_a_prompt(either: Live, ask: Ask) -> None:
    account = either.account()
    untouched = Untouched(account)
    message = check_refusal(ask.send(account.http), 400, "invalid_value", "prompt")
    assert "U+0000" in message
    untouched.check()


@pytest.mark.parametrize(
    ("fields", "param", "status", "code"),
    [
        ({"user": "\0"}, "user", 400, "invalid_value"),
        ({"metadata": {"\0": "x"}}, "metadata", 400, "invalid_value"),
        ({"metadata": {"x": "\0"}}, "metadata", 400, "invalid_value"),
        ({"model": "\0"}, "model", 400, "invalid_value"),
        ({"size": "\0"}, "size", 400, "invalid_value"),
        ({"aspect_ratio": "\0"}, "aspect_ratio", 400, "invalid_value"),
        ({"operation": "\0"}, "operation", 400, "invalid_value"),
        ({"duration": "1\0"}, "duration", 400, "invalid_value"),
        ({"image": "https://x.example/\0"}, "image", 400, "invalid_value"),
        ({"video": {"id": "\0"}, "duration": None}, "video", 404, "task_not_found"),
        ({"\0": "x"}, "\0", 400, "unknown_parameter"),
    ],
)
def test_nul_anywhere_else(
    either: Live, fields: dict[str, object], param: str, status: int, code: str
) -> None:
    account = either.account()
    untouched = Untouched(account)
    check_refusal(create(**fields).send(account.http), status, code, param)
    untouched.check()


def test_the_log_knows_no_prompt_no_key_and_no_link(live: Live) -> None:
    account = live.account()
    task = account.made(prompt="a secret boat", user="a secret user", metadata={"k": "a secret"})
    account.http.get(task["metadata"]["url"])
    create(prompt="a secret boat", duration=99).send(account.http)
    live.client(account.key[:-1] + "_").get("/v1/videos")
    log = live.log()
    assert task["id"] in log
    assert "secret" not in log
    assert account.key[3:20] not in log
    assert "sig=" not in log
