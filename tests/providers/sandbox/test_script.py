"""Tags in a prompt: what is read, what is refused, what is left to show."""

from dataclasses import fields

import pytest

from reelgate.providers.base import Verdict
from reelgate.providers.sandbox.script import ALWAYS, TAGS, BadScript, Script, read_script

READ = [
    ("[sandbox:refuse]", Script(refuse=True)),
    ("[sandbox:busy=2]", Script(busy=2)),
    ("[sandbox:lost-reply]", Script(lost_reply=True)),
    ("[sandbox:fail]", Script(verdict=Verdict.FAILED)),
    ("[sandbox:moderated]", Script(verdict=Verdict.MODERATED)),
    ("[sandbox:expired]", Script(verdict=Verdict.EXPIRED)),
    ("[sandbox:input-unreachable]", Script(verdict=Verdict.INPUT_UNREACHABLE)),
    ("[sandbox:slow=30]", Script(slow_ms=30_000)),
    ("[sandbox:slow=2.5]", Script(slow_ms=2_500)),
    ("[sandbox:slow=0.001]", Script(slow_ms=1)),
    ("[sandbox:slow=86400]", Script(slow_ms=86_400_000)),
    ("[sandbox:no-progress]", Script(no_progress=True)),
    ("[sandbox:poll-trouble=3]", Script(poll_trouble=3)),
    ("[sandbox:no-cancel]", Script(no_cancel=True)),
    ("[sandbox:garbage]", Script(garbage=True)),
    ("[sandbox:unreachable]", Script(unreachable=ALWAYS)),
    ("[sandbox:unreachable=1]", Script(unreachable=1)),
    ("[sandbox:result-unreachable]", Script(unreachable=ALWAYS)),
    ("[sandbox:truncated=4]", Script(truncated=4)),
    ("[sandbox:cost=0]", Script(cost_ticks=0)),
    ("[sandbox:cost=4200000000]", Script(cost_ticks=4_200_000_000)),
    ("[SandBox:FAIL]", Script(verdict=Verdict.FAILED)),
    ("[sandbox: slow = 1 ]", Script(slow_ms=1_000)),
    ("[sandbox:slow=1][sandbox:slow=2]", Script(slow_ms=2_000)),
    ("no tag [sandbox] sandbox:fail [sandbox:fail", Script()),
]


@pytest.mark.parametrize(("prompt", "script"), READ)
def test_reads_tags(prompt: str, script: Script) -> None:
    assert read_script(prompt)[0] == script


def test_every_tag_is_read_by_a_row_above() -> None:
    read = {name for prompt, _ in READ for name in prompt.strip("[]").split(":")[-1:]}
    assert {tag.name for tag in TAGS} <= {name.partition("=")[0] for name in read}


def test_every_part_of_a_script_has_a_tag() -> None:
    settable = {name for tag in TAGS for name in (*(tag.sets or {}), tag.field) if name}
    assert settable == {part.name for part in fields(Script)}


@pytest.mark.parametrize(
    ("prompt", "shown"),
    [
        ("a boat [sandbox:fail]", "a boat"),
        ("[sandbox:fail] a boat", "a boat"),
        ("a [sandbox:slow=3] boat\n[SANDBOX:cost=1]", "a boat"),
        ("[sandbox:fail]", ""),
        ("a  boat,\n[two] lines ", "a  boat,\n[two] lines"),
        ("船 [sandbox:slow=1] ⛵", "船 ⛵"),
    ],
)
def test_leaves_the_rest_of_the_prompt_as_it_is(prompt: str, shown: str) -> None:
    assert read_script(prompt)[1] == shown


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("[sandbox:flail]", ["[sandbox:flail]", *(tag.usage for tag in TAGS)]),
        ("[sandbox:]", ["[sandbox:]", "fail, moderated"]),
        ("[sandbox:slow]", ["[sandbox:slow=SECONDS]"]),
        ("[sandbox:slow=soon]", ["SECONDS", "0 to 86400", "'soon'"]),
        ("[sandbox:slow=-1]", ["0 to 86400", "'-1'"]),
        ("[sandbox:slow=1.2345]", ["three decimals"]),
        ("[sandbox:slow=86400.001]", ["0 to 86400"]),
        ("[sandbox:slow=٣]", ["0 to 86400"]),
        ("[sandbox:busy=0]", ["whole number from 1 to 1000000"]),
        ("[sandbox:busy=1000001]", ["whole number from 1 to 1000000"]),
        ("[sandbox:unreachable=]", ["[sandbox:unreachable[=N]]", "''"]),
        ("[sandbox:cost=0.5]", ["TICKS", "'0.5'"]),
        ("[sandbox:fail=1]", ["[sandbox:fail] takes nothing", "'1'"]),
        ("[sandbox:flail] [sandbox:busy]", ["[sandbox:flail]", "[sandbox:busy=N]"]),
    ],
)
def test_refuses_what_it_does_not_know_and_says_what_it_does(prompt: str, words: list[str]) -> None:
    with pytest.raises(BadScript) as refused:
        read_script(prompt)
    for word in words:
        assert word in str(refused.value)


def test_a_long_prompt_of_brackets_is_read_at_once() -> None:
    prompt = "[sandbox:" * 100_000 + " " * 100_000
    assert read_script(prompt) == (Script(), prompt.strip())
