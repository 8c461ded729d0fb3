"""Statements about accounts, keys and the few named values of the installation."""

from dataclasses import dataclass

import msgspec

from reelgate.store.database import Reader, Row, Writer


@dataclass(frozen=True, slots=True)
class Account:
    """A customer. Money in micro-USD."""

    id: str
    name: str
    posted_micro: int
    held_micro: int
    created_at_ms: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key may do; None is no limit. Money in micro-USD."""

    models: tuple[str, ...] | None = None
    spend_day_max_micro: int | None = None
    spend_month_max_micro: int | None = None
    spend_total_max_micro: int | None = None
    requests_per_second_max: int | None = None
    tasks_in_flight_max: int | None = None

    @property
    def spend_limited(self) -> bool:
        return (
            self.spend_day_max_micro is not None
            or self.spend_month_max_micro is not None
            or self.spend_total_max_micro is not None
        )


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept: a digest, never the key. `kind` is `customer` or `admin`.

    Keys that replaced one another by rotation share a `family_id`, that of the first, and its
    limits: rotating must not refill what a limit allows. None for a key that replaced none.
    """

    id: str
    account_id: str | None
    kind: str
    name: str
    hint: str
    created_at_ms: int
    expires_at_ms: int | None
    revoked_at_ms: int | None
    limits: Limits
    family_id: str | None = None

    @property
    def family(self) -> str:
        """What the key's limits are counted by."""
        return self.family_id or self.id

    def usable(self, now_ms: int) -> bool:
        """Whether the key is valid at this moment."""
        revoked = self.revoked_at_ms is not None and self.revoked_at_ms <= now_ms
        expired = self.expires_at_ms is not None and self.expires_at_ms <= now_ms
        return not revoked and not expired


_ACCOUNT = "id, name, posted_micro, held_micro, created_at_ms"
_KEY = (
    "id, account_id, kind, name, hint, created_at_ms, expires_at_ms, revoked_at_ms, models_json, "
    "spend_day_max_micro, spend_month_max_micro, spend_total_max_micro, "
    "requests_per_second_max, tasks_in_flight_max, family_id"
)


def insert_account(tx: Writer, account_id: str, name: str, now_ms: int) -> bool:
    """False when the name is taken."""
    return (
        tx.run(
            "INSERT INTO account (id, name, created_at_ms) VALUES (?,?,?) ON CONFLICT DO NOTHING",
            (account_id, name, now_ms),
        )
        == 1
    )


def get_account(tx: Reader, account_id_or_name: str) -> Account | None:
    row = tx.one(
        f"SELECT {_ACCOUNT} FROM account WHERE id = ? OR name = ? ORDER BY id LIMIT 1",
        (account_id_or_name, account_id_or_name),
    )
    return Account(*row) if row else None


def list_accounts(tx: Reader) -> list[Account]:
    return [Account(*row) for row in tx.all(f"SELECT {_ACCOUNT} FROM account ORDER BY id")]


def page(tx: Reader, *, after: str | None, limit: int, newest_first: bool) -> list[Account]:
    """Accounts in the order in which they were made, beginning behind `after`."""
    way, sign = ("DESC", "<") if newest_first else ("ASC", ">")
    where, params = (f"WHERE id {sign} ?", (after,)) if after else ("", ())
    rows = tx.all(
        f"SELECT {_ACCOUNT} FROM account {where} ORDER BY id {way} LIMIT ?", (*params, limit)
    )
    return [Account(*row) for row in rows]


def insert_key(tx: Writer, key: ApiKey, digest: str) -> None:
    tx.run(
        f"INSERT INTO api_key ({_KEY}, digest) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            key.id,
            key.account_id,
            key.kind,
            key.name,
            key.hint,
            key.created_at_ms,
            key.expires_at_ms,
            key.revoked_at_ms,
            *_limit_values(key.limits),
            key.family_id,
            digest,
        ),
    )


def update_key(tx: Writer, key: ApiKey) -> None:
    """Write what may change of a key: its name, expiry and limits."""
    tx.run(
        "UPDATE api_key SET name = ?, expires_at_ms = ?, models_json = ?, "
        "spend_day_max_micro = ?, spend_month_max_micro = ?, spend_total_max_micro = ?, "
        "requests_per_second_max = ?, tasks_in_flight_max = ? WHERE id = ?",
        (key.name, key.expires_at_ms, *_limit_values(key.limits), key.id),
    )


def _limit_values(limits: Limits) -> tuple[str | int | None, ...]:
    return (
        None if limits.models is None else msgspec.json.encode(limits.models).decode(),
        limits.spend_day_max_micro,
        limits.spend_month_max_micro,
        limits.spend_total_max_micro,
        limits.requests_per_second_max,
        limits.tasks_in_flight_max,
    )


def key_by_digest(tx: Reader, digest: str) -> ApiKey | None:
    row = tx.one(f"SELECT {_KEY} FROM api_key WHERE digest = ?", (digest,))
    return _key(row) if row else None


def get_key(tx: Reader, key_id: str) -> ApiKey | None:
    row = tx.one(f"SELECT {_KEY} FROM api_key WHERE id = ?", (key_id,))
    return _key(row) if row else None


def list_keys(tx: Reader, account_id: str | None) -> list[ApiKey]:
    """The keys of an account, or the admin keys when None; the oldest first."""
    where = "account_id IS NULL" if account_id is None else "account_id = ?"
    params = () if account_id is None else (account_id,)
    return [
        _key(row) for row in tx.all(f"SELECT {_KEY} FROM api_key WHERE {where} ORDER BY id", params)
    ]


def revoke_key(tx: Writer, key_id: str, at_ms: int) -> bool:
    """False when there is no such key. Revoking again keeps the earlier moment."""
    return (
        tx.run(
            "UPDATE api_key SET revoked_at_ms = CASE WHEN revoked_at_ms IS NULL "
            "OR revoked_at_ms > ? THEN ? ELSE revoked_at_ms END WHERE id = ?",
            (at_ms, at_ms, key_id),
        )
        == 1
    )


def get_meta(tx: Reader, name: str) -> str | None:
    row = tx.one("SELECT value FROM meta WHERE name = ?", (name,))
    return row[0] if row else None


def set_meta_once(tx: Writer, name: str, value: str) -> str:
    """Set a value unless it is set; returns the one in force."""
    tx.run("INSERT INTO meta (name, value) VALUES (?,?) ON CONFLICT DO NOTHING", (name, value))
    kept = get_meta(tx, name)
    return value if kept is None else kept


def _key(row: Row) -> ApiKey:
    models = None if row[8] is None else msgspec.json.decode(row[8], type=tuple[str, ...])
    (key_id, account_id, kind, name, hint, created, expires, revoked) = row[:8]
    limits = Limits(models, *row[9:14])
    return ApiKey(key_id, account_id, kind, name, hint, created, expires, revoked, limits, row[14])
