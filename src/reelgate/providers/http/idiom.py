"""How an upstream complains, and what that means: is the job refused, not taken, or in doubt?"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from re import Pattern

from reelgate.net.client import Reply
from reelgate.providers.base import (
    Cause,
    Failed,
    NotTaken,
    PollAnswer,
    Refused,
    SubmitAnswer,
    Trouble,
    Uncertain,
    Verdict,
)
from reelgate.providers.http.reading import Body, parse, text, wish_ms
from reelgate.providers.http.words import logged, shown

COMPLAINT_CHARS_MAX = 4_000
ECHO_CHARS_MIN = 8  # no sign is shorter


@dataclass(frozen=True, slots=True)
class Complaint:
    """What an error answer says. `own`: as JSON, so the upstream itself speaks and no proxy.

    Of a page (HTML), which the API itself never sends, nothing is kept.
    """

    code: str
    text: str
    own: bool

    @classmethod
    def of(cls, reply: Reply, body: Body | None) -> "Complaint":
        """The complaint in an answer of any shape."""
        if body is not None:
            return cls.inside(body)
        said = reply.body[:COMPLAINT_CHARS_MAX].decode("utf-8", "replace")
        return cls("", "" if "<" in said[:200] else said, own=False)

    @classmethod
    def inside(cls, body: Body) -> "Complaint":
        """From `{error: {code, message}}`, `{code, error}`, `{code, message}` or `{detail}`."""
        error = body.get("error")
        if isinstance(error, dict):
            code = text(error.get("code")) or text(error.get("type"))
            return cls(code, text(error.get("message")), own=True)
        said = text(error) or text(body.get("message")) or _detail(body.get("detail"))
        return cls(text(body.get("code")), said, own=True)

    def without(self, prompt: str) -> "Complaint":
        """The same without an echo of the prompt: a customer must not choose what it means."""
        if len(prompt) < ECHO_CHARS_MIN:
            return self
        return replace(self, text=self.text.replace(prompt, "…"))

    def told(self, status: int) -> str:
        """For the operator's log."""
        return logged(f"HTTP {status} {self.code} {self.text or 'without a message'}")


def _detail(detail: object) -> str:
    """FastAPI's `detail`: text, or rows of which only `msg` is wanted; `input` is the prompt."""
    if isinstance(detail, list):
        return "; ".join(text(row.get("msg")) for row in detail[:5] if isinstance(row, dict))
    return text(detail)


@dataclass(frozen=True, slots=True)
class Sign:
    """Words or codes that say what a complaint means, whatever status it comes with."""

    meaning: Verdict | Cause
    words: Pattern[str]


def sign(meaning: Verdict | Cause, words: str) -> Sign:
    """One row of an idiom; `words` is a pattern, in any letter case, over code and message."""
    return Sign(meaning, re.compile(words, re.IGNORECASE))


# No upstream documents its text for this; the words are what servers usually say.
INPUT_UNREACHABLE = sign(
    Verdict.INPUT_UNREACHABLE,
    r"input_unreachable|(?:fail|unable|could ?n.t|could not|cannot|can't|error)\w*\b.{0,40}"
    r"\b(?:fetch|download|retriev|reach)",
)

# What an HTTP status means where no sign says more.
CAUSES: Mapping[int, Cause] = {
    401: Cause.BAD_CREDENTIALS,
    402: Cause.CREDITS_EXHAUSTED,
    403: Cause.BAD_CREDENTIALS,
    421: Cause.NETWORK,
    425: Cause.OVERLOADED,
    429: Cause.RATE_LIMITED,
}
# A submit to a route that is not there: the wrong base URL, or a model that is not served.
_SUBMIT_CAUSES: Mapping[int, Cause] = {
    **CAUSES,
    404: Cause.MODEL_UNAVAILABLE,
    405: Cause.MODEL_UNAVAILABLE,
}
# Refused whoever says it, proxy or upstream: the same request would be refused again.
_REFUSALS: Mapping[int, str] = {
    413: "The inputs are larger than the upstream takes.",
    415: "The upstream does not take this kind of input.",
    422: "The upstream refused the request as invalid.",
}
# A time-out or a conflict says nothing sure about the first request, and 302 and 303 are what a
# server may answer after it did take a POST; 301, 307 and 308 only say where to go instead.
_UNDECIDED = frozenset({302, 303, 408, 409})
_UNKNOWN = frozenset({404, 410})

