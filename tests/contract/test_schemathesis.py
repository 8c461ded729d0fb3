"""Whatever is sent, the answer is one that `/openapi.json` describes; what it allows is taken.

schemathesis makes requests up from the document, right ones and wrong ones, and sends them to a
running gateway: the same ones each time.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reelgate.api.describe import JSON, MULTIPART, URLENCODED, Tag
from reelgate.api.field_docs import Known
from reelgate.api.fields import ROWS
from reelgate.api.openapi import openapi
from reelgate.api.routes import ROUTES
from reelgate.catalog import MODELS
from reelgate.flows.accounts import NewKey, create_key
from reelgate.flows.gateway import Gateway
from tests.support.live import live_server

pytestmark = pytest.mark.timeout(300)

EXAMPLES_MAX = 6
# Refusals that a wrong request may meet here, beside those that schemathesis expects.
REFUSED = [400, 401, 402, 403, 404, 405, 409, 410, 413, 415, 422, 429]

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Served:
    """A gateway without a worker, on which one task has ended and the others wait."""

    url: str
    folder: Path
    key: str
    admin_key: str
    spare_key_id: str
    completed: str

    def run(self, document: Document, key: str, config: str) -> None:
        """Have schemathesis ask for all that a document allows, and for what it does not."""
        name = f"run-{len(list(self.folder.iterdir()))}"
        folder = self.folder / name
        folder.mkdir()
        (folder / "openapi.json").write_text(json.dumps(document), "utf-8")
        settings = COMMON.format(key=key) + config
        (folder / "schemathesis.toml").write_text(settings, "utf-8")
        command = ["-m", "schemathesis.cli", "run", "openapi.json", "--url", self.url]
        done = subprocess.run(
            [sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


COMMON = """
seed = 1
color = false
headers = {{ Authorization = "Bearer {key}" }}
generation.deterministic = true
generation.no-shrink = true
phases.stateful.enabled = false
phases.coverage.unexpected-methods = ["PUT"]
"""
ANSWERS = f"""
generation.max-examples = {EXAMPLES_MAX}
checks.positive_data_acceptance.enabled = false
checks.negative_data_rejection.expected-statuses = {REFUSED}
"""
# The operations whose path ends so work on this one.
ABOUT = """
[[operations]]
include-path-regex = "{0}"
parameters = {{ {1} = "{2}" }}
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("schemathesis")
    (folder / "runs").mkdir()
    with live_server(folder) as whole:
        account = whole.account("1000000")
        completed = account.made()["id"]

        async def admin(gateway: Gateway) -> NewKey:
            return await create_key(gateway, None)

        admin_key, spare = whole.run(admin), whole.run(admin)
    with live_server(folder, REELGATE_ROLE="api", REELGATE_PREFER_WAIT_S_MAX="0") as api:
        keys = account.key, admin_key.secret, spare.key.id
        yield Served(api.url, folder / "runs", *keys, completed)


def document() -> Document:
    return openapi(ROUTES, Known(MODELS, allow_http=True))


def strict(tags: Collection[Tag]) -> Document:
    """The routes of some tags; a field of an answer that nobody described is an error here.

    Of routes that do the same one is asked, in JSON and in one kind of form.
    """
    made = document()
    for schema in made["components"]["schemas"].values():
        schema.setdefault("additionalProperties", False)
    seen: set[Any] = set()
    paths: Document = {}
    for route in ROUTES:
        if route.doc.tag in tags and route.handler not in seen:
            operation = made["paths"][route.path][route.method.lower()]
            content = operation.get("requestBody", {}).get("content", {})
            content.pop((MULTIPART, URLENCODED)[len(seen) % 2], None)
            paths.setdefault(route.path, {})[route.method.lower()] = operation
        seen.add(route.handler)
    return {**made, "paths": paths}


@pytest.mark.parametrize(
    "tags",
    [
        pytest.param({Tag.VIDEOS}, id="videos"),
        pytest.param({Tag.COMPATIBLE}, id="compatible paths"),
        pytest.param({*Tag} - {Tag.VIDEOS, Tag.COMPATIBLE, Tag.ADMIN}, id="the rest"),
    ],
)
def test_every_answer_to_a_customer_is_described(served: Served, tags: set[Tag]) -> None:
    # There is more to see of a task that has ended.
    about = ABOUT.format("/(content|events)$", "task_id", served.completed)
    served.run(strict(tags), served.key, ANSWERS + about)


def test_every_answer_to_an_operator_is_described(served: Served) -> None:
    # Keys are revoked, too: not those that the tests use.
    about = ABOUT.format("/[{]key_id[}]", "key_id", served.spare_key_id)
    served.run(strict({Tag.ADMIN}), served.admin_key, ANSWERS + about)


# ---- what the document allows ---------------------------------------------------------------

LINK = {"type": "string", "pattern": r"^https://example\.com/[a-z0-9]{1,20}$"}
# Two names of one field may not differ, which no schema says: they are taken out beforehand.
ALIASES = {row.name for row in ROWS.values()} - {row.field for row in ROWS.values()} - {"duration"}
ACCEPTED = """
phases.coverage.enabled = false
generation.max-examples = 40
checks.enabled = false
checks.positive_data_acceptance.enabled = true
checks.positive_data_acceptance.expected-statuses = ["200"]
"""


def tame(paths: Collection[str]) -> Document:
    """JSON bodies of some routes, without what only the rules behind the schema can judge."""
    made = document()
    schemas = made["components"]["schemas"]
    for name, schema in schemas.items():
        if "oneOf" in schema:
            schemas[name] = without_aliases(schema)
            tame_fields(schemas[name]["properties"])
    taken = {}
    for path in paths:
        operation = made["paths"][path]["post"]
        content = operation["requestBody"]["content"]
        operation["parameters"], operation["requestBody"]["content"] = [], {JSON: content[JSON]}
        taken[path] = {"post": operation}
    return {**made, "paths": taken}


def without_aliases(node: Any) -> Any:
    """One name for each field; whole numbers one by one, as 6.0 is none to us."""
    if isinstance(node, list):
        return [
            without_aliases(entry)
            for entry in node
            if not (isinstance(entry, dict) and ALIASES.intersection(entry.get("required", ())))
        ]
    if not isinstance(node, dict):
        return node
    if node.keys() == {"type", "minimum", "maximum"}:
        return {"enum": list(range(node["minimum"], node["maximum"] + 1))}
    return {name: without_aliases(value) for name, value in node.items() if name not in ALIASES}


def tame_fields(properties: Document) -> None:
    """Links that are links, sizes that fit every shape, and nothing said twice."""
    properties.pop("input_video_seconds", None)
    if "size" in properties:
        properties["size"] = {"enum": ["480p", "720p"]}
    url = {"type": "object", "properties": {"url": LINK}, "required": ["url"]}
    media = [LINK, {**url, "additionalProperties": False}]
    for name in {"image", "video"} & properties.keys():
        properties[name] = {"anyOf": [*media, {"type": "null"}]}
    if "images" in properties:
        properties["images"]["anyOf"][0]["items"] = {"anyOf": media}


def test_what_is_described_is_taken(served: Served) -> None:
    paths = ["/v1/videos/estimate", "/v1/videos/edits", "/v1/videos/extensions"]
    served.run(tame(paths), served.key, ACCEPTED)
