"""`/openapi.json`: the API as OpenAPI 3.1, put together from what serves the requests.

Paths come from the route table, answers from the types that are encoded, bodies from the rows that
read them, limits and prices from the catalogue, errors from the table of codes.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, assert_never

from reelgate import __version__
from reelgate.api.asgi import Route
from reelgate.api.create_schema import form_schema, json_schema
from reelgate.api.describe import (
    EVENT_STREAM,
    HEADERS,
    JSON,
    PATH_PARAMS,
    RATE_HEADERS,
    TAGS,
    Access,
    Body,
    Param,
    Reply,
    Schema,
)
from reelgate.api.errors import KINDS, ErrorEnvelope
from reelgate.api.field_docs import Known
from reelgate.api.fields import Preset
from reelgate.api.intro import INTRO
from reelgate.api.meanings import CODES
from reelgate.api.samples import samples
from reelgate.api.type_schemas import REFERENCE, TypeSchemas
from reelgate.domain.errors import Code
from reelgate.domain.examples import example
from reelgate.domain.model import Operation
from reelgate.domain.task import PUBLIC_STATUS

_BODY_NAMES: Mapping[tuple[Operation | None, bool], str] = {
    (None, False): "CreateVideo",
    (Operation.EDIT_VIDEO, False): "EditVideo",
    (Operation.VIDEO_EXTEND, False): "ExtendVideo",
    (Operation.EDIT_VIDEO, True): "RemixVideo",
}
# Answers of so few codes are shared by the routes.
_SHARED_CODES_MAX = 2
# What any route may refuse with, any that needs a key, any that writes, any that reads a body.
_ANY_CODES = (Code.INTERNAL_ERROR, Code.UNAVAILABLE)
_KEY_CODES = (Code.INVALID_API_KEY, Code.RATE_LIMIT_EXCEEDED)
_ADMIN_CODES = (Code.INVALID_API_KEY,)
_WRITE_CODES = (Code.STORAGE_FULL,)
_BODY_CODES = (
    Code.MISSING_REQUIRED_PARAMETER,
    Code.INVALID_VALUE,
    Code.UNKNOWN_PARAMETER,
    Code.CONFLICTING_PARAMETERS,
    Code.INVALID_JSON,
    Code.REQUEST_TOO_LARGE,
    Code.UNSUPPORTED_MEDIA_TYPE,
)


def openapi(routes: Iterable[Route], known: Known) -> dict[str, Any]:
    """The whole document, for the models and prices that are `known`."""
    return _Document(list(routes), known).build()


class _Document:
    def __init__(self, routes: list[Route], known: Known) -> None:
        self._routes = routes
        self._known = known
        self._types = TypeSchemas(routes)
        self._samples = samples(known.models)
        self._shared: dict[str, Schema] = {}

    def build(self) -> dict[str, Any]:
        used = {route.doc.tag for route in self._routes}
        paths = self._paths()
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "Reelgate",
                "summary": "One OpenAI-compatible API for AI video.",
                "description": INTRO,
                "version": __version__,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/", "description": "This gateway."}],
            "tags": [
                {"name": tag.value, "description": about}
                for tag, about in TAGS.items()
                if tag in used
            ],
            "paths": paths,
            "components": {
                "schemas": {**self._bodies(), **self._types.components},
                "responses": self._shared,
                "headers": {name: _header(name) for name in HEADERS},
                "securitySchemes": {scheme.value: _SCHEMES[scheme] for scheme in Access},
            },
        }

    def _paths(self) -> dict[str, Any]:
        paths: dict[str, Any] = {}
        for route in self._routes:
            item = paths.setdefault(route.path, {})
            item[route.method.lower()] = self._operation(route, route.method)
            if route.doc.head:
                item["head"] = self._operation(route, "HEAD")
        return paths

    def _operation(self, route: Route, method: str) -> dict[str, Any]:
        doc = route.doc
        access = _access(route)
        operation: dict[str, Any] = {
            "operationId": _operation_id(method, route.path),
            "tags": [doc.tag.value],
            "summary": doc.summary,
            "description": doc.about,
            "parameters": [*_path_params(route.path), *map(_param, doc.params)],
            "responses": self._responses(route, method, access),
            "security": [{scheme.value: []} for scheme in access],
        }
        if doc.body is not None:
            operation["requestBody"] = self._request_body(doc.body)
        return {name: value for name, value in operation.items() if value or name == "security"}

    # ---- what goes in -----------------------------------------------------------------------

    def _request_body(self, body: Body) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for media in body.media:
            content[media] = {"schema": self._body_schema(body.of, media)}
        if isinstance(body.of, Preset) and JSON in content:
            content[JSON]["examples"] = self._examples(body.of)
        return {"required": body.required, "content": content}

    def _body_schema(self, of: Preset | type[Any], media: str) -> Schema:
        if isinstance(of, Preset):
            name = _body_name(of) if media == JSON else f"{_body_name(of)}Form"
            return {"$ref": REFERENCE.format(name=name)}
        return self._types.reference(of)

    def _bodies(self) -> dict[str, Schema]:
        presets = [
            route.doc.body.of
            for route in self._routes
            if route.doc.body is not None and isinstance(route.doc.body.of, Preset)
        ]
        schemas: dict[str, Schema] = {}
        for preset in presets:
            name = _body_name(preset)
            schemas[name] = {"title": name, **json_schema(self._known, preset)}
            schemas[f"{name}Form"] = {"title": f"{name}Form", **form_schema(self._known, preset)}
        return schemas

    def _examples(self, preset: Preset) -> dict[str, Any]:
        return {
            operation.value: {
                "summary": operation.value,
                "value": example_body(operation, spec.id, preset),
            }
            for spec, operation, _ in self._known.operations()
            if preset.operation in {None, operation}
        }

    # ---- what comes out ---------------------------------------------------------------------

    def _responses(self, route: Route, method: str, access: tuple[Access, ...]) -> dict[str, Any]:
        limited = RATE_HEADERS if Access.KEY in access else ()
        found: dict[str, Any] = {}
        for reply in route.doc.replies:
            found[str(reply.status)] = self._reply(reply, limited, bare=method == "HEAD")
        codes = _codes(route, access)
        for status in sorted({KINDS[code].status for code in codes}):
            refused = [code for code in codes if KINDS[code].status == status]
            shown = self._refusal(refused, limited, bare=method == "HEAD")
            if (told := found.get(str(status))) is not None:  # 503 of /readyz is both
                shown = _either(told, self._shared_response(shown))
            found[str(status)] = shown
        return found

    def _shared_response(self, shown: Schema) -> Schema:
        """A response itself, where a reference stands for it."""
        return self._shared[shown["$ref"].rpartition("/")[2]] if "$ref" in shown else shown

    def _reply(self, reply: Reply, limited: tuple[str, ...], *, bare: bool) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for media in () if bare else reply.media:
            content[media] = {"schema": _TEXT if media.startswith("text/") else _BYTES}
            if media == EVENT_STREAM:
                content[media] = {"schema": _EVENT}
            if media == JSON and reply.type is not None:
                content[media] = {"schema": self._types.reference(reply.type)}
                if shown := self._samples.get(reply.type):
                    content[media]["examples"] = {n: {"value": v} for n, v in shown.items()}
        return _response(reply.about, (*reply.headers, *limited), content)

    def _refusal(self, codes: list[Code], limited: tuple[str, ...], *, bare: bool) -> Schema:
        """An error answer; those of few codes come up again and again and are kept once."""
        about = "\n".join(f"- `{code.value}`: {CODES[code].what}" for code in codes)
        own = dict.fromkeys(name for code in codes for name in KINDS[code].headers)
        exact = {"code": {"enum": [code.value for code in codes]}}
        schema = {
            "allOf": [
                self._types.reference(ErrorEnvelope),
                {"properties": {"error": {"properties": exact}}},
            ]
        }
        response = _response(about, (*own, *limited), {} if bare else {JSON: {"schema": schema}})
        if bare or len(codes) > _SHARED_CODES_MAX:
            return response
        name = ".".join([*(code.value for code in codes), *(["limited"] if limited else [])])
        self._shared[name] = response
        return {"$ref": f"#/components/responses/{name}"}


# ---- small parts ----------------------------------------------------------------------------

_TEXT: Schema = {"type": "string"}
_EVENT: Schema = {
    "type": "object",
    "description": "One event of the stream.",
    "properties": {
        "id": {"type": "string", "description": "For `Last-Event-ID`.", "pattern": "^[0-9]+$"},
        "event": {
            "type": "string",
            "description": "The task's status.",
            "enum": list(dict.fromkeys(PUBLIC_STATUS.values())),
        },
        "data": {"type": "string", "description": "The task as JSON: a `Video`."},
    },
    "required": ["id", "event", "data"],
}
_BYTES: Schema = {"type": "string", "format": "binary"}
_SCHEMES: Mapping[Access, Schema] = {
    Access.KEY: {
        "type": "http",
        "scheme": "bearer",
        "description": "Your API key: `Authorization: Bearer sk-…`.",
    },
    Access.LINK: {
        "type": "apiKey",
        "in": "query",
        "name": "sig",
        "description": "The signed link in a completed task's `metadata.url`, as it is.",
    },
    Access.ADMIN_KEY: {
        "type": "http",
        "scheme": "bearer",
        "description": "An operator's key: `reelgate keys create --admin`.",
    },
}


def _access(route: Route) -> tuple[Access, ...]:
    return route.doc.access or ((Access.KEY,) if route.keyed else ())


def _codes(route: Route, access: tuple[Access, ...]) -> list[Code]:
    """All that a route may refuse with, in the order of the table."""
    codes = {*route.doc.codes, *_ANY_CODES}
    for way in access:
        match way:
            case Access.KEY:
                codes.update(_KEY_CODES)
            case Access.ADMIN_KEY:
                codes.update(_ADMIN_CODES)
            case Access.LINK:
                pass
            case _:
                assert_never(way)
    if route.method != "GET":
        codes.update(_WRITE_CODES)
    if route.doc.body is not None:
        codes.update(_BODY_CODES)
    return [code for code in KINDS if code in codes]


def _operation_id(method: str, path: str) -> str:
    words = path.replace("{", "").replace("}", "").replace(".", "_").replace("-", "_")
    return f"{method.lower()}{words.replace('/', '_')}"


def _path_params(path: str) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [{**_param(PATH_PARAMS[name]), "in": "path", "required": True} for name in names]


def _param(param: Param) -> dict[str, Any]:
    return {
        "name": param.name,
        "in": param.place,
        "description": param.about,
        "schema": param.schema,
    }


def _body_name(preset: Preset) -> str:
    return _BODY_NAMES[preset.operation, preset.source_task_id is not None]


def example_body(operation: Operation, model: str, preset: Preset) -> dict[str, Any]:
    """A whole body for a route: without what its path says already."""
    body: dict[str, Any] = json.loads(example(operation, model))
    if preset.source_task_id is not None:
        del body["video"]
    return body


def _response(about: str, headers: Iterable[str], content: Mapping[str, Any]) -> dict[str, Any]:
    names = dict.fromkeys((*headers, "x-request-id"))
    response: dict[str, Any] = {
        "description": about,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
    }
    return {**response, "content": dict(content)} if content else response


def _header(name: str) -> dict[str, Any]:
    about, schema = HEADERS[name]
    return {"description": about, "schema": schema}


def _either(first: Schema, second: Schema) -> Schema:
    """Two answers of one status as one."""
    schemas = [part["content"][JSON]["schema"] for part in (first, second)]
    return {
        "description": f"{first['description']}\n\n{second['description']}",
        "headers": {**first["headers"], **second["headers"]},
        "content": {JSON: {"schema": {"anyOf": schemas}}},
    }
