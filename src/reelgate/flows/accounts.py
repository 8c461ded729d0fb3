"""Accounts, money in, and keys. Every change is in the audit log, with the `actor` it is by."""

import hashlib
import hmac
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from msgspec import UNSET, UnsetType

from reelgate.domain.errors import Code, Refusal
from reelgate.domain.ids import new_id
from reelgate.domain.money import AMOUNT_MICRO_MAX, usd
from reelgate.domain.quoting import quoted
from reelgate.flows.gateway import Gateway
from reelgate.store import accounts, audit, ledger
from reelgate.store.accounts import Account, ApiKey, Limits
from reelgate.store.audit import LOCAL
from reelgate.store.database import Database, Reader, Writer

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_KEY_PREFIX = "sk-"
_ADMIN_KEY_PREFIX = "sk-admin-"
_RANDOM_CHARS = 40  # 238 bits
_CHECKSUM_CHARS = 6
_HINT_CHARS = 4
_KEY_CHARS_MAX = 128
_NAME_CHARS_MAX = 200
_TEXT_CHARS_MAX = 1000
_REQUESTS_PER_SECOND_MAX = 1_000_000
_META_NAME = "secret"


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that has just been made; `secret` is shown this once and kept nowhere."""

    key: ApiKey
    secret: str


# ---- accounts and money -------------------------------------------------------------------


async def create_account(
    gateway: Gateway, name: str, credit_micro: int = 0, *, actor: str = LOCAL
) -> Account:
    """A new account with its first credit. Raises Refusal (`name_taken`, `invalid_value`)."""
    name = _checked_name(name)
    _check_amount(credit_micro, low=0)
    now_ms = gateway.clock.now_ms()
    account_id = new_id("acct", now_ms)

    def create(tx: Writer) -> Account:
        if not accounts.insert_account(tx, account_id, name, now_ms):
            raise Refusal(Code.NAME_TAKEN, f"there is an account named {quoted(name)} already")
        if credit_micro:
            ledger.credit(tx, account_id, credit_micro, now_ms, None, "first credit")
        audit.append(
            tx, actor, "account.create", account_id, now_ms, name=name, credit_micro=credit_micro
        )
        return account_in(tx, account_id)

    return await gateway.db.write(create)


def account_in(tx: Reader, account_id: str) -> Account:
    """An account by id (or name). Raises Refusal (`account_not_found`)."""
    account = accounts.get_account(tx, account_id)
    if account is None:
        raise Refusal(Code.ACCOUNT_NOT_FOUND, f"there is no account {account_id[:60]}")
    return account


async def credit(
    gateway: Gateway,
    account_id: str,
    amount_micro: int,
    *,
    reference: str | None,
    note: str,
    actor: str = LOCAL,
) -> bool:
    """Add money to an account; False when this reference was credited before.

    Raises Refusal: `invalid_value` for an amount that is not positive, `reference_reused` for a
    reference that stands for another amount, `account_not_found`.
    """
    _check_amount(amount_micro, low=1)
    _check_text("reference", reference)
    _check_text("note", note)
    now_ms = gateway.clock.now_ms()

    def add(tx: Writer) -> bool:
        account_in(tx, account_id)
        if ledger.credit(tx, account_id, amount_micro, now_ms, reference, note):
            audit.append(
                tx,
                actor,
                "account.credit",
                account_id,
                now_ms,
                amount_micro=amount_micro,
                reference=reference,
                note=note,
            )
            return True
        before = ledger.find_reference(tx, account_id, reference or "")
        if before != amount_micro:
            raise Refusal(
                Code.REFERENCE_REUSED,
                f"reference {quoted(reference or '')} was credited before, with another amount",
                "reference",
            )
        return False

    return await gateway.db.write(add, locks=account_id)


async def adjust(
    gateway: Gateway, account_id: str, amount_micro: int, *, note: str, actor: str = LOCAL
) -> Account:
    """Correct an account's money up or down; the account after it.

    Raises Refusal: `invalid_value`, `account_not_found`, and `insufficient_balance` when less than
    that is available: what running tasks hold can't be taken.
    """
    _check_amount(abs(amount_micro), low=1)
    _check_text("note", note)
    if not note.strip():
        raise Refusal(Code.MISSING_REQUIRED_PARAMETER, "a correction needs a note: why?", "note")
    now_ms = gateway.clock.now_ms()

    def correct(tx: Writer) -> Account:
        before = account_in(tx, account_id)
        if not ledger.adjust(tx, account_id, amount_micro, now_ms, note):
            available = usd(before.posted_micro - before.held_micro)
            raise Refusal(
                Code.INSUFFICIENT_BALANCE, f"only {available} USD is available in this account"
            )
        audit.append(
            tx, actor, "account.adjust", account_id, now_ms, amount_micro=amount_micro, note=note
        )
        return account_in(tx, account_id)

    return await gateway.db.write(correct, locks=account_id)


def _check_amount(amount_micro: int, *, low: int) -> None:
    if amount_micro < low and low > 0:
        raise Refusal(Code.INVALID_VALUE, "the amount must be more than 0", "amount")
    if not 0 <= amount_micro <= AMOUNT_MICRO_MAX:
        raise Refusal(Code.INVALID_VALUE, "an amount is between 0 and 10^10 USD", "amount")


def _checked_name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= _NAME_CHARS_MAX:
        raise Refusal(Code.INVALID_VALUE, f"a name has 1 to {_NAME_CHARS_MAX} characters", "name")
    return name


def _check_text(param: str, text: str | None) -> None:
    if text is not None and len(text) > _TEXT_CHARS_MAX:
        raise Refusal(
            Code.INVALID_VALUE, f"{param} has at most {_TEXT_CHARS_MAX} characters", param
        )


# ---- keys ---------------------------------------------------------------------------------


async def installation_secret(db: Database, configured: str | None) -> bytes:
    """What keys are digested and links signed with: the setting, or one kept in the database."""
    if configured:
        return configured.encode()

    def keep(tx: Writer) -> str:
        return accounts.set_meta_once(tx, _META_NAME, secrets.token_hex(32))

    found = await db.read(lambda tx: accounts.get_meta(tx, _META_NAME))
    if found is None:
        found = await db.write(keep)
    return found.encode()


async def create_key(
    gateway: Gateway,
    account_id: str | None,
    *,
    name: str = "default",
    expires_at_ms: int | None = None,
    limits: Limits | None = None,
    actor: str = LOCAL,
) -> NewKey:
    """A new key of an account, or an admin key when `account_id` is None.

    Raises Refusal (`account_not_found`, `invalid_value`).
    """
    limits = limits or Limits()
    _check_limits(gateway, limits)
    made = _new_key(gateway, account_id, _checked_name(name), expires_at_ms, limits)

    def insert(tx: Writer) -> None:
        if account_id is not None:
            account_in(tx, account_id)
        _insert_key(tx, gateway, made)
        audit.append(
            tx,
            actor,
            "key.create",
            made.key.id,
            made.key.created_at_ms,
            account_id=account_id,
            name=made.key.name,
            expires_at_ms=expires_at_ms,
            limits=limits,
        )

    await gateway.db.write(insert)
    return made


async def rotate_key(
    gateway: Gateway, key_id: str, *, overlap_ms: int = 0, actor: str = LOCAL
) -> NewKey:
    """A new key in place of an old one, which works on for `overlap_ms`.

    It has the old one's name, expiry and limits, and what both spend counts together.
    Raises Refusal: `key_not_found`, `invalid_value` for a key that has ended.
    """
    now_ms = gateway.clock.now_ms()

    def rotate(tx: Writer) -> NewKey:
        old = key_in(tx, key_id)
        if not old.usable(now_ms):
            raise Refusal(Code.INVALID_VALUE, f"key {key_id} has ended; create a new one", "key_id")
        made = _new_key(gateway, old.account_id, old.name, old.expires_at_ms, old.limits)
        made = NewKey(replace(made.key, family_id=old.family), made.secret)
        _insert_key(tx, gateway, made)
        accounts.revoke_key(tx, key_id, now_ms + overlap_ms)
        audit.append(
            tx, actor, "key.rotate", key_id, now_ms, new_key_id=made.key.id, overlap_ms=overlap_ms
        )
        return made

    return await gateway.db.write(rotate)


async def change_key(
    gateway: Gateway,
    key_id: str,
    *,
    name: str | None = None,
    expires_at_ms: int | UnsetType | None = UNSET,
    limits: Mapping[str, Any] | None = None,
    actor: str = LOCAL,
) -> ApiKey:
    """Change what is given; `limits` holds the fields of `Limits` to change, None for no limit.

    Raises Refusal (`key_not_found`, `invalid_value`).
    """
    now_ms = gateway.clock.now_ms()

    def change(tx: Writer) -> ApiKey:
        old = key_in(tx, key_id)
        key = replace(
            old,
            name=old.name if name is None else _checked_name(name),
            expires_at_ms=old.expires_at_ms if expires_at_ms is UNSET else expires_at_ms,
            limits=replace(old.limits, **(limits or {})),
        )
        _check_limits(gateway, key.limits)
        accounts.update_key(tx, key)
        audit.append(
            tx,
            actor,
            "key.change",
            key_id,
            now_ms,
            name=key.name,
            expires_at_ms=key.expires_at_ms,
            limits=key.limits,
        )
        return key

    return await gateway.db.write(change)


async def revoke_key(
    gateway: Gateway, key_id: str, *, in_ms: int = 0, actor: str = LOCAL
) -> ApiKey:
    """End a key, now or after an overlap. Raises Refusal (`key_not_found`)."""
    now_ms = gateway.clock.now_ms()

    def revoke(tx: Writer) -> ApiKey:
        accounts.revoke_key(tx, key_id, now_ms + in_ms)
        key = key_in(tx, key_id)
        audit.append(tx, actor, "key.revoke", key_id, now_ms, revoked_at_ms=key.revoked_at_ms)
        return key

    return await gateway.db.write(revoke)


def key_in(tx: Reader, key_id: str) -> ApiKey:
    """A key by its id. Raises Refusal (`key_not_found`)."""
    key = accounts.get_key(tx, key_id)
    if key is None:
        raise Refusal(Code.KEY_NOT_FOUND, f"there is no key {key_id[:60]}")
    return key


def _new_key(
    gateway: Gateway, account_id: str | None, name: str, expires_at_ms: int | None, limits: Limits
) -> NewKey:
    now_ms = gateway.clock.now_ms()
    secret = _new_secret(_ADMIN_KEY_PREFIX if account_id is None else _KEY_PREFIX)
    key = ApiKey(
        id=new_id("key", now_ms),
        account_id=account_id,
        kind="admin" if account_id is None else "customer",
        name=name,
        hint=f"…{secret[-_HINT_CHARS:]}",
        created_at_ms=now_ms,
        expires_at_ms=expires_at_ms,
        revoked_at_ms=None,
        limits=limits,
    )
    return NewKey(key, secret)


def _insert_key(tx: Writer, gateway: Gateway, made: NewKey) -> None:
    accounts.insert_key(tx, made.key, digest(gateway.secret, made.secret))


def _check_limits(gateway: Gateway, limits: Limits) -> None:
    unknown = sorted(set(limits.models or ()) - set(gateway.models))
    if unknown:
        known = ", ".join(gateway.models)
        raise Refusal(
            Code.INVALID_VALUE,
            f"there is no model {quoted(unknown[0])}; there is {known}",
            "models",
        )
    rate = limits.requests_per_second_max
    if rate is not None and not 1 <= rate <= _REQUESTS_PER_SECOND_MAX:
        raise Refusal(
            Code.INVALID_VALUE,
            f"requests_per_second_max is from 1 to {_REQUESTS_PER_SECOND_MAX}",
            "requests_per_second_max",
        )
    for field in ("spend_day_max", "spend_month_max", "spend_total_max"):
        _check_limit(field, getattr(limits, f"{field}_micro"))
    _check_limit("tasks_in_flight_max", limits.tasks_in_flight_max)


def _check_limit(name: str, limit: int | None) -> None:
    if limit is not None and not 0 <= limit <= AMOUNT_MICRO_MAX:
        raise Refusal(Code.INVALID_VALUE, f"{name} is 0 or more, and at most 10^10", name)


def digest(secret: bytes, key: str) -> str:
    """What is kept of a key."""
    return hmac.new(secret, key.encode(), hashlib.sha256).hexdigest()


def well_formed(key: str) -> bool:
    """Whether a key's checksum is right: a typo is told without asking the database."""
    if not key.startswith(_KEY_PREFIX) or len(key) > _KEY_CHARS_MAX or not key.isascii():
        return False
    body, checksum = key[:-_CHECKSUM_CHARS], key[-_CHECKSUM_CHARS:]
    return _checksum(body) == checksum


def _new_secret(prefix: str) -> str:
    body = prefix + "".join(secrets.choice(_BASE62) for _ in range(_RANDOM_CHARS))
    return body + _checksum(body)


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECKSUM_CHARS):
        number, rest = divmod(number, 62)
        digits += _BASE62[rest]
    return digits
