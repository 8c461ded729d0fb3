"""One picture or clip of a request: a link, a data URI, an uploaded file, or an earlier task."""

import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from reelgate.api.forms import Upload
from reelgate.api.json_text import decode_json
from reelgate.domain.errors import Code, Refusal
from reelgate.domain.ids import is_task_id
from reelgate.domain.order import MediaDraft
from reelgate.domain.quoting import quoted

URL_CHARS_MAX = 8192

_MIB = 1024 * 1024
_CHARS_SHOWN = 80
_DATA_HEAD_CHARS_MAX = 256
_LINK_FILE_BYTES_MAX = URL_CHARS_MAX
_LINK_STARTS = (b"http://", b"https://", b"data:", b"task_")
_BLANKS_AND_CONTROLS = re.compile(r"[\x00-\x20\x7f]")


class Unreadable(Exception):
    """A field was given, but not as something that it can be."""

    def __init__(self, message: str, code: Code = Code.INVALID_VALUE) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class MediaKind:
    """What a field holds, and the names that an object in it may have."""

    noun: str
    keys: tuple[str, ...]


PICTURE = MediaKind("an image", ("url",))
# OpenAI's own shape of a picture; `file_id` needs a file store that is not part of this API.
REFERENCE_PICTURE = MediaKind("an image", ("image_url", "url"))
CLIP = MediaKind("a video", ("url", "id"))


@dataclass(frozen=True, slots=True)
class MediaPolicy:
    """What the operator and the models allow at most: plain `http:` links, bytes, pictures."""

    allow_http: bool
    pictures_max: int
    picture_bytes_max: int
    clip_bytes_max: int

    def bytes_max(self, kind: MediaKind) -> int:
        return self.clip_bytes_max if kind is CLIP else self.picture_bytes_max


def read_media(
    label: str, value: Any, kind: MediaKind, policy: MediaPolicy, param: str
) -> MediaDraft:
    """`label` is what messages call the value, such as `images[1]`; `param` is the field.

    Raises Unreadable.
    """
    if isinstance(value, str):
        if not value.startswith("{"):
            return _from_text(label, value, kind, policy, param)
        value = decode_text(label, value)
    if isinstance(value, dict):
        return _from_object(label, value, kind, policy, param)
    if isinstance(value, Upload):
        return _from_upload(label, value, kind, policy, param)
    raise Unreadable(
        f"{label} must be {kind.noun} as a link (https://…), a data: URI, an uploaded file or an "
        f"object with `{kind.keys[0]}`; got {shown(value)}"
    )


def decode_text(label: str, text: str) -> Any:
    """The value of a field that is written as JSON text. Raises Unreadable."""
    try:
        return decode_json(text.encode("utf-8"), label)
    except Refusal as refusal:
        raise Unreadable(refusal.message.rstrip("."), refusal.code) from None


