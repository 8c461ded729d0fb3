"""Refusals as answers: contract section 5, row by row."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.responses import Response

from reelgate.api.errors import (
    KINDS,
    error_response,
    image_endpoint,
    method_not_allowed,
    route_not_found,
)
from reelgate.domain.errors import Code, Refusal, StorageFull, StoreError, StoreUnavailable
from reelgate.store.database import CommitUnknown

REQUEST_ID = "req_0123456789abcdef"

# The table of the contract, written down once more by hand.
CONTRACT = """
400 invalid_request_error missing_required_parameter invalid_value unknown_parameter
400 invalid_request_error conflicting_parameters unsupported_parameter invalid_json wrong_endpoint
401 authentication_error invalid_api_key
402 insufficient_quota insufficient_balance spend_limit_exceeded
403 permission_error model_not_allowed
404 not_found_error task_not_found model_not_found video_not_ready route_not_found
405 invalid_request_error method_not_allowed
413 invalid_request_error request_too_large
415 invalid_request_error unsupported_media_type
409 conflict_error idempotency_in_progress not_cancellable
410 not_found_error video_expired video_deleted
422 invalid_request_error idempotency_key_reused
429 rate_limit_error rate_limit_exceeded
500 server_error internal_error
503 server_error unavailable
507 server_error storage_full
"""
# What the operator's own routes add.
OPERATOR = """
404 not_found_error account_not_found key_not_found upstream_not_found
409 conflict_error name_taken not_resolvable
422 invalid_request_error reference_reused
"""
ROWS = {
    code: (int(status), kind)
    for status, kind, *codes in (
        line.split() for line in f"{CONTRACT}{OPERATOR}".splitlines() if line
    )
    for code in codes
}


def body_of(response: Response) -> dict[str, Any]:
    body = json.loads(bytes(response.body))
    assert list(body) == ["error"]
    assert list(body["error"]) == ["message", "type", "param", "code"]
    error: dict[str, Any] = body["error"]
    return error


@pytest.mark.parametrize("code", Code)
def test_each_code_has_the_status_and_type_of_the_contract(code: Code) -> None:
    response = error_response(Refusal(code, "That is why.", "size"), REQUEST_ID)
    error = body_of(response)
    assert (response.status_code, error["type"]) == ROWS[code]
    assert error == {
        "message": "That is why.",
        "type": ROWS[code][1],
        "param": "size",
        "code": code.value,
    }
    assert response.headers["x-request-id"] == REQUEST_ID
    assert response.headers["content-type"] == "application/json"
    assert response.headers["content-length"] == str(len(response.body))


def test_no_code_is_missing_or_made_up() -> None:
    assert set(ROWS) == {code.value for code in Code} == {code.value for code in KINDS}


HEADERS = (
    (Code.INVALID_API_KEY, "www-authenticate", "Bearer"),
    (Code.RATE_LIMIT_EXCEEDED, "retry-after", "1"),
    (Code.UNAVAILABLE, "retry-after", "2"),
    (Code.IDEMPOTENCY_IN_PROGRESS, "retry-after", "1"),
    (Code.IDEMPOTENCY_IN_PROGRESS, "x-should-retry", "true"),
    (Code.NOT_CANCELLABLE, "x-should-retry", "false"),
    (Code.STORAGE_FULL, "x-should-retry", "false"),
)


@pytest.mark.parametrize(("code", "name", "value"), HEADERS)
def test_clients_are_told_whether_and_when_to_try_again(code: Code, name: str, value: str) -> None:
    assert error_response(Refusal(code, "x"), REQUEST_ID).headers[name] == value


def test_a_refusals_own_headers_win() -> None:
    refusal = Refusal(Code.RATE_LIMIT_EXCEEDED, "x", headers={"retry-after": "17"})
    assert error_response(refusal, REQUEST_ID).headers["retry-after"] == "17"


@pytest.mark.parametrize("error", [CommitUnknown("x"), ValueError("x"), StoreError("x")])
def test_when_a_task_may_exist_no_client_sends_it_again_by_itself(error: Exception) -> None:
    response = error_response(error, REQUEST_ID, task_may_exist=True)
    assert response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    "error", [Refusal(Code.RATE_LIMIT_EXCEEDED, "x"), StoreUnavailable("nothing was written")]
)
def test_where_nothing_happened_a_client_may_try_again(error: Exception) -> None:
    response = error_response(error, REQUEST_ID, task_may_exist=True)
    assert "x-should-retry" not in response.headers


SECRET = "sk-secret at /srv/data, SELECT * FROM task, https://upstream.example"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StorageFull(SECRET), "storage_full"),
        (StoreUnavailable(SECRET), "unavailable"),
        (StoreError(SECRET), "internal_error"),
        (ValueError(SECRET), "internal_error"),
        (RecursionError(SECRET), "internal_error"),
        (KeyError(SECRET), "internal_error"),
    ],
)
def test_what_went_wrong_inside_stays_inside(error: Exception, code: str) -> None:
    response = error_response(error, REQUEST_ID)
    said = body_of(response)
    assert (response.status_code, said["type"]) == ROWS[code]
    assert (said["code"], said["param"]) == (code, None)
    assert "secret" not in bytes(response.body).decode()
    assert said["message"]


def test_an_internal_error_names_the_request() -> None:
    assert REQUEST_ID in body_of(error_response(ValueError(), REQUEST_ID))["message"]


@pytest.mark.parametrize("text", ["é 漢 😀", 'a "quote"', "\0\x1b", "half \ud83d of it"])
def test_any_message_goes_out_as_json(text: str) -> None:
    said = body_of(error_response(Refusal(Code.INVALID_VALUE, text), REQUEST_ID))["message"]
    assert said == text.encode("utf-8", "backslashreplace").decode()


# ---- routes -------------------------------------------------------------------------------

ROUTES = (
    "/v1/videos",
    "/v1/videos/{task_id}",
    "/v1/videos/{task_id}/content",
    "/v1/videos/edits",
    "/v1/models",
)
TASK = "task_" + "a" * 32


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("/v1/video", "/v1/videos"),
        ("/videos", "/v1/videos"),
        ("/v1/videos/", "/v1/videos"),
        ("/v1/vidoes", "/v1/videos"),
        (f"/v1/videos/{TASK}/contents", "/v1/videos/{task_id}/content"),
        ("/v1/model", "/v1/models"),
    ],
)
def test_an_unknown_route_hears_of_its_neighbours(path: str, near: str) -> None:
    refusal = route_not_found("POST", path, ROUTES)
    assert refusal.code is Code.ROUTE_NOT_FOUND
    assert f"POST {path}." in refusal.message
    assert near in refusal.message.partition("Did you mean")[2]


def test_a_route_from_nowhere_gets_a_short_answer() -> None:
    refusal = route_not_found("GET", "/" + "x" * 100_000, ROUTES)
    assert len(refusal.message) < 300
    assert "/docs" in refusal.message


def test_another_method_hears_of_the_right_ones() -> None:
    refusal = method_not_allowed("PUT", "/v1/videos", {"POST", "GET"})
    response = error_response(refusal, REQUEST_ID)
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST"
    assert "GET, POST" in refusal.message


IMAGES = "/v1/images/generations"


def test_a_video_model_at_an_image_route_gets_the_request_to_send_instead() -> None:
    refusal = image_endpoint(
        IMAGES, {"model": "grok-imagine", "prompt": 'a "boat"'}, ["grok-imagine"]
    )
    assert (refusal.code, refusal.param) == (Code.WRONG_ENDPOINT, "model")
    assert IMAGES in refusal.message
    before, _, body = refusal.message.partition("POST /v1/videos: ")
    assert before
    assert json.loads(body) == {"model": "grok-imagine", "prompt": 'a "boat"', "duration": 6}


def test_with_a_picture_it_becomes_image_to_video() -> None:
    refusal = image_endpoint("/v1/images/edits", {"image[]": "x"}, ["grok-imagine"])
    assert '"image": "https://' in refusal.message


def test_another_model_at_an_image_route_is_not_found() -> None:
    refusal = image_endpoint(IMAGES, {"model": "dall-e-3"}, ["grok-imagine"])
    assert refusal.code is Code.MODEL_NOT_FOUND
    assert "grok-imagine" in refusal.message


def test_a_long_prompt_is_not_sent_back() -> None:
    fields = {"model": "grok-imagine", "prompt": "x" * 100_000}
    assert len(image_endpoint(IMAGES, fields, ["grok-imagine"]).message) < 400
