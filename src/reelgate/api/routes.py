"""Every route once. Literal segments go before parameters, so no word is read as a task id."""

from reelgate.api import content, events, models, ops, videos
from reelgate.api.asgi import Route

ROUTES: tuple[Route, ...] = (
    Route("POST", "/v1/videos", videos.create),
    Route("GET", "/v1/videos", videos.list_videos),
    Route("POST", "/v1/videos/generations", videos.create),
    Route("POST", "/v1/video/generations", videos.create),
    Route("POST", "/v1/videos/edits", videos.create_edit),
    Route("POST", "/v1/videos/extensions", videos.create_extension),
    Route("POST", "/v1/videos/estimate", videos.estimate),
    Route("GET", "/v1/videos/generations/{task_id}", videos.retrieve),
    Route("GET", "/v1/video/generations/{task_id}", videos.retrieve),
    Route("GET", "/v1/videos/{task_id}", videos.retrieve),
    Route("DELETE", "/v1/videos/{task_id}", videos.delete),
    Route("GET", "/v1/videos/{task_id}/content", content.content, keyed=False),
    Route("GET", "/v1/videos/{task_id}/events", events.events),
    Route("POST", "/v1/videos/{task_id}/cancel", videos.cancel),
    Route("POST", "/v1/videos/{task_id}/remix", videos.create_remix),
    Route("GET", "/v1/models", models.list_models),
    Route("GET", "/v1/models/{model}", models.get_model),
    Route("GET", "/v1/pricing", models.pricing, keyed=False),
    Route("POST", "/v1/images/generations", videos.wrong_endpoint),
    Route("POST", "/v1/images/edits", videos.wrong_endpoint),
    Route("GET", "/healthz", ops.healthz, keyed=False),
    Route("GET", "/readyz", ops.readyz, keyed=False),
)