def shown(value: Any) -> str:
    """A value as messages quote it: short, and harmless whatever it is."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, Upload):
        return "an uploaded file"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)[:_CHARS_SHOWN]


# ---- the four ways ------------------------------------------------------------------------


def _from_object(
    label: str, value: dict[str, Any], kind: MediaKind, policy: MediaPolicy, param: str
) -> MediaDraft:
    given = {key: inner for key, inner in value.items() if inner is not None}
    for key in given:
        if key not in kind.keys:
            names = " or ".join(f"`{name}`" for name in kind.keys)
            raise Unreadable(
                f"{label} has an unknown `{key[:_CHARS_SHOWN]}`; it takes {names}",
                Code.UNKNOWN_PARAMETER,
            )
    if len(given) != 1:
        names = " or ".join(f'{{"{key}": "…"}}' for key in kind.keys)
        code = Code.CONFLICTING_PARAMETERS if given else Code.INVALID_VALUE
        raise Unreadable(f"{label} must have exactly one name: {names}", code)
    key, inner = next(iter(given.items()))
    inner_label = f"{label}.{key}"
    if isinstance(inner, Upload) and key != "id":
        return _from_upload(inner_label, inner, kind, policy, param)
    if not isinstance(inner, str):
        raise Unreadable(f"{inner_label} must be a string; got {shown(inner)}")
    if key != "id":
        return _from_text(inner_label, inner, kind, policy, param)
    if not is_task_id(inner):
        raise Unreadable(f"{inner_label}: there is no task {shown(inner)}", Code.TASK_NOT_FOUND)
    return MediaDraft(param, task_id=inner)


def _from_text(
    label: str, text: str, kind: MediaKind, policy: MediaPolicy, param: str
) -> MediaDraft:
    if text[:5].lower() == "data:":
        return _from_data_uri(label, text, kind, policy, param)
    _check_link(label, text, kind, policy)
    return MediaDraft(param, url=text)


def _check_link(label: str, text: str, kind: MediaKind, policy: MediaPolicy) -> None:
    if len(text) > URL_CHARS_MAX:
        raise Unreadable(
            f"{label} is a link of {len(text)} characters; at most {URL_CHARS_MAX} are taken"
        )
    schemes = ("https", "http") if policy.allow_http else ("https",)
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises where it is not a port number
        fits = parts.scheme in schemes and bool(parts.hostname)
    except ValueError:
        fits = False
        parts = None
    if fits and not _BLANKS_AND_CONTROLS.search(text):
        return
    if text.startswith("task_") and "id" in kind.keys:
        raise Unreadable(
            f'{label} is a task id: to use an earlier result, send "video": {{"id": {shown(text)}}}'
        )
    if parts is not None and parts.scheme == "http" and not policy.allow_http:
        raise Unreadable(f"{label} must be an https:// link, not http://; got {shown(text)}")
    raise Unreadable(
        f"{label} must be {kind.noun} as a link (https://…), a data: URI with base64, or an "
        f"uploaded file (multipart/form-data); got {shown(text)}"
    )


def _from_data_uri(
    label: str, text: str, kind: MediaKind, policy: MediaPolicy, param: str
) -> MediaDraft:
    """The declared type is not looked at: the bytes say what they are."""
    comma = text.find(",", 0, _DATA_HEAD_CHARS_MAX)
    if comma < 0 or not text[:comma].lower().endswith(";base64"):
        raise Unreadable(
            f"{label} must be a data: URI with base64, such as data:image/png;base64,iVBORw0…; "
            f"got {shown(text)}"
        )
    encoded = text[comma + 1 :]
    bytes_max = policy.bytes_max(kind)
    if len(encoded) // 4 * 3 - encoded.count("=", -2) > bytes_max:
        raise _too_large(label, kind, bytes_max)
    try:
        data = binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError:
        raise Unreadable(
            f"{label} is a data: URI whose base64 is broken: only A-Z a-z 0-9 + / and padding "
            "with = are allowed, without line breaks"
        ) from None
    if not data:
        raise Unreadable(f"{label} is a data: URI without any data")
    return MediaDraft(param, data=data, sha256=hashlib.sha256(data).hexdigest())


def _from_upload(
    label: str, upload: Upload, kind: MediaKind, policy: MediaPolicy, param: str
) -> MediaDraft:
    if not upload.data:
        raise Unreadable(f"{label} is an uploaded file without any bytes")
    if len(upload.data) > policy.bytes_max(kind):
        raise _too_large(label, kind, policy.bytes_max(kind))
    head = upload.data[: len("https://")].lower()
    if head.startswith(_LINK_STARTS) and len(upload.data) <= _LINK_FILE_BYTES_MAX:
        # LiteLLM uploads the text of a link under the name of a picture.
        raise Unreadable(
            f"{label} is an uploaded file whose content is the text of a link. Send the link "
            f"itself as a plain field: {param}=https://…, or upload the bytes of {kind.noun}"
        )
    return MediaDraft(param, data=upload.data, sha256=upload.sha256)


def _too_large(label: str, kind: MediaKind, bytes_max: int) -> Unreadable:
    return Unreadable(
        f"{label} has more than {bytes_max // _MIB} MiB, the most for {kind.noun}",
        Code.REQUEST_TOO_LARGE,
    )
