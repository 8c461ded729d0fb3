"""What can be made, within which limits, and at which price."""

from reelgate.api import model_cards
from reelgate.api.asgi import Answer, Call, Json
from reelgate.api.errors import model_not_found
from reelgate.api.wire import encode


async def list_models(call: Call) -> Answer:
    """OpenAI's list, with operations, limits and prices."""
    return Json(encode(model_cards.model_list(call.gateway.models.values())))


async def get_model(call: Call) -> Answer:
    """One model."""
    name = call.params["model"]
    spec = call.gateway.models.get(name)
    if spec is None:
        raise model_not_found(name, call.gateway.models)
    return Json(encode(model_cards.model_card(spec)))


async def pricing(call: Call) -> Answer:
    """The price table; public."""
    return Json(encode(model_cards.pricing(call.gateway.models.values())))
