"""Upstreams switched off and on by the operator, for all nodes; and how each is doing."""

from dataclasses import dataclass

from reelgate.domain.errors import Code, Refusal
from reelgate.flows.gateway import Gateway
from reelgate.flows.upstreams import Upstream
from reelgate.store import audit, reports, switches
from reelgate.store.audit import LOCAL
from reelgate.store.database import WAKE, Writer
from reelgate.store.reports import Recent
from reelgate.store.switches import Switch, Trouble

_RECENT_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Health:
    """An upstream as it is now, over all nodes. `live` counts its tasks by state, `recent` those
    that ended in the last hour; for `paused_ms` from now nothing is sent to it.
    """

    upstream: Upstream
    switch: Switch | None
    trouble: Trouble | None
    paused_ms: int
    live: dict[str, int]
    recent: Recent


async def refresh(gateway: Gateway) -> int:
    """Make this node follow the switches; returns how many upstreams came back. A chore."""
    off = await gateway.db.read(switches.disabled)
    back = 0
    for upstream in gateway.upstreams:
        if upstream.disabled and upstream.name not in off:
            upstream.enable()
            back += 1
        upstream.disabled = upstream.name in off
    return back


async def tell_troubles(gateway: Gateway) -> int:
    """Write down for others which upstreams this node leaves alone. A chore of those that send."""
    news = [(up, up.breaker.stage) for up in gateway.upstreams if up.told != up.breaker.stage]
    now_ms = gateway.clock.now_ms()

    def write(tx: Writer) -> None:
        for upstream, _ in news:
            breaker = upstream.breaker
            if breaker.cause is None or not breaker.resting:
                switches.forget_trouble(tx, upstream.name)
                continue
            until_ms = now_ms + breaker.wait_ms()
            trouble = Trouble(breaker.cause.value, breaker.detail, now_ms, until_ms)
            switches.note_trouble(tx, upstream.name, trouble)

    if news:
        await gateway.db.write(write)
    for upstream, stage in news:
        upstream.told = stage
    return 0


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
        if on:
            switches.forget_trouble(tx, name)
        if changed:
            action = "upstream.enable" if on else "upstream.disable"
            audit.append(tx, actor, action, name, now_ms, note=note)
            tx.notify(WAKE)

    await gateway.db.write(write)
    await refresh(gateway)


async def health(gateway: Gateway) -> list[Health]:
    """Every configured upstream, those that are asked first coming first."""
    now_ms = gateway.clock.now_ms()
    off, troubles, live, recent = await gateway.db.read(
        lambda tx: (
            switches.disabled(tx),
            switches.troubles(tx),
            reports.live_by_upstream(tx),
            reports.recent(tx, now_ms - _RECENT_MS),
        )
    )
    found = []
    for up in sorted(gateway.upstreams, key=lambda up: (up.priority, up.name)):
        trouble = troubles.get(up.name)
        paused_ms = max(0, trouble.until_ms - now_ms) if trouble else 0
        done = recent.get(up.name, Recent(0, 0))
        found.append(Health(up, off.get(up.name), trouble, paused_ms, live.get(up.name, {}), done))
    return found
