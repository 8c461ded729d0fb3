"""Every route once: what answers it, and what the reference says of it.

Literal segments go before parameters, so no word is read as a task id.
"""

from reelgate.api import (
    content,
    events,
    metrics,
    models,
    money,
    money_docs,
    ops,
    reference,
    videos,
)
from reelgate.api import route_docs as doc
from reelgate.api.admin_routes import ADMIN_ROUTES
from reelgate.api.asgi import Route

ROUTES: tuple[Route, ...] = (
    Route("POST", "/v1/videos", videos.create, doc.CREATE_VIDEO),
    Route("GET", "/v1/videos", videos.list_videos, doc.LIST),
    Route("POST", "/v1/videos/generations", videos.create, doc.SAME_CREATE),
    Route("POST", "/v1/video/generations", videos.create, doc.SAME_CREATE),
    Route("POST", "/v1/videos/edits", videos.create_edit, doc.EDIT),
    Route("POST", "/v1/videos/extensions", videos.create_extension, doc.EXTEND),
    Route("POST", "/v1/videos/estimate", videos.estimate, doc.ESTIMATE),
    Route("GET", "/v1/videos/generations/{task_id}", videos.retrieve, doc.SAME_READ),
    Route("GET", "/v1/video/generations/{task_id}", videos.retrieve, doc.SAME_READ),
    Route("GET", "/v1/videos/{task_id}", videos.retrieve, doc.GET_VIDEO),
    Route("DELETE", "/v1/videos/{task_id}", videos.delete, doc.DELETE),
    Route("GET", "/v1/videos/{task_id}/content", content.content, doc.CONTENT, keyed=False),
    Route("GET", "/v1/videos/{task_id}/events", events.events, doc.EVENTS),
    Route("POST", "/v1/videos/{task_id}/cancel", videos.cancel, doc.CANCEL),
    Route("POST", "/v1/videos/{task_id}/remix", videos.create_remix, doc.REMIX),
    Route("GET", "/v1/models", models.list_models, doc.MODELS),
    Route("GET", "/v1/models/{model}", models.get_model, doc.MODEL),
    Route("GET", "/v1/pricing", models.pricing, doc.PRICING, keyed=False),
    Route("GET", "/v1/balance", money.balance, money_docs.BALANCE),
    Route("GET", "/v1/usage", money.usage, money_docs.USAGE),
    Route("GET", "/v1/ledger", money.statement, money_docs.LEDGER),
    Route("POST", "/v1/images/generations", videos.wrong_endpoint, doc.WRONG_ENDPOINT),
    Route("POST", "/v1/images/edits", videos.wrong_endpoint, doc.WRONG_ENDPOINT),
    Route("GET", "/healthz", ops.healthz, doc.HEALTHZ, keyed=False),
    Route("GET", "/readyz", ops.readyz, doc.READYZ, keyed=False),
    Route("GET", "/metrics", metrics.metrics, doc.METRICS, keyed=False),
    Route("GET", "/openapi.json", reference.openapi_json, doc.OPENAPI, keyed=False),
    Route("GET", "/docs", reference.docs, doc.DOCS, keyed=False),
    *ADMIN_ROUTES,
)
