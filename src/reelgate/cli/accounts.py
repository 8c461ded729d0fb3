"""`reelgate accounts`: customers, their money and how it moved."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import typer
from msgspec import to_builtins

from reelgate.api.admin_wire import AccountCard, KeyCard, account_card, key_card
from reelgate.api.money_wire import ledger_page
from reelgate.cli import library
from reelgate.cli.output import Json, print_columns, print_fields, print_json, when_s
from reelgate.domain.errors import OperatorError
from reelgate.domain.money import parse_usd
from reelgate.flows import accounts as account_flows
from reelgate.flows.gateway import Gateway
from reelgate.store import accounts, ledger
from reelgate.store.accounts import Account

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
    made = await account_flows.create_key(gateway, account.id)
    ids = {"account_id": account.id, "key_id": made.key.id, "api_key": made.secret}
    return {**ids, **to_builtins(account_card(account))}


# ---- list, show ---------------------------------------------------------------------------


@app.command("list")
def list_accounts(*, as_json: Json = False) -> None:
    """All accounts."""
    found = [account_card(account) for account in library.run(_all)]
    if as_json:
        print_json({"object": "list", "data": found})
        return
    rows = [(card.id, card.name, card.available, card.held) for card in found]
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
    print_fields(found["account"])
    print()
    print_keys(found["keys"])
    print()
    entries = [
        (when_s(e.created_at), e.kind, e.available_change, e.available, e.task_id or e.note or "")
        for e in found["ledger"]
    ]
    print_columns(("AT", "KIND", "AVAILABLE BY", "TO", "FOR"), entries)


async def _show(gateway: Gateway, *, name: str) -> dict[str, Any]:
    account = await library.find_account(gateway, name)
    keys = await gateway.db.read(lambda tx: accounts.list_keys(tx, account.id))
    entries = await gateway.db.read(
        lambda tx: ledger.statement(tx, account.id, after_id=None, limit=_ENTRIES_SHOWN)
    )
    return {
        "account": account_card(account),
        "keys": [key_card(key) for key in keys],
        "ledger": ledger_page(entries, has_more=len(entries) == _ENTRIES_SHOWN).data,
    }


def print_keys(keys: Sequence[KeyCard]) -> None:
    """Keys as a table; never the keys themselves."""
    rows = [
        (key.id, key.name, key.hint, when_s(key.expires_at), when_s(key.revoked_at)) for key in keys
    ]
    print_columns(("KEY", "NAME", "ENDS IN", "EXPIRES", "REVOKED"), rows)


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
    print(f"available   {done['account'].available} USD")


async def _credit(
    gateway: Gateway, *, name: str, amount_micro: int, reference: str | None, comment: str
) -> dict[str, Any]:
    account = await library.find_account(gateway, name)
    credited = await account_flows.credit(
        gateway, account.id, amount_micro, reference=reference, note=comment
    )
    after = await library.find_account(gateway, account.id)
    return {"object": "credit", "credited": credited, "account": account_card(after)}


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
        print(f"available   {done.available} USD")


async def _adjust(gateway: Gateway, *, name: str, amount_micro: int, comment: str) -> AccountCard:
    account = await library.find_account(gateway, name)
    return account_card(await account_flows.adjust(gateway, account.id, amount_micro, note=comment))
