"""`/openapi.json` and `/docs`: made at the first request, the same bytes from then on."""

import asyncio
import base64
import hashlib
from collections.abc import Callable, Mapping
from importlib import resources

import msgspec
from starlette.responses import Response

from reelgate.api.asgi import Answer, Api, Call, Document
from reelgate.api.docs_page import page
from reelgate.api.field_docs import Known
from reelgate.api.openapi import openapi

_COMMON = {"cache-control": "no-cache", "x-content-type-options": "nosniff"}


async def openapi_json(call: Call) -> Answer:
    """The API for programs."""
    return await _answer(call, _openapi_json)


async def docs(call: Call) -> Answer:
    """The API for people."""
    return await _answer(call, _docs)


async def _answer(call: Call, make: Callable[[Api], Document]) -> Answer:
    made = call.api.documents.get(make.__name__)
    if made is None:
        made = call.api.documents[make.__name__] = await asyncio.to_thread(make, call.api)
    if call.header(b"if-none-match") == made.headers["etag"]:
        return Response(status_code=304, headers=made.headers)
    return Response(made.body, headers=made.headers)


def _openapi_json(api: Api) -> Document:
    known = Known(api.gateway.models, allow_http=api.gateway.policy.allow_http_inputs)
    body = msgspec.json.encode(openapi(api.routes, known))
    return _document(body, {"content-type": "application/json"})


def _docs(api: Api) -> Document:
    """The page may use its own style and nothing else, from here or anywhere."""
    known = Known(api.gateway.models, allow_http=api.gateway.policy.allow_http_inputs)
    style = resources.files("reelgate.api").joinpath("docs.css").read_text("utf-8")
    style_hash = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    body = page(openapi(api.routes, known), style).encode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{style_hash}'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": policy,
        "referrer-policy": "no-referrer",
    }
    return _document(body, headers)


def _document(body: bytes, headers: Mapping[str, str]) -> Document:
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return Document(body, {**_COMMON, **headers, "etag": etag})
