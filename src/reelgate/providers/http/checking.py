"""An upstream's key and models: the header that carries the one, and a proof of both for free."""

from collections.abc import Mapping

from reelgate.domain.errors import OperatorError
from reelgate.net.client import Client
from reelgate.net.errors import CallFailed
from reelgate.providers.base import Cause, CheckReport
from reelgate.providers.http.idiom import CAUSES, Complaint, Idiom
from reelgate.providers.http.reading import Body, parse

CHECK_MS = 20_000


def bearer(api_key: str | None, base_url: str) -> dict[str, str]:
    """The header that carries the key. Raises OperatorError for a key that no header can carry."""
    if not api_key:
        return {}
    if not (api_key.isascii() and api_key.isprintable()) or " " in api_key:
        raise OperatorError(
            f"the key for {base_url} has a space, a line break or another character that no key "
            "has; set it again without"
        )
    return {"Authorization": f"Bearer {api_key}"}


async def check_models(
    client: Client,
    headers: Mapping[str, str],
    paths: tuple[str, ...],
    models: tuple[str, ...],
    idiom: Idiom,
) -> CheckReport:
    """Ask for the list of models at the first of `paths` that exists: proves key and models."""
    reply = None
    for path in paths:
        try:
            reply = await client.request("GET", path, timeout_ms=CHECK_MS, headers=headers)
        except CallFailed as exc:
            return CheckReport(False, None, (), str(exc))
        if reply.status not in {404, 405}:
            break
    if reply is None or reply.status in {404, 405}:
        return CheckReport(True, None, (), "it lists no models: key and models are unproven")
    body = parse(reply.body)
    if 200 <= reply.status < 300 and body is not None:
        missing = tuple(sorted(set(models) - _names(body)))
        detail = f"not served: {', '.join(missing)}" if missing else "key and models are good"
        return CheckReport(True, True, missing, detail)
    complaint = Complaint.of(reply, body)
    meaning = idiom.meaning(complaint) or CAUSES.get(reply.status)
    authorized = False if meaning is Cause.BAD_CREDENTIALS else None
    return CheckReport(True, authorized, (), complaint.told(reply.status))


def _names(body: Body) -> set[str]:
    """Ids and aliases in `{data: [{id}]}` (OpenAI) or `{models: [{id, aliases}]}` (xAI)."""
    names: set[str] = set()
    for row in (*_rows(body.get("data")), *_rows(body.get("models"))):
        aliases = row.get("aliases")
        named = [row.get("id"), *(aliases if isinstance(aliases, list) else [])]
        names.update(name for name in named if isinstance(name, str))
    return names


def _rows(value: object) -> list[Body]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
