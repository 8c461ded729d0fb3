"""`reelgate keys`: API keys, their limits and their end."""

from functools import partial
from typing import Annotated

import typer

from reelgate.api.admin_wire import KeyCard, key_card
from reelgate.cli import library
from reelgate.cli.accounts import amount, print_keys
from reelgate.cli.output import Json, print_json, when_s
from reelgate.domain.errors import OperatorError
from reelgate.flows import accounts as account_flows
from reelgate.flows.gateway import Gateway
from reelgate.store import accounts
from reelgate.store.accounts import Limits

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)

_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000

KeyId = Annotated[str, typer.Argument(metavar="KEY_ID", help="key_…, from `reelgate keys list`.")]
Owner = Annotated[str | None, typer.Argument(metavar="ACCOUNT", help="Its id or name.")]
Admin = Annotated[bool, typer.Option("--admin", help="Of the operator, not of an account.")]
Usd = Annotated[str | None, typer.Option(metavar="USD")]


@app.callback()
def _keys() -> None:
    """Create, list, rotate and revoke API keys, in the database that the settings here name."""


@app.command()
def create(
    account: Owner = None,
    *,
    admin: Admin = False,
    name: Annotated[str, typer.Option(help="What it is for.")] = "default",
    expires_in_days: Annotated[int | None, typer.Option(min=1, max=36_500)] = None,
    model: Annotated[list[str] | None, typer.Option(help="Only for this; repeatable.")] = None,
    spend_day_max: Usd = None,
    spend_month_max: Usd = None,
    spend_total_max: Usd = None,
    requests_per_second_max: Annotated[int | None, typer.Option(min=1)] = None,
    tasks_in_flight_max: Annotated[int | None, typer.Option(min=1)] = None,
    as_json: Json = False,
) -> None:
    """A new key of an account, or an admin key; it is shown this once."""
    _check_owner(account, admin=admin)
    limits = Limits(
        models=tuple(model) if model else None,
        spend_day_max_micro=amount(spend_day_max) if spend_day_max else None,
        spend_month_max_micro=amount(spend_month_max) if spend_month_max else None,
        spend_total_max_micro=amount(spend_total_max) if spend_total_max else None,
        requests_per_second_max=requests_per_second_max,
        tasks_in_flight_max=tasks_in_flight_max,
    )
    made = library.run(
        partial(_create, account=account, name=name, days=expires_in_days, limits=limits)
    )
    _print_new(made, as_json=as_json)


def _check_owner(account: str | None, *, admin: bool) -> None:
    if admin == (account is not None):
        raise OperatorError("name an ACCOUNT, or give --admin for a key of the operator")


def _print_new(made: KeyCard, *, as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    print(f"key_id   {made.id}")
    print(f"api_key  {made.api_key}  (shown this once)")


async def _create(
    gateway: Gateway, *, account: str | None, name: str, days: int | None, limits: Limits
) -> KeyCard:
    now_ms = gateway.clock.now_ms()
    made = await account_flows.create_key(
        gateway,
        await _account_id(gateway, account),
        name=name,
        expires_at_ms=now_ms + days * _DAY_MS if days else None,
        limits=limits,
    )
    return key_card(made.key, secret=made.secret)


async def _account_id(gateway: Gateway, account: str | None) -> str | None:
    return (await library.find_account(gateway, account)).id if account else None


@app.command("list")
def list_keys(account: Owner = None, *, admin: Admin = False, as_json: Json = False) -> None:
    """All keys of an account, or the admin keys."""
    _check_owner(account, admin=admin)
    found = library.run(partial(_list, account=account))
    if as_json:
        print_json({"object": "list", "data": found})
    else:
        print_keys(found)


async def _list(gateway: Gateway, *, account: str | None) -> list[KeyCard]:
    account_id = await _account_id(gateway, account)
    keys = await gateway.db.read(lambda tx: accounts.list_keys(tx, account_id))
    return [key_card(key) for key in keys]


@app.command()
def rotate(
    key_id: KeyId,
    *,
    overlap_hours: Annotated[
        int, typer.Option(min=0, max=8_760, help="How long the old one still works.")
    ] = 24,
    as_json: Json = False,
) -> None:
    """A new key in place of an old one, with its name, limits and what it spent."""
    made = library.run(partial(_rotate, key_id=key_id, overlap_ms=overlap_hours * _HOUR_MS))
    _print_new(made, as_json=as_json)


async def _rotate(gateway: Gateway, *, key_id: str, overlap_ms: int) -> KeyCard:
    made = await account_flows.rotate_key(gateway, key_id, overlap_ms=overlap_ms)
    return key_card(made.key, secret=made.secret)


@app.command()
def revoke(
    key_id: KeyId,
    *,
    in_hours: Annotated[
        int, typer.Option(min=0, max=8_760, help="Let it live on while others change over.")
    ] = 0,
    as_json: Json = False,
) -> None:
    """End a key, on every node within seconds."""
    found = library.run(partial(_revoke, key_id=key_id, in_ms=in_hours * _HOUR_MS))
    if as_json:
        print_json(found)
    else:
        print(f"{key_id} ends at {when_s(found.revoked_at)}")


async def _revoke(gateway: Gateway, *, key_id: str, in_ms: int) -> KeyCard:
    return key_card(await account_flows.revoke_key(gateway, key_id, in_ms=in_ms))
