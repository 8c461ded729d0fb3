"""How a program of somebody else's tells `test_clients` what went well: one line of JSON each.

Standard library only: it runs under whatever packages the client under test has.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

AT_ONCE = 6


@dataclass(frozen=True)
class User:
    """A user with an account of its own, and what it finds there.

    `lossy_url` is the same gateway, but the answer to the account's first POST is lost on the way.
    """

    base_url: str
    lossy_url: str
    key: str
    poor_key: str
    inputs: Path
    inputs_url: str
    folder: Path

    def link(self, name: str) -> str:
        return f"{self.inputs_url}/{name}"


Scenario = Callable[[User], None]
_scenarios: dict[str, tuple[str, Scenario]] = {}


def scenario(run_it: Scenario) -> Scenario:
    """Something that a user does, with every version of the client."""
    return since("0")(run_it)


def since(version: str) -> Callable[[Scenario], Scenario]:
    """Something that a user can do from this version on."""

    def register(run_it: Scenario) -> Scenario:
        _scenarios[run_it.__name__] = (version, run_it)
        return run_it

    return register


def run(version: str) -> None:
    """Run all scenarios that this version can do, several at once; or `--list` their names."""
    able = {
        name: run_it for name, (first, run_it) in _scenarios.items() if _of(first) <= _of(version)
    }
    given = json.load(sys.stdin)
    keys = given.pop("keys")
    given |= {name: Path(given[name]) for name in ("inputs", "folder")}
    out, sys.stdout = sys.stdout, sys.stderr  # clients print things too

    def told(name: str, key: str) -> dict[str, object]:
        began = time.monotonic()
        wrong = None
        try:
            able[name](User(key=key, **given))
        except Exception:  # noqa: BLE001 - whatever it is, it is told
            wrong = traceback.format_exc()
        return {"name": name, "wrong": wrong, "seconds": round(time.monotonic() - began, 2)}

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for line in pool.map(told, able, keys):
            print(json.dumps(line), file=out, flush=True)
    print(json.dumps({"version": version}), file=out, flush=True)
    os._exit(0)  # clients may hold threads that would keep us


def _of(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])
