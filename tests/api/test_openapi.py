"""`/openapi.json` says what is so: held against routes, rows, rules and catalogue."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jsonschema_rs
import pytest

from reelgate.api.create_schema import form_schema, json_schema
from reelgate.api.describe import HEADERS, JSON, PATH_PARAMS, RATE_HEADERS, TAGS, Tag
from reelgate.api.field_docs import FIELDS, Known
from reelgate.api.fields import CREATE, EXTRA_BODY, ROWS, CreateReader
from reelgate.api.meanings import CODES, TASK_ERRORS
from reelgate.api.openapi import openapi
from reelgate.api.routes import ROUTES
from reelgate.api.vocabulary import WORDS
from reelgate.catalog import MODELS
from reelgate.domain.errors import Code, Refusal, TaskError
from reelgate.domain.examples import example
from reelgate.domain.ids import is_task_id, new_task_id
from reelgate.domain.model import Operation, Span
from reelgate.domain.rules import check
from reelgate.flows.rate_limit import Room
from tests.support.live import Live

KNOWN = Known(MODELS, allow_http=False)
SPEC = MODELS["grok-imagine"]
# What the router refuses before there is a route.
OF_NO_ROUTE = {Code.ROUTE_NOT_FOUND, Code.METHOD_NOT_ALLOWED}
DIALECT = "https://json-schema.org/draft/2020-12/schema"
LINK = "https://example.com/a"
TASK = new_task_id(1_800_000_000_000)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi(ROUTES, KNOWN)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def resolved(document: dict[str, Any], reference: str) -> Any:
    node: Any = document
    for step in reference.removeprefix("#/").split("/"):
        node = node[step]
    return node


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from nodes(child)


def validator(document: dict[str, Any], schema: Any) -> Any:
    """Of one schema of the document, with the others to refer to."""
    whole = {"components": document["components"], **schema}
    return jsonschema_rs.Draft202012Validator(whole)


# ---- nothing is left out --------------------------------------------------------------------


def test_every_route_is_there_and_no_other(document: dict[str, Any]) -> None:
    told = {(m, path) for m, path, _ in operations(document) if m != "HEAD"}
    assert told == {(route.method, route.path) for route in ROUTES}


def test_every_route_says_what_it_is_for(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        assert operation["summary"], (method, path)
        assert not operation["summary"].endswith("."), (method, path)
        assert Tag(operation["tags"][0]) in TAGS
        assert operation["responses"], (method, path)
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    assert [name for name in ids if not re.fullmatch("[a-z0-9_]+", name)] == []


def test_every_parameter_of_a_path_is_told(document: dict[str, Any]) -> None:
    used = set()
    for _, path, operation in operations(document):
        told = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"]
        assert told == re.findall(r"\{(\w+)\}", path)
        used |= set(told)
    assert used == set(PATH_PARAMS)


def test_every_row_is_described_and_nothing_else(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert set(FIELDS) == set(ROWS)
    assert set(schemas["CreateVideo"]["properties"]) == {*ROWS, EXTRA_BODY}
    assert {*ROWS, EXTRA_BODY} <= set(schemas["CreateVideoForm"]["properties"])


def test_every_field_of_every_type_is_described(document: dict[str, Any]) -> None:
    bare = [
        f"{name}.{field}"
        for name, schema in document["components"]["schemas"].items()
        for field, value in schema["properties"].items()
        if not value.get("description")
    ]
    assert bare == []


def test_the_vocabulary_has_no_word_for_nothing(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    exact = {
        f"{name}.{field}" for name, schema in schemas.items() for field in schema["properties"]
    }
    loose = {name.partition(".")[2] for name in exact if name not in WORDS}
    assert sorted(set(WORDS) - exact - loose) == []


def test_every_code_has_a_meaning_and_a_route_that_gives_it(document: dict[str, Any]) -> None:
    assert set(CODES) == set(Code)
    assert set(TASK_ERRORS) == set(TaskError)
    given = {
        code
        for part in (document["paths"], document["components"]["responses"])
        for node in nodes(part)
        if "code" in node and "enum" in node["code"]
        for code in node["code"]["enum"]
    }
    assert given == set(Code) - OF_NO_ROUTE


def test_every_header_is_used(document: dict[str, Any]) -> None:
    told = {name for node in nodes(document) for name in node.get("headers", ())}
    assert told == set(HEADERS)
    assert {name.decode() for name, _ in Room(5, 4, 1).headers()} == set(RATE_HEADERS)
    for _, _, operation in operations(document):
        for response in operation["responses"].values():
            whole = resolved(document, response["$ref"]) if "$ref" in response else response
            assert "x-request-id" in whole["headers"]


# ---- it holds together ----------------------------------------------------------------------


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = [node["$ref"] for node in nodes(document) if isinstance(node.get("$ref"), str)]
    assert references
    for reference in references:
        assert resolved(document, reference)
    used = {reference.rpartition("/")[2] for reference in references}
    assert set(document["components"]["schemas"]) <= used
    assert set(document["components"]["responses"]) <= used


def test_every_schema_is_one(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        assert jsonschema_rs.meta.is_valid({**schema, "$schema": DIALECT}), name


def test_every_sample_and_example_fits_its_schema(document: dict[str, Any]) -> None:
    seen = 0
    for node in nodes(document["paths"]):
        if "examples" in node and "schema" in node and isinstance(node["examples"], dict):
            for name, shown in node["examples"].items():
                errors = [
                    e.message
                    for e in validator(document, node["schema"]).iter_errors(shown["value"])
                ]
                assert errors == [], name
                seen += 1
    assert seen > 10


def test_each_operation_has_an_example_that_works(document: dict[str, Any]) -> None:
    content = document["paths"]["/v1/videos"]["post"]["requestBody"]["content"][JSON]
    assert set(content["examples"]) == {operation.value for operation in Operation}
    for operation in Operation:
        shown = content["examples"][operation.value]["value"]
        assert shown == json.loads(example(operation, SPEC.id))
        assert accepted(shown)


# ---- it says what the rules say ---------------------------------------------------------------


def accepted(body: dict[str, Any]) -> bool:
    """Whether the gateway takes it: the reader and the rules."""
    try:
        draft, problems = CreateReader(MODELS, allow_http=False).read(body)
        check(draft, MODELS[draft.model], problems)
    except Refusal:
        return False
    return True


def body(**fields: Any) -> dict[str, Any]:
    return {"model": SPEC.id, "prompt": "x", **fields}


BODIES: dict[str, dict[str, Any]] = {
    "text": body(duration=6),
    "text, digits": body(duration="6"),
    "text, padded digits": body(seconds="006"),
    "no duration": body(),
    "null duration": body(duration=None),
    "null and another": body(duration=None, seconds=3),
    "both durations": body(duration=3, seconds=3),
    "shortest": body(duration=1),
    "nothing long": body(duration=0),
    "longest": body(duration=15),
    "too long": body(duration=16),
    "too long in digits": body(duration="16"),
    "half a second": body(duration=1.5),
    "a yes for a number": body(duration=True),
    "no model": {"prompt": "x", "duration": 6},
    "null model": {"model": None, "prompt": "x", "duration": 6},
    "another model": {"model": "sora-2", "prompt": "x", "duration": 6},
    "no prompt": {"model": SPEC.id, "duration": 6},
    "blank prompt": body(duration=6) | {"prompt": " \n\t"},
    "NUL in the prompt": body(duration=6) | {"prompt": "a\0b"},
    "longest prompt": body(duration=6) | {"prompt": "x" * 4096},
    "too long a prompt": body(duration=6) | {"prompt": "x" * 4097},
    "unknown field": body(duration=6, fps=24),
    "unknown field, null": body(duration=6, operation=None, user=None),
    "tier": body(duration=6, size="720p"),
    "pixels": body(duration=6, resolution="848x480"),
    "other pixels": body(duration=6, size="1024x1024"),
    "ratio": body(duration=6, aspect_ratio="2:3"),
    "other ratio": body(duration=6, aspect_ratio="21:9"),
    "auto without a picture": body(duration=6, aspect_ratio="auto"),
    "auto": body(duration=6, image=LINK, aspect_ratio="auto"),
    "image": body(duration=6, image=LINK),
    "image as object": body(duration=6, image={"url": LINK}),
    "image as strange object": body(duration=6, image={"href": LINK}),
    "image as empty object": body(duration=6, image={}),
    "image as list": body(duration=6, image=[LINK]),
    "image by plain http": body(duration=6, image="http://example.com/a"),
    "image by ftp": body(duration=6, image="ftp://example.com/a"),
    "no link": body(duration=6, image="example.com/a.png"),
    "image by another name": body(duration=6, image_url=LINK),
    "OpenAI's name": body(duration=6, input_reference={"image_url": LINK}),
    "OpenAI's file": body(duration=6, input_reference={"file_id": "file_1"}),
    "images": body(duration=10, images=[LINK] * 7),
    "images, too long": body(duration=11, images=[LINK]),
    "no images": body(duration=6, images=[]),
    "too many images": body(duration=6, images=[LINK] * 8),
    "images and image": body(duration=6, images=[LINK], image=LINK),
    "edit": body(video=LINK),
    "edit, said": body(video=LINK, operation="edit_video"),
    "edit, said inside": body(video=LINK, extra_body={"operation": "edit_video"}),
    "edit with a ratio": body(video=LINK, aspect_ratio="1:1"),
    "edit with a size": body(video=LINK, size="720p"),
    "edit with a duration": body(video=LINK, operation="edit_video", duration=3),
    "edit of a task": body(video={"id": TASK}),
    "edit of no task": body(video={"id": "task_1"}),
    "edit, declared": body(video=LINK, extra_body={"input_video_seconds": 9}),
    "edit, declared at the top": body(video=LINK, input_video_seconds="9"),
    "edit, declared too long": body(video=LINK, extra_body={"input_video_seconds": 10}),
    "extend": body(video=LINK, duration=2),
    "extend, too short": body(video=LINK, duration=1),
    "extend, sized": body(video=LINK, duration=2, size="720p"),
    "extend, declared": body(video=LINK, duration=2, extra_body={"input_video_seconds": 15}),
    "videos": body(videos=[LINK]),
    "two videos": body(videos=[LINK, LINK]),
    "operation without its input": body(duration=6, operation="edit_video"),
    "input without its operation": body(duration=6, image=LINK, operation="text_to_video"),
    "declared without a source": body(duration=6, input_video_seconds=3),
    "no operation": body(duration=6, operation="dance"),
    "metadata": body(duration=6, metadata={"a": "b"}),
    "metadata of numbers": body(duration=6, metadata={"a": 1}),
    "metadata in our name": body(duration=6, metadata={"url": "b"}),
    "much metadata": body(duration=6, metadata={str(n): "" for n in range(17)}),
    "wide metadata": body(duration=6, metadata={"a": "x" * 513}),
    "long-named metadata": body(duration=6, metadata={"x" * 65: "a"}),
    "user": body(duration=6, user="u" * 512),
    "long user": body(duration=6, user="u" * 513),
    "extra body with more": body(duration=6, extra_body={"fps": 24}),
}


@pytest.mark.parametrize("name", BODIES)
def test_the_schema_takes_what_the_rules_take(document: dict[str, Any], name: str) -> None:
    schema = {"$ref": "#/components/schemas/CreateVideo"}
    assert validator(document, schema).is_valid(BODIES[name]) == accepted(BODIES[name])


def test_a_task_id_in_a_schema_is_a_task_id() -> None:
    schema = json_schema(KNOWN, CREATE)["properties"]["video"]
    patterns = [
        kind["properties"]["id"]["pattern"]
        for kind in schema["anyOf"]
        if "id" in kind.get("properties", ())
    ]
    for text in (TASK, TASK[:-1], TASK + "2", TASK.upper(), "task_" + "1" * 32, "video_1"):
        assert bool(re.search(patterns[0], text)) == is_task_id(text)


# ---- it follows the catalogue and the operator ------------------------------------------------


def test_a_limit_that_changes_changes_everywhere() -> None:
    rows = dict(SPEC.operations)
    text = rows[Operation.TEXT_TO_VIDEO]
    rows[Operation.TEXT_TO_VIDEO] = replace(text, seconds=Span(1, 20))
    longer = Known({SPEC.id: replace(SPEC, operations=rows, prompt_chars_max=7)}, allow_http=False)
    made = dict(json_schema(longer, CREATE))
    check_body = jsonschema_rs.Draft202012Validator(made).is_valid
    assert check_body(body(duration=20))
    assert not check_body(body(duration=21))
    assert not check_body(body(duration=20, image=LINK))
    assert not check_body(body(duration=6) | {"prompt": "12345678"})
    assert "|20)" in form_schema(longer, CREATE)["properties"]["duration"]["pattern"]


def test_prices_in_force_are_shown() -> None:
    dearer = replace(SPEC, prices_micro={**SPEC.prices_micro, "output_second_720p": 123_456})
    made = openapi(ROUTES, Known({SPEC.id: dearer}, allow_http=False))
    sample = made["paths"]["/v1/videos"]["post"]["responses"]["200"]["content"][JSON]["examples"]
    assert sample["queued"]["value"]["billing"]["items"][0]["unit_price"] == "0.123456"
    assert sample["completed"]["value"]["billing"]["cost"] == "0.740736"
    assert "0.123456" in json.dumps(made["paths"]["/v1/pricing"])


def test_plain_http_is_told_where_it_is_allowed() -> None:
    plain = body(duration=6, image="http://example.com/a")
    for allowed in (True, False):
        made = dict(json_schema(Known(MODELS, allow_http=allowed), CREATE))
        assert jsonschema_rs.Draft202012Validator(made).is_valid(plain) == allowed


# ---- it is served -----------------------------------------------------------------------------


def test_it_is_served_to_everybody_and_once(live: Live) -> None:
    client = live.client()
    first = client.get("/openapi.json")
    assert first.status_code == 200
    assert first.headers["content-type"] == "application/json"
    assert first.json() == json.loads(json.dumps(openapi(ROUTES, Known(MODELS, allow_http=True))))
    again = client.get("/openapi.json", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    head = client.head("/openapi.json")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(first.content))
