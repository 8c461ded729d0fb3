"""`accounts`, `keys`, `tasks`, `doctor`, `migrate`, `upstreams`: on both databases."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.conftest import Ran, Run


@pytest.fixture
def on(run: Run, database_url: str, tmp_path: Path) -> Run:
    """`run` on a fresh database."""

    def run_there(*args: str, **env: str) -> Ran:
        data = {"REELGATE_DATABASE_URL": database_url, "REELGATE_DATA_DIR": str(tmp_path / "data")}
        return run(*args, **data, **env)

    return run_there


def test_an_account_is_created_with_money_and_a_key(on: Run) -> None:
    ran = on("accounts", "create", "ann", "--credit", "12.50", "--json")
    assert ran.code == 0
    assert ran.json["account_id"].startswith("acct_")
    assert ran.json["api_key"].startswith("sk-")
    assert (ran.json["available"], ran.json["held"]) == ("12.50", "0.00")
    (listed,) = on("accounts", "list", "--json").json["data"]
    assert listed["id"] == ran.json["account_id"]
    shown = on("accounts", "show", "ann", "--json").json
    assert [key["id"] for key in shown["keys"]] == [ran.json["key_id"]]
    assert [(e["kind"], e["amount"]) for e in shown["ledger"]] == [("credit", "12.50")]


def test_a_key_is_shown_once(on: Run) -> None:
    key = on("accounts", "create", "ann", "--json").json["api_key"]
    for args in (["accounts", "show", "ann"], ["keys", "list", "ann"]):
        for form in ([], ["--json"]):
            assert key not in on(*args, *form).out


def test_people_can_read_it_too(on: Run) -> None:
    created = on("accounts", "create", "ann", "--credit", "1")
    assert re.search(r"^account_id +acct_\w+$", created.out, re.MULTILINE)
    assert re.search(r"^api_key +sk-\w+  \(shown this once\)$", created.out, re.MULTILINE)
    assert on("accounts", "list").out.splitlines()[1].split()[1:] == ["ann", "1.00", "0.00"]
    shown = on("accounts", "show", "ann").out
    assert "available: 1.00\n" in shown
    assert "credit  1.00" in shown
    assert on("keys", "list", "ann").out.splitlines()[1].split()[1] == "default"
    assert on("tasks", "list").out.split() == (
        ["TASK", "CREATED", "STATE", "DONE", "OPERATION", "USD", "PROMPT"]
    )


def test_a_credit_with_a_reference_counts_once(on: Run) -> None:
    on("accounts", "create", "ann")
    args = ["accounts", "credit", "ann", "2.50", "--reference", "inv-1", "--note", "paid", "--json"]
    first, again = on(*args), on(*args)
    assert (first.json["credited"], first.json["account"]["available"]) == (True, "2.50")
    assert (again.json["credited"], again.json["account"]["available"]) == (False, "2.50")
    other = on("accounts", "credit", "ann", "3", "--reference", "inv-1")
    assert other.code == 2
    assert "was credited before, with another amount" in other.err


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["accounts", "create", "ann"], 2, "there is an account named 'ann' already"),
        (["accounts", "create", "bob", "--credit", "x"], 2, "'x' is not an amount in USD"),
        (["accounts", "create", "bob", "--credit", "-1"], 2, "an amount is between 0 and"),
        (["accounts", "credit", "ann", "0"], 2, "more than 0"),
        (["accounts", "credit", "bob", "1"], 3, "there is no account bob; `reelgate accounts"),
        (["accounts", "show", "bob"], 3, "there is no account bob"),
        (["keys", "create", "bob"], 3, "there is no account bob"),
        (
            ["keys", "create", "ann", "--model", "sora"],
            2,
            "there is no model 'sora'; there is grok-im",
        ),
        (["keys", "list", "bob"], 3, "there is no account bob"),
        (["keys", "list"], 2, "name an ACCOUNT, or give --admin"),
        (["keys", "create", "ann", "--admin"], 2, "name an ACCOUNT, or give --admin"),
        (["keys", "rotate", "key_x"], 3, "there is no key key_x"),
        (["accounts", "adjust", "ann", "--by", "-1", "--note", "x"], 5, "only 0.00 USD is avail"),
        (["accounts", "adjust", "ann", "--by", "1", "--note", " "], 2, "needs a note"),
        (["keys", "revoke", "key_x"], 3, "there is no key key_x"),
        (["tasks", "list", "--account", "bob"], 3, "there is no account bob"),
        (["tasks", "show", "task_x"], 3, "there is no task task_x"),
        (["tasks", "cancel", "task_x"], 3, "there is no task task_x"),
        (["tasks", "resolve", "task_x", "--outcome", "queued"], 3, "there is no task task_x"),
        (["tasks", "resolve", "task_x", "--outcome", "failed"], 2, "--outcome failed takes --up"),
        (["tasks", "resolve", "task_x", "--outcome", "running"], 2, "running takes --upstream-r"),
        (["upstreams", "check", "nobody"], 3, "there is no upstream nobody; there is sandbox"),
        (["upstreams", "disable", "nobody"], 3, "there is no upstream nobody; there is sandbox"),
        (["report", "--from", "yesterday"], 2, "is not a day such as 2026-11-22"),
        (["report", "--by", "week"], 2, "use some of day, model, upstream, operation, account"),
        (["report", "--csv", "--json"], 2, "--csv and --json were given together"),
    ],
)
def test_what_is_refused(on: Run, args: list[str], code: int, said: str) -> None:
    on("accounts", "create", "ann")
    ran = on(*args)
    assert (ran.code, ran.err.count("\n")) == (code, 1)
    assert said in ran.err


def test_a_key_with_limits_and_its_end(on: Run) -> None:
    on("accounts", "create", "ann")
    made = on(
        "keys", "create", "ann", "--name", "site", "--expires-in-days", "2",
        "--model", "grok-imagine", "--spend-day-max", "1.50", "--tasks-in-flight-max", "3",
        "--json",
    ).json  # fmt: skip
    assert (made["name"], made["limits"]["models"]) == ("site", ["grok-imagine"])
    limits = made["limits"]
    assert (limits["spend_day_max"], limits["spend_total_max"]) == ("1.50", None)
    assert limits["tasks_in_flight_max"] == 3
    assert made["expires_at"] - made["created_at"] == 2 * 86_400
    later = on("keys", "revoke", made["id"], "--in-hours", "5", "--json").json
    now = on("keys", "revoke", made["id"], "--json").json
    assert now["revoked_at"] < later["revoked_at"]
    assert now["api_key"] is None


def test_a_correction(on: Run) -> None:
    on("accounts", "create", "ann", "--credit", "5")
    down = on("accounts", "adjust", "ann", "--by", "-1.25", "--note", "typing error", "--json")
    assert (down.code, down.json["available"]) == (0, "3.75")
    assert on("accounts", "adjust", "ann", "--by", "1", "--note", "no").out.split()[1] == "4.75"
    assert on("doctor").code == 0


def test_a_key_is_rotated_with_overlap(on: Run) -> None:
    old = on("accounts", "create", "ann", "--json").json["key_id"]
    new = on("keys", "rotate", old, "--overlap-hours", "2", "--json").json
    keys = {key["id"]: key for key in on("keys", "list", "ann", "--json").json["data"]}
    assert keys[old]["revoked_at"] >= keys[new["id"]]["created_at"] + 7_100
    assert keys[new["id"]]["revoked_at"] is None
    assert new["api_key"].startswith("sk-")


def test_admin_keys_belong_to_nobody(on: Run) -> None:
    made = on("keys", "create", "--admin", "--name", "ops", "--json").json
    assert made["api_key"].startswith("sk-admin-")
    assert (made["account_id"], made["kind"]) == (None, "admin")
    (listed,) = on("keys", "list", "--admin", "--json").json["data"]
    assert listed["id"] == made["id"]


def test_the_doctor_finds_a_fresh_installation_well(on: Run) -> None:
    on("accounts", "create", "ann", "--credit", "5")
    ran = on("doctor", "--json")
    assert (ran.code, ran.json) == (0, {"broken": [], "stranded": []})
    assert on("doctor", "--quick").out == "all is well\n"


def test_the_doctors_code_says_when_something_is_broken(
    on: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> list[str]:
        return ["an account is below zero: acct_1"]

    monkeypatch.setattr("reelgate.cli.doctor.check_world", broken)
    ran = on("doctor")
    assert ran.code == 1
    assert ran.out == "broken: an account is below zero: acct_1\nsomething is broken\n"


def test_migrate_says_what_the_database_is_at(on: Run) -> None:
    ran = on("migrate", "--json")
    assert ran.code == 0
    assert ran.json["schema_version"] >= 1


def test_upstreams(on: Run) -> None:
    (sandbox,) = on("upstreams", "list", "--json").json["data"]
    assert (sandbox["name"], sandbox["kind"], sandbox["enabled"]) == ("sandbox", "sandbox", True)
    (checked,) = on("upstreams", "check", "--json").json["upstreams"]
    assert (checked["ok"], checked["reachable"]) == (True, True)


def test_an_upstream_is_switched_off_and_on(on: Run) -> None:
    assert on("upstreams", "disable", "sandbox", "--note", "too slow").out == "sandbox is off\n"
    (card,) = on("upstreams", "list", "--json").json["data"]
    assert (card["enabled"], card["note"]) == (False, "too slow")
    assert re.search(r"off since 2\S+Z too slow", on("upstreams", "list").out)
    assert on("upstreams", "enable", "sandbox", "--json").json["enabled"] is True


def test_an_upstream_that_is_not_there(on: Run) -> None:
    Path("reelgate.toml").write_text(
        '[[upstream]]\nname = "gone"\nkind = "openai"\nbase_url = "http://127.0.0.1:1"\n'
        'models = { grok-imagine = "x" }\nallow_private_network = true\n'
    )
    ran = on("upstreams", "check")
    assert ran.code == 1
    assert ran.out.splitlines()[1].split()[:2] == ["gone", "no"]


def test_a_check_without_the_key(on: Run) -> None:
    Path("reelgate.toml").write_text('[[upstream]]\nname = "main"\nkind = "xai"\n')
    ran = on("upstreams", "check")
    assert (ran.code, "XAI_API_KEY is not set" in ran.err) == (2, True)
