"""`reelgate accounts`: customers, their money and how it moved."""

from functools import partial
from typing import Annotated, Any

import typer

from reelgate.cli import library
from reelgate.cli.output import Json, print_columns, print_json, when
from reelgate.domain.errors import OperatorError
from reelgate.domain.money import parse_usd, usd
from reelgate.flows import accounts as account_flows
from reelgate.flows.gateway import Gateway
from reelgate.store import accounts, ledger
from reelgate.store.accounts import Account, ApiKey

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)

_ENTRIES_SHOWN = 20

AccountName = Annotated[str, typer.Argument(metavar="ACCOUNT", help="Its id or name.")]


@app.callback()
def _accounts() -> None:
    """Create, list, credit and correct accounts, in the database that the settings here name."""


def amount(text: str) -> int:
    """Micro-USD of an amount on the command line. Raises OperatorError."""
    try:
        return parse_usd(text)
    except ValueError as error:
        raise OperatorError(str(error)) from None


# ---- create -------------------------------------------------------------------------------


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that no other account has.")],
    *,
    credit: Annotated[str, typer.Option(metavar="USD", help="Money to begin with.")] = "0",
    as_json: Json = False,
) -> None:
    """A new account and its first API key, which is shown this once."""
    made = library.run(partial(_create, name=name, credit_micro=amount(credit)))
    if as_json:
        print_json(made)
        return
    print(f"account_id  {made['account_id']}")
    print(f"api_key     {made['api_key']}  (shown this once)")
    print(f"available   {made['available']} USD")


async def _create(gateway: Gateway, *, name: str, credit_micro: int) -> dict[str, Any]:
    account = await account_flows.create_account(gateway, name, credit_micro)
    key = await account_flows.create_key(gateway, account.id)
    return {**_plain(account), "key_id": key.key.id, "api_key": key.secret}


# ---- list, show ---------------------------------------------------------------------------


@app.command("list")
def list_accounts(*, as_json: Json = False) -> None:
    """All accounts."""
    found = [_plain(account) for account in library.run(_all)]
    if as_json:
        print_json({"accounts": found})
        return
    rows = [(a["account_id"], a["name"], a["available"], a["held"]) for a in found]
    print_columns(("ACCOUNT", "NAME", "AVAILABLE USD", "HELD USD"), rows)


async def _all(gateway: Gateway) -> list[Account]:
    return await gateway.db.read(accounts.list_accounts)


@app.command()
def show(account: AccountName, *, as_json: Json = False) -> None:
    """One account: its money, its keys, and the newest entries of its ledger."""
    found = library.run(partial(_show, name=account))
    if as_json:
        print_json(found)
        return
    for field in ("account_id", "name", "created_at", "available", "held"):
        print(f"{field}: {found[field]}")
    print()
    keys = [(k["key_id"], k["name"], k["hint"], k["state"]) for k in found["keys"]]
    print_columns(("KEY", "NAME", "ENDS IN", "STATE"), keys)
    print()
    entries = [
        (e["at"], e["kind"], e["usd"], e["available_after"], e["task_id"] or e["note"] or "")
        for e in found["ledger"]
    ]
    print_columns(("AT", "KIND", "USD", "AVAILABLE AFTER", "FOR"), entries)


async def _show(gateway: Gateway, *, name: str) -> dict[str, Any]:
    account = await library.find_account(gateway, name)
    now_ms = gateway.clock.now_ms()
    keys = await gateway.db.read(lambda tx: accounts.list_keys(tx, account.id))
    entries = await gateway.db.read(
        lambda tx: ledger.statement(tx, account.id, before_id=None, limit=_ENTRIES_SHOWN)
    )
    return {
        **_plain(account),
        "keys": [plain_key(key, now_ms) for key in keys],
        "ledger": [
            {
                "at": when(entry.at_ms),
                "kind": entry.kind,
                "usd": usd(entry.amount_micro),
                "available_after": usd(entry.available_after_micro),
                "held_after": usd(entry.held_after_micro),
                "task_id": entry.task_id,
                "reference": entry.reference,
                "note": entry.note,
            }
            for entry in entries
        ],
    }


# ---- credit -------------------------------------------------------------------------------


@app.command()
def credit(
    account: AccountName,
    usd_amount: Annotated[str, typer.Argument(metavar="USD", help="How much, like 25.00.")],
    *,
    reference: Annotated[
        str | None, typer.Option(help="Your name for the payment; it is credited once.")
    ] = None,
    comment: Annotated[str, typer.Option("--note", help="Kept with the entry.")] = "",
    as_json: Json = False,
) -> None:
    """Add money to an account."""
    done = library.run(
        partial(
            _credit,
            name=account,
            amount_micro=amount(usd_amount),
            reference=reference,
            comment=comment,
        )
    )
    if as_json:
        print_json(done)
        return
    if not done["credited"]:
        print(f"{reference} was credited before; nothing has changed")
    print(f"available   {done['available']} USD")


async def _credit(
    gateway: Gateway, *, name: str, amount_micro: int, reference: str | None, comment: str
) -> dict[str, Any]:
    account = await library.find_account(gateway, name)
    credited = await account_flows.credit(
        gateway, account.id, amount_micro, reference=reference, note=comment
    )
    return {**_plain(await library.find_account(gateway, account.id)), "credited": credited}


@app.command()
def adjust(
    account: AccountName,
    *,
    by: Annotated[str, typer.Option(metavar="USD", help="How much, like 2.50 or -2.50.")],
    comment: Annotated[str, typer.Option("--note", help="Why; kept with the entry.")],
    as_json: Json = False,
) -> None:
    """Correct an account's money, up or down. What running tasks hold can't be taken."""
    done = library.run(partial(_adjust, name=account, amount_micro=amount(by), comment=comment))
    if as_json:
        print_json(done)
    else:
        print(f"available   {done['available']} USD")


async def _adjust(
    gateway: Gateway, *, name: str, amount_micro: int, comment: str
) -> dict[str, Any]:
    account = await library.find_account(gateway, name)
    return _plain(await account_flows.adjust(gateway, account.id, amount_micro, note=comment))


# ---- shared -------------------------------------------------------------------------------


def _plain(account: Account) -> dict[str, Any]:
    return {
        "account_id": account.id,
        "name": account.name,
        "available": usd(account.posted_micro - account.held_micro),
        "held": usd(account.held_micro),
        "created_at": when(account.created_at_ms),
    }


def plain_key(key: ApiKey, now_ms: int) -> dict[str, Any]:
    """A key as it may be shown: never the key itself."""
    limits = key.limits
    spend = {
        "spend_day_max": limits.spend_day_max_micro,
        "spend_month_max": limits.spend_month_max_micro,
        "spend_total_max": limits.spend_total_max_micro,
    }
    state = (
        "usable" if key.usable(now_ms) else "expired" if key.revoked_at_ms is None else "revoked"
    )
    return {
        "key_id": key.id,
        "account_id": key.account_id,
        "name": key.name,
        "hint": key.hint,
        "kind": key.kind,
        "state": state,
        "created_at": when(key.created_at_ms),
        "expires_at": when(key.expires_at_ms),
        "revoked_at": when(key.revoked_at_ms),
        "models": list(limits.models) if limits.models is not None else None,
        **{name: None if micro is None else usd(micro) for name, micro in spend.items()},
        "requests_per_second_max": limits.requests_per_second_max,
        "tasks_in_flight_max": limits.tasks_in_flight_max,
    }
