"""Accounts, money in, keys, and who is calling."""

import hashlib
import hmac
import secrets
import time
import zlib
from dataclasses import dataclass

from reelgate.domain.errors import Code, Refusal
from reelgate.domain.ids import new_id
from reelgate.domain.money import AMOUNT_MICRO_MAX
from reelgate.flows.gateway import Caller, Gateway
from reelgate.store import accounts, ledger
from reelgate.store.accounts import Account, ApiKey, Limits
from reelgate.store.database import Database, Reader, Writer

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_KEY_PREFIX = "sk-"
_ADMIN_KEY_PREFIX = "sk-admin-"
_RANDOM_CHARS = 40  # 238 bits
_CHECKSUM_CHARS = 6
_HINT_CHARS = 4
_KEY_CHARS_MAX = 128
# Revocation must take effect within 5 s everywhere (design); this is how long a node may not look.
_CACHE_S = 2.0
_CACHE_ENTRIES_MAX = 10_000
_META_NAME = "secret"
_SAME_ANSWER = (
    "The API key is missing or not valid. Send it as the header `Authorization: Bearer sk-…`."
)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that has just been made; `secret` is shown this once and kept nowhere."""

    key: ApiKey
    secret: str


# ---- accounts and money -------------------------------------------------------------------


async def create_account(gateway: Gateway, name: str, credit_micro: int = 0) -> Account:
    """A new account with its first credit. Raises ValueError: name taken or empty, bad amount."""
    name = name.strip()
    if not name or len(name) > 200:
        raise ValueError("an account's name has 1 to 200 characters")
    _check_amount(credit_micro)
    now_ms = gateway.clock.now_ms()
    account_id = new_id("acct", now_ms)

    def create(tx: Writer) -> Account | None:
        if not accounts.insert_account(tx, account_id, name, now_ms):
            return None
        if credit_micro:
            ledger.credit(tx, account_id, credit_micro, now_ms, None, "first credit")
        return accounts.get_account(tx, account_id)

    account = await gateway.db.write(create)
    if account is None:
        raise ValueError(f"there is an account named {name!r} already")
    return account


async def credit(
    gateway: Gateway, account_id: str, amount_micro: int, *, reference: str | None, note: str
) -> bool:
    """Add money to an account; False when this reference was credited before.

    Raises ValueError for an amount that is not positive, or a reference that stands for another
    amount; LookupError for an unknown account.
    """
    _check_amount(amount_micro)
    if amount_micro == 0:
        raise ValueError("the amount of a credit is more than 0")
    now_ms = gateway.clock.now_ms()

    def add(tx: Writer) -> bool:
        if accounts.get_account(tx, account_id) is None:
            raise LookupError(f"there is no account {account_id}")
        if ledger.credit(tx, account_id, amount_micro, now_ms, reference, note):
            return True
        before = ledger.find_reference(tx, account_id, reference or "")
        if before != amount_micro:
            raise ValueError(f"reference {reference!r} was credited before, with another amount")
        return False

    return await gateway.db.write(add)


def _check_amount(amount_micro: int) -> None:
    if not 0 <= amount_micro <= AMOUNT_MICRO_MAX:
        raise ValueError("an amount is between 0 and 10^10 USD")


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
) -> NewKey:
    """A new key of an account, or an admin key when `account_id` is None.

    Raises LookupError for an unknown account.
    """
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
        limits=limits or Limits(),
    )

    def insert(tx: Writer) -> None:
        if account_id is not None and accounts.get_account(tx, account_id) is None:
            raise LookupError(f"there is no account {account_id}")
        accounts.insert_key(tx, key, digest(gateway.secret, secret))

    await gateway.db.write(insert)
    return NewKey(key, secret)


async def revoke_key(gateway: Gateway, key_id: str, *, in_ms: int = 0) -> ApiKey:
    """End a key, now or after an overlap. Raises LookupError for an unknown one."""
    at_ms = gateway.clock.now_ms() + in_ms

    def revoke(tx: Writer) -> ApiKey | None:
        accounts.revoke_key(tx, key_id, at_ms)
        return accounts.get_key(tx, key_id)

    key = await gateway.db.write(revoke)
    if key is None:
        raise LookupError(f"there is no key {key_id}")
    return key


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


# ---- who is calling -----------------------------------------------------------------------


class Authenticator:
    """Tells callers by their keys, looking each key up at most every two seconds."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._cache: dict[str, tuple[float, ApiKey]] = {}

    async def caller(self, authorization: str | None) -> Caller:
        """The caller behind an Authorization header.

        Raises Refusal (`invalid_api_key`), the same for every reason.
        """
        key = await self._key(authorization)
        if key is None or key.account_id is None:
            raise Refusal(Code.INVALID_API_KEY, _SAME_ANSWER)
        return Caller(key.account_id, key)

    async def admin(self, authorization: str | None) -> ApiKey:
        """The admin key behind an Authorization header. Raises Refusal like `caller`."""
        key = await self._key(authorization)
        if key is None or key.kind != "admin":
            raise Refusal(Code.INVALID_API_KEY, _SAME_ANSWER)
        return key

    async def _key(self, authorization: str | None) -> ApiKey | None:
        scheme, _, given = (authorization or "").partition(" ")
        given = given.strip()
        if scheme.lower() != "bearer" or not well_formed(given):
            return None
        known = digest(self._gateway.secret, given)
        key = await self._look_up(known)
        return key if key is not None and key.usable(self._gateway.clock.now_ms()) else None

    async def _look_up(self, known: str) -> ApiKey | None:
        cached = self._cache.get(known)
        now = time.monotonic()
        if cached is not None and now < cached[0]:
            return cached[1]

        def find(tx: Reader) -> ApiKey | None:
            return accounts.key_by_digest(tx, known)

        key = await self._gateway.db.point(find)
        if key is not None:
            if len(self._cache) >= _CACHE_ENTRIES_MAX:
                self._cache.clear()
            self._cache[known] = (now + _CACHE_S, key)
        return key
