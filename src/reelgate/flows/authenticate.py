"""Who is calling: a customer by one of its keys, or an operator by an admin key; never both."""

import time
from functools import partial

from reelgate.domain.errors import Code, Refusal
from reelgate.flows.accounts import digest, well_formed
from reelgate.flows.gateway import Caller, Gateway
from reelgate.store import accounts
from reelgate.store.accounts import ApiKey

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
        self._callers: dict[str | None, tuple[int, Caller]] = {}

    def remembered(self, authorization: str | None) -> Caller | None:
        """The caller behind a header that was looked up a moment ago: nearly every request."""
        found = self._callers.get(authorization)
        if found is None or time.monotonic_ns() >= found[0]:
            return None
        return found[1] if found[1].key.usable(self._gateway.clock.now_ms()) else None

    async def caller(self, authorization: str | None) -> Caller:
        """The caller behind an Authorization header.

        Raises Refusal (`invalid_api_key`), the same for every reason.
        """
        until_ns = time.monotonic_ns() + _CACHE_NS
        key = await self._key(authorization)
        if key is None or key.account_id is None:
            raise Refusal(Code.INVALID_API_KEY, _SAME_ANSWER)
        if len(self._callers) >= _CACHE_ENTRIES_MAX:
            self._callers.clear()
        caller = Caller(key.account_id, key)
        self._callers[authorization] = (until_ns, caller)
        return caller

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
        key = await self._gateway.db.point(partial(accounts.key_by_digest, digest=known))
        return key if key is not None and key.usable(self._gateway.clock.now_ms()) else None
