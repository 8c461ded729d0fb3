"""How long it takes to be there: the command line's help, and a server that answers."""

import http.client
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from bench import servers
from bench.report import Bar, Row, Section

_HELPS = 9
_STARTS = 5
_READY_S_MAX = 1.5
_HELP_MS_MAX = 200


def measure(folder: Path) -> Section:
    """Time `reelgate --help`, and `reelgate serve` until `GET /readyz` says 200."""
    help_ms = [_help_ms() for _ in range(_HELPS)]
    starts = [_start(folder, number) for number in range(_STARTS)]
    first, again = [row[0] for row in starts], [row[1] for row in starts]
    rows = [
        Row("reelgate --help, ms", _spread(help_ms)),
        Row("ready, new database, s", _spread(first)),
        Row("ready, database there, s", _spread(again)),
        Row("memory when ready, MiB", _spread([float(row[2]) for row in starts])),
    ]
    bars = [
        Bar("reelgate --help, ms", median(help_ms), most=_HELP_MS_MAX),
        Bar("ready, s", median(first), most=_READY_S_MAX),
        Bar("ready again, s", median(again), most=_READY_S_MAX),
    ]
    return Section("Start", rows, bars)


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": median(values), "least": min(values), "most": max(values)}


def _help_ms() -> float:
    began = time.perf_counter()
    subprocess.run(
        [Path(sys.executable).with_name("reelgate"), "--help"],
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return (time.perf_counter() - began) * 1000


def _start(folder: Path, number: int) -> tuple[float, float, int]:
    """Seconds to readiness with a new data directory and with one that is there; memory then."""
    env = servers.environment(folder / f"start-{number}")
    seconds: list[float] = []
    mib = 0
    for _ in range(2):
        with servers.reelgate("start", folder, env) as server:
            _wait_ready(server.port)
            seconds.append(server.age_s())
            mib = server.rss_mib()
    return seconds[0], seconds[1], mib


def _wait_ready(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    while True:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        answer.read()
        if answer.status == 200:
            connection.close()
            return
        time.sleep(0.005)
