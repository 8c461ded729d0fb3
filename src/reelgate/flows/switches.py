"""Upstreams switched off and on by the operator, for all nodes; and how each is doing."""

from dataclasses import dataclass

from reelgate.domain.errors import Code, Refusal
from reelgate.flows.gateway import Gateway
from reelgate.flows.upstreams import Upstream
from reelgate.store import audit, reports, switches
from reelgate.store.audit import LOCAL
from reelgate.store.database import WAKE, Reader, Writer
from reelgate.store.reports import Recent
from reelgate.store.switches import Switch

_RECENT_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Health:
    """An upstream as it is now. `upstream` has the health of this node: breaker and in flight.

    `live` counts the tasks of all nodes by state, `recent` those that ended in the last hour.
    """

    upstream: Upstream
    switch: Switch | None
    live: dict[str, int]
    recent: Recent


async def refresh(gateway: Gateway) -> int:
    """Make this node follow the switches; returns how many upstreams came back. A chore."""
    off = await gateway.db.read(switches.disabled)
    back = 0
    for upstream in gateway.upstreams:
        back += upstream.disabled and upstream.name not in off
        upstream.disabled = upstream.name in off
    return back


async def disable(gateway: Gateway, name: str, *, note: str = "", actor: str = LOCAL) -> None:
    """Send no more jobs to an upstream; those it has go on. Raises Refusal."""
    await _switch(gateway, name, on=False, note=note, actor=actor)


async def enable(gateway: Gateway, name: str, *, actor: str = LOCAL) -> None:
    """Send jobs to an upstream again. Raises Refusal (`upstream_not_found`)."""
    await _switch(gateway, name, on=True, note="", actor=actor)


async def _switch(gateway: Gateway, name: str, *, on: bool, note: str, actor: str) -> None:
    now_ms = gateway.clock.now_ms()
    known = [upstream.name for upstream in gateway.upstreams]

    def write(tx: Writer) -> None:
        # One that has left the settings can still be switched on.
        if name not in known and (not on or name not in switches.disabled(tx)):
            raise Refusal(
                Code.UPSTREAM_NOT_FOUND,
                f"there is no upstream {name[:60]}; there is {', '.join(known)}",
            )
        changed = switches.enable(tx, name) if on else switches.disable(tx, name, now_ms, note)
        if changed:
            action = "upstream.enable" if on else "upstream.disable"
            audit.append(tx, actor, action, name, now_ms, note=note)
            tx.notify(WAKE)

    await gateway.db.write(write)
    await refresh(gateway)


async def health(gateway: Gateway) -> list[Health]:
    """Every configured upstream, those that are asked first coming first."""
    since_ms = gateway.clock.now_ms() - _RECENT_MS

    def read(tx: Reader) -> tuple[dict[str, Switch], dict[str, dict[str, int]], dict[str, Recent]]:
        return switches.disabled(tx), reports.live_by_upstream(tx), reports.recent(tx, since_ms)

    off, live, recent = await gateway.db.read(read)
    return [
        Health(up, off.get(up.name), live.get(up.name, {}), recent.get(up.name, Recent(0, 0)))
        for up in sorted(gateway.upstreams, key=lambda up: (up.priority, up.name))
    ]
