"""Whatever is sent, the answer is one that `/openapi.json` describes; what it allows is taken.

Requests are made up from the document, right ones and wrong ones, and sent to a running gateway:
the same ones each time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case

from reelgate.api.describe import JSON, MULTIPART, URLENCODED, Tag
from reelgate.api.field_docs import Known
from reelgate.api.openapi import openapi
from reelgate.api.routes import ROUTES
from reelgate.catalog import MODELS
from reelgate.flows.accounts import create_key
from reelgate.flows.gateway import Gateway
from tests.support.live import live_server

EXAMPLES_MAX = 10
CALM = settings(max_examples=EXAMPLES_MAX, deadline=None, suppress_health_check=list(HealthCheck))
# Refusals that a wrong request may meet, beside those that schemathesis expects of everybody.
REFUSED = [400, 401, 402, 403, 404, 405, 409, 410, 413, 415, 422, 429]
ALWAYS_REFUSED = {"/v1/images/generations", "/v1/images/edits"}


def document() -> dict[str, Any]:
    """What is served, but strict: a field of an answer that nobody described is an error here."""
    made = openapi(ROUTES, Known(MODELS, allow_http=True))
    for schema in made["components"]["schemas"].values():
        schema.setdefault("additionalProperties", False)
    return made


def schema_of(made: dict[str, Any], **checks: Any) -> Any:
    config = {
        "seed": 1,
        "generation": {"deterministic": True, "no-shrink": True, "max-examples": EXAMPLES_MAX},
        "checks": checks,
    }
    return schemathesis.openapi.from_dict(made, config=schemathesis.Config.from_dict(config))


SCHEMA = schema_of(
    document(),
    # What fits a schema may still not fit what there is: that is for the tests further down.
    positive_data_acceptance={"enabled": False},
    negative_data_rejection={"expected-statuses": REFUSED},
)


@dataclass(frozen=True, slots=True)
class Served:
    """A gateway without a worker, on which one task has ended and the others wait."""

    url: str
    key: str
    admin_key: str
    tasks: Iterator[str | None]

    def headers(self, tag: str) -> dict[str, str]:
        key = self.admin_key if tag == Tag.ADMIN else self.key
        return {"authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("schemathesis")
    with live_server(folder) as whole:
        account = whole.account("1000000")
        completed = account.made()["id"]

        async def admin(gateway: Gateway) -> str:
            return (await create_key(gateway, None)).secret

        admin_key = whole.run(admin)
    with live_server(folder, REELGATE_ROLE="api", REELGATE_PREFER_WAIT_S_MAX="0") as api:
        client = api.client(account.key)
        body = {"model": "grok-imagine", "prompt": "a boat", "duration": 1}
        queued = client.post("/v1/videos", json=body).json()["id"]
        ids = itertools.cycle([completed, queued, None])
        yield Served(api.url, account.key, admin_key, ids)


@SCHEMA.parametrize()
@CALM
def test_every_answer_is_in_the_document(case: Case, served: Served) -> None:
    name_a_real_task(case, served)
    tag = case.operation.definition.raw["tags"][0]
    case.call_and_validate(base_url=served.url, headers=served.headers(tag))


def name_a_real_task(case: Case, served: Served) -> None:
    """A made-up id finds nothing: in right requests, put real ones in its place now and then."""
    is_right = case.meta is None or case.meta.generation.mode.is_positive
    if is_right and "task_id" in case.path_parameters and case.method != "DELETE":
        real = next(served.tasks)
        case.path_parameters["task_id"] = real or case.path_parameters["task_id"]
