"""A small client of a gateway's HTTP API, for the command line. Standard library only."""

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from reelgate.cli.exits import ExitCode
from reelgate.cli.multipart import Field, MultipartBody
from reelgate.domain.errors import Code, OperatorError

T = TypeVar("T")

_TIMEOUT_S = 30
_CREATE_ATTEMPTS_MAX = 4
_DOWNLOAD_ATTEMPTS_MAX = 6
_PAUSE_S = 1.0
_RETRY_AFTER_S_MAX = 120.0
_ANSWER_BYTES_MAX = 16 * 1024 * 1024
_CHUNK_BYTES = 256 * 1024
_PARTIAL = 206
_RANGE_NOT_SATISFIABLE = 416
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504, 507})

_EXIT_CODES: Mapping[str | int | None, ExitCode] = {
    Code.INSUFFICIENT_BALANCE: ExitCode.INSUFFICIENT_BALANCE,
    Code.SPEND_LIMIT_EXCEEDED: ExitCode.INSUFFICIENT_BALANCE,
    404: ExitCode.NOT_FOUND,
    410: ExitCode.NOT_FOUND,
}


class GatewayUnreachable(OperatorError):
    """No usable answer this time; asking again may help. `retry_after_s` is its own wish."""

    def __init__(self, message: str, retry_after_s: float = _PAUSE_S) -> None:
        super().__init__(message, exit_code=ExitCode.UNREACHABLE)
        self.retry_after_s = min(retry_after_s, _RETRY_AFTER_S_MAX)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a gateway is and who we are there. The key is in no repr."""

    url: str
    api_key: str = field(repr=False)

    @property
    def base(self) -> str:
        """The address without `/v1`: with and without it both work."""
        return self.url.rstrip("/").removesuffix("/v1")


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer: its JSON object and headers."""

    body: dict[str, Any]
    headers: Message


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to whoever it names."""

    def redirect_request(
        self, req: Any, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        """Take no redirect; urllib then reports the status as an error."""


class Client:
    """Calls one gateway. Every method raises GatewayUnreachable, or OperatorError for a refusal."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if urlsplit(endpoint.url).hostname in {"127.0.0.1", "::1", "localhost"}:
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    # ---- tasks ----------------------------------------------------------------------------

    def create(self, order: Sequence[Field] | dict[str, Any], idempotency_key: str) -> Answer:
        """Create a task: a dict goes as JSON, a list of fields as a form with files.

        Asks again when no answer comes: the idempotency key makes that safe.
        """
        headers = {"Idempotency-Key": idempotency_key}
        if isinstance(order, dict):
            return _patiently(
                _CREATE_ATTEMPTS_MAX,
                lambda: self.call("POST", "/v1/videos", headers, json_body=order),
            )
        form = MultipartBody(order)
        return _patiently(
            _CREATE_ATTEMPTS_MAX, lambda: self.call("POST", "/v1/videos", headers, form=form)
        )

    def task(self, task_id: str, wait_s: int = 0) -> Answer:
        """A task now, or when it ends within `wait_s`."""
        headers = {"Prefer": f"wait={wait_s}"} if wait_s else {}
        return self.call("GET", f"/v1/videos/{quote(task_id, safe='')}", headers, wait_s=wait_s)

    def tasks(self, *, limit: int, after: str | None) -> Answer:
        """A page of the account's tasks, newest first."""
        query = {"limit": str(limit)} | ({"after": after} if after else {})
        return self.call("GET", f"/v1/videos?{urlencode(query)}")

    def cancel(self, task_id: str) -> Answer:
        return self.call("POST", f"/v1/videos/{quote(task_id, safe='')}/cancel")

    def balance(self) -> dict[str, Any] | None:
        """The account's money; None from a gateway that does not tell."""
        try:
            return self.call("GET", "/v1/balance").body
        except OperatorError:
            return None

    # ---- bytes ----------------------------------------------------------------------------

    def download(
        self, task_id: str, target: Path, on_bytes: Callable[[int, int | None], None]
    ) -> int:
        """Bring a finished video to `target` and return its size in bytes.

        It grows in a hidden file beside the target, which a broken download is resumed from, and
        takes its name only when it is complete.
        """
        part = target.with_name(f".{target.name}.{task_id}.part")
        path = f"/v1/videos/{quote(task_id, safe='')}/content"
        total = _patiently(_DOWNLOAD_ATTEMPTS_MAX, lambda: self._append(path, part, on_bytes))
        part.replace(target)
        return total

    def _append(self, path: str, part: Path, on_bytes: Callable[[int, int | None], None]) -> int:
        have = part.stat().st_size if part.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        with self._open("GET", path, headers, may_be=_RANGE_NOT_SATISFIABLE) as answer:
            total = _whole_length(answer)
            if answer.status == _RANGE_NOT_SATISFIABLE:
                if total == have:
                    return have
                part.unlink()
                raise GatewayUnreachable("the video is not the one that the download began with")
            resumed = answer.status == _PARTIAL
            done = have if resumed else 0
            with part.open("ab" if resumed else "wb") as file:
                for chunk in self._chunks(answer):
                    file.write(chunk)
                    done += len(chunk)
                    on_bytes(done, total)
                file.flush()
                os.fsync(file.fileno())
        if total is not None and done != total:
            raise GatewayUnreachable(f"the download ended after {done} of {total} bytes")
        return done

    def _chunks(self, answer: http.client.HTTPResponse) -> Iterable[bytes]:
        while True:
            try:
                chunk = answer.read1(_CHUNK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from None
            if not chunk:
                return
            yield chunk

    # ---- one call -------------------------------------------------------------------------

    def call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        json_body: dict[str, Any] | None = None,
        form: MultipartBody | None = None,
        wait_s: int = 0,
    ) -> Answer:
        """One request that is answered by a JSON object."""
        sent = dict(headers or {})
        body: bytes | MultipartBody | None = form
        if json_body is not None:
            body = json.dumps(json_body).encode()
            sent["Content-Type"] = "application/json"
        elif form is not None:
            sent["Content-Type"] = form.content_type
        if body is not None:
            sent["Content-Length"] = str(len(body))
        with self._open(method, path, sent, body, wait_s=wait_s) as answer:
            try:
                text = answer.read(_ANSWER_BYTES_MAX)
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from None
        found = _json_object(text)
        if found is None:
            raise OperatorError(
                f"{self._endpoint.base} does not answer like a Reelgate; is REELGATE_URL right?",
                ExitCode.UNREACHABLE,
            )
        return Answer(found, answer.headers)

    def _open(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | MultipartBody | None = None,
        *,
        wait_s: int = 0,
        may_be: int | None = None,
    ) -> Any:
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked with the settings
            self._endpoint.base + path,
            data=body,
            headers={**headers, "Authorization": f"Bearer {self._endpoint.api_key}"},
            method=method,
        )
        try:
            return self._opener.open(request, timeout=_TIMEOUT_S + wait_s)
        except urllib.error.HTTPError as error:
            if error.status == may_be:
                return error
            with error:
                raise self._refusal(error) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> GatewayUnreachable:
        reason = getattr(error, "reason", None) or error
        return GatewayUnreachable(f"can't reach {self._endpoint.base}: {reason}")

    def _refusal(self, error: urllib.error.HTTPError) -> OperatorError:
        """What a status of 300 and above means for the command."""
        try:
            body = _json_object(error.read(_ANSWER_BYTES_MAX)) or {}
        except (OSError, http.client.HTTPException):
            body = {}
        told = body.get("error")
        told = told if isinstance(told, dict) else {}
        message = str(told.get("message") or f"{self._endpoint.base} answers HTTP {error.status}")
        if error.status in _TRY_AGAIN:
            after = error.headers.get("Retry-After", "")
            return GatewayUnreachable(message, float(after) if after.isdecimal() else _PAUSE_S)
        if location := error.headers.get("Location"):
            message += f", a redirect to {location}; set REELGATE_URL to the address itself"
        exit_code = _EXIT_CODES.get(told.get("code")) or _EXIT_CODES.get(error.status)
        return OperatorError(message, exit_code or ExitCode.USAGE)


def _patiently(attempts_max: int, attempt: Callable[[], T]) -> T:
    for _ in range(attempts_max - 1):
        try:
            return attempt()
        except GatewayUnreachable as error:
            time.sleep(error.retry_after_s)
    return attempt()


def _json_object(text: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _whole_length(answer: Any) -> int | None:
    """The length of the whole resource, of which this answer may be a part."""
    said = answer.headers.get("Content-Range", "").rpartition("/")[2]
    said = said or answer.headers.get("Content-Length", "")
    return int(said) if said.isdecimal() else None
