"""A thousand tasks with kills among them, then everything is as it must be.

By hand: `python -m tests.acceptance.thousand --tasks 1000 --kills 20 --database both`.
On SQLite one process does everything; on PostgreSQL there are an API and two workers, and any of
the three is killed at any moment. Clients send again what they have no answer for.
"""

from __future__ import annotations

import argparse
import json
import queue
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx

from reelgate.domain.money import parse_usd, usd
from reelgate.domain.task import ENDED, State
from tests.support.aftermath import (
    all_tasks,
    end_the_unclear_soon,
    open_account,
    server_env,
    wrongs,
)
from tests.support.load import Api, NoAnswerError, Request
from tests.support.postgres import fresh_database, running_postgres
from tests.support.processes import Server, Zygote, free_port, processes, until

CLIENTS = 4
# (how often of 100, what is asked for, how it ends)
MIX = (
    (78, "a boat", None),
    (6, "a boat [sandbox:fail]", "task_failed"),
    (6, "a boat [sandbox:moderated]", "content_policy_violation"),
    (6, "a boat [sandbox:slow=0.7]", None),
    (2, "a boat [sandbox:busy=1]", None),
    (2, "a boat [sandbox:lost-reply]", "outcome_unknown"),
)


@dataclass
class Outcome:
    """What a run came to."""

    tasks: int
    kills: int
    unclear: int
    ends: Counter[str]
    elapsed_s: float
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        ends = ", ".join(f"{count} {end}" for end, count in sorted(self.ends.items()))
        return (
            f"{self.tasks} tasks, {self.kills} kills, {self.unclear} stranded by them, "
            f"{self.elapsed_s:.1f} s: {ends}"
        )


class Installation:
    """The processes that serve one database, each of which may be killed and comes back."""

    def __init__(self, zygote: Zygote, folder: Path, database_url: str | None) -> None:
        self.folder = folder
        self.env = {"REELGATE_PORT": str(free_port()), "REELGATE_LEASE_S": "1"}
        roles = ["all"]
        if database_url is not None:
            self.env["REELGATE_DATABASE_URL"] = database_url
            roles = ["api", "worker", "worker"]
        self._zygote = zygote
        self._roles = dict(enumerate(roles))
        self._running: dict[int, Server] = {}
        self.url = f"http://127.0.0.1:{self.env['REELGATE_PORT']}"

    def start(self, *which: int) -> None:
        """Start these processes, or all."""
        for number in which or self._roles:
            role = self._roles[number]
            start = self._zygote.work if role == "worker" else self._zygote.serve
            args = () if role == "worker" else ("--role", role)
            self._running[number] = start(self.folder, *args, log=f"log.{number}", **self.env)

    def kill_one(self, chance: random.Random) -> None:
        """SIGKILL one of them, and start it again."""
        number = chance.choice(list(self._roles))
        self._running[number].kill()
        self.start(number)

    def stop(self) -> list[str]:
        """SIGTERM all; what was wrong with how they ended."""
        codes = {number: server.stop() for number, server in self._running.items()}
        return [f"process {number} ended with {code}" for number, code in codes.items() if code]

    def log(self) -> str:
        return "\n".join(server.log() for server in self._running.values())


def run(
    zygote: Zygote,
    folder: Path,
    *,
    count: int,
    kills: int,
    seed: int,
    database_url: str | None = None,
) -> Outcome:
    """Make `count` tasks while killing `kills` times, and look at everything afterwards."""
    began = time.monotonic()
    chance = random.Random(seed)
    installation = Installation(zygote, folder, database_url)
    _, key = open_account(folder, **installation.env)
    requests = load(count, chance)
    installation.start()
    with clients(Api(installation.url, key), requests) as answered:
        for share in sorted(chance.random() for _ in range(kills)):
            wanted = round(share * count)
            until(partial(_has, answered, wanted), 120, installation.log)
            time.sleep(chance.random() * 0.3)
            installation.kill_one(chance)
        until(partial(_has, answered, count), 300, installation.log)
    wait_for_ends(installation, count)
    wrong = installation.stop()
    unclear = end_the_unclear_soon(folder, **installation.env)
    installation.start()
    wait_for_ends(installation, count, besides=frozenset())
    seen = bills_seen(installation, key)
    wrong += installation.stop()
    wrong += wrongs(folder, **installation.env)
    wrong += report_says(installation, seen)
    wrong += ends_as_asked(installation, requests)
    wrong += doctor(installation)
    ends = Counter(
        task.failure.code.value if task.failure else task.state.value
        for task in all_tasks(folder, **installation.env)
    )
    return Outcome(count, kills, unclear, ends, time.monotonic() - began, wrong)


