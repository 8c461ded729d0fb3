"""What the reference says before it comes to single routes. Markdown: headings, lists, `code`."""

INTRO = """\
Send a prompt, get a video. The API has the shape of OpenAI's video API, so its SDKs work: point \
`base_url` at this gateway's `/v1` and use a key from its operator.

## Making a video

1. `POST /v1/videos` answers at once with a task. Its highest cost is held from your balance.
2. Ask `GET /v1/videos/{task_id}` until `status` is `completed` or `failed`: after the \
milliseconds in `openai-poll-after-ms`, or with `Prefer: wait=30`, or follow \
`GET /v1/videos/{task_id}/events`.
3. `GET /v1/videos/{task_id}/content` gives the MP4; the signed link in `metadata.url` needs no \
key. You are charged what was delivered, never more than was held, and nothing for a failure.

## Requests

Every write route takes `application/json`, `multipart/form-data` and \
`application/x-www-form-urlencoded`. In a form, an object is written with brackets \
(`extra_body[operation]`) or as one field of JSON text, and a list as a repeated name. Media come \
as links, `data:` URIs, uploaded files, or the id of an earlier task. A field that has no meaning \
is refused, never ignored.

## Repeating a request

Send an `Idempotency-Key` of your own with a create request: the same key and order give the same \
task, however often they arrive. Without one, the automatic retries of OpenAI's SDKs are \
recognised for 10 minutes.

## Errors

Every refusal has the same shape, and lists all problems that were found. `code` is for programs; \
`message` says what was given, what is allowed and, where it helps, the JSON to send. Quote \
`x-request-id` when you report a problem.

A key with a request rate is told with every answer how it stands: `x-ratelimit-limit-requests`, \
`x-ratelimit-remaining-requests` and `x-ratelimit-reset-requests`, and the same in the words of \
the IETF's draft, `ratelimit-policy` and `ratelimit`.
"""
