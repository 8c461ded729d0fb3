"""Who is calling: a customer by one of its keys, or an operator by an admin key; never both."""

import time

from reelgate.domain.errors import Code, Refusal
from reelgate.flows.accounts import digest, well_formed
from reelgate.flows.gateway import Caller, Gateway
from reelgate.store import accounts
from reelgate.store.accounts import ApiKey
from reelgate.store.database import Reader

# Revocation must take effect within 5 s everywhere (design); this is how long a node may not look.
_CACHE_NS = 2_000_000_000
_CACHE_ENTRIES_MAX = 10_000
_SAME_ANSWER = (
    "The API key is missing or not valid. Send it as the header `Authorization: Bearer sk-…`."
)


class Authenticator:
    """Tells callers by their keys, looking each key up at most every two seconds."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._cache: dict[str, tuple[int, ApiKey]] = {}

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
        now = time.monotonic_ns()
        if cached is not None and now < cached[0]:
            return cached[1]

        def find(tx: Reader) -> ApiKey | None:
            return accounts.key_by_digest(tx, known)

        key = await self._gateway.db.point(find)
        if key is not None:
            if len(self._cache) >= _CACHE_ENTRIES_MAX:
                self._cache.clear()
            self._cache[known] = (now + _CACHE_NS, key)
        return key
