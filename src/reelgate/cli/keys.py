"""`reelgate keys`: API keys, their limits and their end."""

from functools import partial
from typing import Annotated, Any

import typer

from reelgate.catalog import MODELS
from reelgate.cli import library
from reelgate.cli.accounts import AccountName, amount, plain_key
from reelgate.cli.output import Json, print_columns, print_json
from reelgate.domain.errors import OperatorError
from reelgate.flows import accounts as account_flows
from reelgate.flows.gateway import Gateway
from reelgate.store import accounts
from reelgate.store.accounts import Limits

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)

_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000

Usd = Annotated[str | None, typer.Option(metavar="USD")]


@app.callback()
def _keys() -> None:
    """Create, list and revoke API keys, in the database that the settings here name."""


@app.command()
def create(
    account: AccountName,
    *,
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
    """A new key of an account; it is shown this once."""
    unknown = sorted(set(model or ()) - set(MODELS))
    if unknown:
        raise OperatorError(f"--model {unknown[0]}: there is only {', '.join(MODELS)}")
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
    if as_json:
        print_json(made)
        return
    print(f"key_id   {made['key_id']}")
    print(f"api_key  {made['api_key']}  (shown this once)")


async def _create(
    gateway: Gateway, *, account: str, name: str, days: int | None, limits: Limits
) -> dict[str, Any]:
    found = await library.find_account(gateway, account)
    now_ms = gateway.clock.now_ms()
    made = await account_flows.create_key(
        gateway,
        found.id,
        name=name,
        expires_at_ms=now_ms + days * _DAY_MS if days else None,
        limits=limits,
    )
    return {**plain_key(made.key, now_ms), "api_key": made.secret}


@app.command("list")
def list_keys(account: AccountName, *, as_json: Json = False) -> None:
    """All keys of an account."""
    found = library.run(partial(_list, account=account))
    if as_json:
        print_json({"keys": found})
        return
    rows = [
        (key["key_id"], key["name"], key["hint"], key["state"], key["expires_at"] or "")
        for key in found
    ]
    print_columns(("KEY", "NAME", "ENDS IN", "STATE", "EXPIRES"), rows)


async def _list(gateway: Gateway, *, account: str) -> list[dict[str, Any]]:
    found = await library.find_account(gateway, account)
    keys = await gateway.db.read(lambda tx: accounts.list_keys(tx, found.id))
    return [plain_key(key, gateway.clock.now_ms()) for key in keys]


@app.command()
def revoke(
    key_id: Annotated[
        str, typer.Argument(metavar="KEY_ID", help="key_…, from `reelgate keys list`.")
    ],
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
        print(f"{key_id} ends at {found['revoked_at']}")


async def _revoke(gateway: Gateway, *, key_id: str, in_ms: int) -> dict[str, Any]:
    key = await account_flows.revoke_key(gateway, key_id, in_ms=in_ms)
    return plain_key(key, gateway.clock.now_ms())