MESSAGES: Mapping[Verdict, str] = {
    Verdict.FAILED: "The upstream could not make this video.",
    Verdict.MODERATED: "The upstream's content moderation blocked this video.",
    Verdict.INVALID_INPUT: "The upstream refused the request as invalid.",
    Verdict.INPUT_UNREACHABLE: "The upstream could not fetch an input.",
    Verdict.EXPIRED: "The job expired at the upstream.",
    Verdict.CANCELLED: "The job was cancelled at the upstream.",
}


@dataclass(frozen=True, slots=True)
class Idiom:
    """How one kind of upstream speaks of trouble; the first sign that fits decides."""

    signs: tuple[Sign, ...]
    cost_ticks: Callable[[Body], int | None]

    def meaning(self, complaint: Complaint) -> Verdict | Cause | None:
        """What the words alone say, None when they say nothing known."""
        said = f"{complaint.code}\n{complaint.text[:COMPLAINT_CHARS_MAX]}"
        return next((sign.meaning for sign in self.signs if sign.words.search(said)), None)

    def submit(self, reply: Reply, prompt: str) -> SubmitAnswer:
        """Any answer to a submit of `prompt` but a readable acceptance."""
        status, body = reply.status, parse(reply.body)
        complaint = Complaint.of(reply, body).without(prompt)
        told = complaint.told(status)
        if status >= 500:
            return Uncertain(Cause.OVERLOADED, told)
        if status < 300 or status in _UNDECIDED:
            return Uncertain(Cause.UNREADABLE, told)
        if status < 400:
            return NotTaken(Cause.NETWORK, f"HTTP {status}: a redirect; is base_url right?")
        meaning = self.meaning(complaint) or _SUBMIT_CAUSES.get(status)
        if meaning is None:
            if status not in _REFUSALS and not complaint.own:
                return NotTaken(Cause.UNREADABLE, told, wish_ms(reply.headers))
            meaning = Verdict.INVALID_INPUT
        if isinstance(meaning, Cause):
            return NotTaken(meaning, told, wish_ms(reply.headers))
        default = _REFUSALS.get(status, MESSAGES[meaning])
        message = shown(complaint.text, default) if complaint.own else default
        return Refused(meaning, message, self.cost_ticks(body or {}))

    def poll(self, reply: Reply) -> PollAnswer:
        """An answer to a poll that tells no state: an error status, or an error and no status."""
        status, body = reply.status, parse(reply.body)
        complaint = Complaint.of(reply, body)
        told, wish = complaint.told(status), wish_ms(reply.headers)
        if status >= 500:
            return Trouble(Cause.OVERLOADED, told, wish)
        if 300 <= status < 400:
            return Trouble(Cause.NETWORK, told, wish)
        meaning = self.meaning(complaint)
        if meaning is Verdict.MODERATED:
            return self.failed(body or {}, Verdict.MODERATED)
        cause = meaning if isinstance(meaning, Cause) else CAUSES.get(status)
        if cause is not None:
            return Trouble(cause, told, wish)
        if not complaint.own or status == 408:
            return Trouble(Cause.UNREADABLE, told, wish)
        verdict = self.failed(body or {})
        if verdict.cost_ticks is not None:
            return verdict  # what has a price has ended
        if status in _UNKNOWN:
            verdict = Failed(Verdict.FAILED, "The upstream no longer knows this job.")
        return Trouble(Cause.JOB_UNKNOWN, told, wish, if_repeated=verdict)

    def failed(self, body: Body, word_says: Verdict = Verdict.FAILED) -> Failed:
        """A body that says the job ended badly; `word_says` is what its status word alone says."""
        complaint = Complaint.inside(body)
        meaning = self.meaning(complaint) or word_says
        cost = self.cost_ticks(body)
        if isinstance(meaning, Cause):  # its words are about the operator's account
            return Failed(Verdict.FAILED, MESSAGES[Verdict.FAILED], cost)
        return Failed(meaning, shown(complaint.text, MESSAGES[meaning]), cost)
