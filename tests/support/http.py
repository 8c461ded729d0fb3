"""The API of a `World` without a socket: requests go straight into the ASGI app."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from reelgate.api.asgi import Api, HttpApi
from reelgate.api.fields import CreateReader
from reelgate.api.routes import ROUTES
from reelgate.flows.authenticate import Authenticator
from reelgate.flows.gateway import Gateway
from reelgate.flows.pictures import PictureMaker


def _no_log(*_: object) -> None:
    """Nothing is told."""


def new_app(gateway: Gateway) -> HttpApi:
    """The app as `serve` puts it together."""
    api = Api(
        gateway,
        Authenticator(gateway),
        CreateReader(gateway.models, allow_http=True),
        PictureMaker(gateway),
    )
    return HttpApi(api, ROUTES, _no_log)


@asynccontextmanager
async def client_of(app: HttpApi, key: str | None) -> AsyncIterator[httpx.AsyncClient]:
    """A client with this key, or none."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://gate.test", headers=headers
    ) as client:
        yield client
