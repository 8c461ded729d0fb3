"""PostgreSQL restarts while tasks run: everybody waits for it, and nothing is lost or dropped."""

from __future__ import annotations

import time
from pathlib import Path

from tests.support.aftermath import all_tasks, open_account, wrongs
from tests.support.load import Answer, Api, Request
from tests.support.postgres import fresh_database, restartable_postgres
from tests.support.processes import Zygote, until

LEASE_S = 1
AWAY_S = 3 * LEASE_S
SOON_S = 30


def test_all_outlive_a_restart_of_the_database(zygote: Zygote, tmp_path: Path) -> None:
    """It is away for longer than a lease: no worker may take the others for dead."""
    with restartable_postgres() as postgres, fresh_database(postgres.url) as url:
        env = {"REELGATE_DATABASE_URL": url, "REELGATE_LEASE_S": f"{LEASE_S}"}
        _, key = open_account(tmp_path, **env)
        servers = [
            zygote.serve(tmp_path, log="both", **env),
            zygote.work(tmp_path, log="worker", **env),
        ]
        assert servers[0].url is not None
        api = Api(servers[0].url, key)
        load = [Request(f"a boat [sandbox:slow={n % 3 + 1}]") for n in range(12)]
        for request in load:
            request.send(api)
        until(
            lambda: all(api.task(r.task_id or "")["status"] == "in_progress" for r in load), SOON_S
        )

        postgres.stop()
        stopped_at = time.monotonic()
        refused = [create(api), api.call("GET", f"/v1/videos/{load[0].task_id}")]
        assert [answer.status for answer in refused] == [503, 503]
        assert {answer.body["error"]["code"] for answer in refused} == {"unavailable"}
        assert api.call("GET", "/readyz").status == 503
        time.sleep(max(0.0, stopped_at + AWAY_S - time.monotonic()))
        postgres.start()

        until(lambda: create(api).status == 200, SOON_S, servers[0].log)
        for request in load:
            assert api.ended(request.task_id or "", SOON_S)["status"] == "completed"
        for task in all_tasks(tmp_path, **env):
            api.ended(task.id, SOON_S)
        assert [server.stop() for server in servers] == [0, 0]
        logs = "".join(server.log() for server in servers)
        assert "lease not renewed" in logs
        assert "lease lost" not in logs
        assert "Traceback" not in logs
        assert wrongs(tmp_path, **env) == []


def create(api: Api) -> Answer:
    body, headers = Request("a boat").body()
    return api.call("POST", "/v1/videos", body, **headers)