def _has(answered: list[Request], count: int) -> bool:
    return len(answered) >= count


def load(count: int, chance: random.Random) -> list[Request]:
    weights = [weight for weight, _, _ in MIX]
    rows = chance.choices(MIX, weights, k=count)
    return [Request(f"{prompt}", error=error) for _, prompt, error in rows]


@contextmanager
def clients(api: Api, requests: list[Request]) -> Iterator[list[Request]]:
    """Send everything, from several threads, until each has its answer; yields the answered."""
    waiting: queue.SimpleQueue[Request] = queue.SimpleQueue()
    for request in requests:
        waiting.put(request)
    answered: list[Request] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            try:
                request = waiting.get_nowait()
            except queue.Empty:
                return
            while not stop.is_set():
                try:
                    request.send(api)
                    answered.append(request)
                    break
                except NoAnswerError:
                    stop.wait(0.05)

    threads = [threading.Thread(target=work) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def wait_for_ends(
    installation: Installation,
    count: int,
    besides: frozenset[State] = frozenset({State.STRANDED}),
) -> None:
    """Until every task has ended, or is one that nobody but its deadline ends."""

    def done() -> bool:
        states = Counter(task.state for task in all_tasks(installation.folder, **installation.env))
        time.sleep(0.2)
        return sum(states[state] for state in ENDED | besides) == states.total() == count

    until(done, 30 + count / 5, installation.log)


def ends_as_asked(installation: Installation, requests: list[Request]) -> list[str]:
    """Each task ended as its prompt says, or nobody knows."""
    found = {task.id: task for task in all_tasks(installation.folder, **installation.env)}
    wrong = []
    for request in requests:
        task = found[request.task_id or ""]
        code = task.failure.code.value if task.failure else None
        if code not in {request.error, "outcome_unknown"}:
            wrong.append(f"{request.prompt!r} ended with {code}")
    return wrong


def bills_seen(installation: Installation, key: str) -> int:
    """What all bills that the customer sees come to, in micro-USD."""
    headers, total, after = {"authorization": f"Bearer {key}"}, 0, ""
    with httpx.Client(base_url=installation.url, headers=headers, trust_env=False) as http:
        while True:
            answer = http.get("/v1/videos", params={"limit": "100", "after": after})
            page = answer.raise_for_status().json()
            total += sum(parse_usd(task["billing"]["cost"]) for task in page["data"])
            if not page["has_more"]:
                return total
            after = page["last_id"]


def report_says(installation: Installation, seen: int) -> list[str]:
    """The operator's revenue is what customers saw on their bills, to the micro-dollar."""
    told = json.loads(command(installation, "report", "--json").stdout)["total"]["revenue"]
    return [] if told == usd(seen) else [f"the bills come to {usd(seen)}, the report says {told}"]


def doctor(installation: Installation) -> list[str]:
    """What an operator would be told."""
    done = command(installation, "doctor")
    return [] if done.returncode == 0 else [f"doctor: {done.stdout}{done.stderr}"]


def command(installation: Installation, *args: str) -> subprocess.CompletedProcess[str]:
    """What the command line does on the installation's data."""
    return subprocess.run(
        [sys.executable, "-m", "reelgate", *args],
        cwd=installation.folder,
        env=server_env(installation.folder, **installation.env),
        capture_output=True,
        text=True,
        check=False,
    )


def main() -> None:
    """The command line; exits with 1 when anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--database", choices=["sqlite", "postgres", "both"], default="both")
    given = parser.parse_args()
    print(f"seed {given.seed}")
    failed = False
    for database in ["sqlite", "postgres"] if given.database == "both" else [given.database]:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="thousand-")))
            url = None
            if database == "postgres":
                server = stack.enter_context(running_postgres(durable=True))
                url = stack.enter_context(fresh_database(server))
            zygote = stack.enter_context(processes())
            outcome = run(
                zygote,
                folder,
                count=given.tasks,
                kills=given.kills,
                seed=given.seed,
                database_url=url,
            )
            print(f"{database}: {outcome}")
            print("\n".join(outcome.wrong) or "doctor is content")
            failed |= bool(outcome.wrong)
    sys.exit(failed)


if __name__ == "__main__":
    main()
