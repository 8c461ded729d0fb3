"""What happened, one line each, on stderr: for people (`text`) or for programs (`json`).

Requests are logged by the ten thousand a second, so they go a short way round the `logging`
module: `RequestLog` formats straight into the buffer that everything shares, and the event loop
writes that out every 50 ms. Whatever else is logged goes through `logging`, keeps its place among
the requests, and has keys, passwords and signatures masked in case one slipped in.
"""

import asyncio
import atexit
import json
import logging
import re
import sys
import threading
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quoted
from pathlib import PurePath
from types import TracebackType
from typing import Literal, TextIO

from reelgate.domain.clock import Clock

_FLUSH_S = 0.05
_MS_PER_SECOND = 1000
_FIELDS = "reelgate_fields"
_FRAMES_SHOWN_MAX = 6
_PLAIN = re.compile(r"[\w.:/@+,%*()-]+\Z", re.ASCII)
# What `logging` itself puts on a record; the rest came as `extra` or through `event`.
_NOT_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {_FIELDS, "message", "taskName"}
# Third parties whose `info` is chatter beside one line per request.
_CHATTY = ("aiohttp", "asyncio", "PIL", "uvicorn")

# What has to be in the text (in lower case) for the pattern to be worth a try, and the pattern.
_QUERY_SECRET = re.compile(r"(?i)([?&](?:sig|signature|token|key|x-amz-[a-z-]+)=)[^&\s\"']+")
_SECRETS = (
    ("sk-", re.compile(r"\b(sk-)[A-Za-z0-9_-]{8,}")),
    ("xai-", re.compile(r"\b(xai-)[A-Za-z0-9_-]{40,}")),
    ("whsec_", re.compile(r"\b(whsec_)[A-Za-z0-9+/=_-]{8,}")),
    ("bearer", re.compile(r"(?i)(\bbearer\s+)[^\s\"']+")),
    ("?", _QUERY_SECRET),
    ("&", _QUERY_SECRET),
    ("://", re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://[^\s/:@\"']*:)[^\s/@\"']+(?=@)")),
)

LogFormat = Literal["text", "json"]


def masked(text: str) -> str:
    """`text` without API keys, bearer tokens, passwords in URLs and signatures of links."""
    lower = text.lower()
    for hint, pattern in _SECRETS:
        if hint in lower:
            text = pattern.sub(r"\1***", text)
    return text


def event(
    logger: logging.Logger,
    message: str,
    *,
    level: int = logging.INFO,
    error: BaseException | None = None,
    **fields: object,
) -> None:
    """Log one line: `event(log, "task moved", task_id=…, from_="queued", to="sending")`.

    A trailing underscore of a field's name is dropped. Fields that say nothing are left out.
    """
    if logger.isEnabledFor(level):
        logger.log(level, message, exc_info=error, extra={_FIELDS: fields})


class LogBuffer:
    """Whole lines on their way to a stream, in order, from any thread.

    What the last 50 ms buffered is lost when the process is killed; nothing else ever is.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[str] = []
        self._lock = threading.Lock()
        self._flush_is_due = False

    def append(self, line: str) -> None:
        """Keep a line for the next flush, which the running event loop does within 50 ms."""
        self._lines.append(line)
        if not self._flush_is_due:
            self._flush_soon()

    def write(self, line: str) -> None:
        """Write a line now, after those that came before it."""
        self._lines.append(line)
        self.flush()

    def flush(self) -> None:
        """Write out what is buffered. A stream that can't take it loses it: logs stop nobody."""
        with self._lock:
            self._flush_is_due = False
            count = len(self._lines)
            text = "".join(self._lines[:count])
            # Appends of other threads land behind `count`; they are for the next flush.
            del self._lines[:count]
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):
                return

    def _flush_soon(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        self._flush_is_due = True
        loop.call_later(_FLUSH_S, self.flush)


class RequestLog:
    """One line per answered request, in about a microsecond."""

    def __init__(self, buffer: LogBuffer, log_format: LogFormat, clock: Clock) -> None:
        self._buffer = buffer
        self._json = log_format == "json"
        self._now_ms = clock.now_ms
        self._second = -1
        self._stamp = ""
        self.enabled = True

    def __call__(
        self,
        method: str,
        path: str,
        status: int,
        elapsed_us: int,
        request_id: str,
        task_id: str = "",
    ) -> None:
        """`path` goes without its query: that is where links carry their signature."""
        if not self.enabled:
            return
        second, ms = divmod(self._now_ms(), _MS_PER_SECOND)
        if second != self._second:
            self._second, self._stamp = second, _stamp(second)
        if self._json:
            line = (
                f'{{"time":"{self._stamp}.{ms:03d}Z","level":"info","event":"request",'
                f'"method":{_quoted(method)},"path":{_quoted(path)},"status":{status},'
                f'"elapsed_us":{elapsed_us},"request_id":{_quoted(request_id)},'
                f'"task_id":{_quoted(task_id)}}}\n'
            )
        else:
            of_task = f" task_id={_plain(task_id)}" if task_id else ""
            line = (
                f"{self._stamp}.{ms:03d}Z INFO {_plain(method)} {_plain(path)} {status} "
                f"elapsed_us={elapsed_us} request_id={_plain(request_id)}{of_task}\n"
            )
        self._buffer.append(line)


def setup_logging(
    log_format: LogFormat, level: str, clock: Clock, stream: TextIO | None = None
) -> RequestLog:
    """Send all logging, this product's and third parties', to `stream` (default: stderr).

    `level` is one of debug, info, warning, error. Returns the short way for requests.
    """
    buffer = LogBuffer(stream or sys.stderr)
    handler = _Handler(buffer)
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter())
    threshold = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(handlers=[handler], level=threshold, force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))
    # It warns of every malformed body, which is the sender's trouble and is answered as such.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    logging.captureWarnings(capture=True)
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    atexit.register(buffer.flush)
    requests = RequestLog(buffer, log_format, clock)
    requests.enabled = threshold <= logging.INFO
    return requests


class _Handler(logging.Handler):
    def __init__(self, buffer: LogBuffer) -> None:
        super().__init__()
        self._buffer = buffer

    def emit(self, record: logging.LogRecord) -> None:
        self._buffer.write(masked(self.format(record)) + "\n")

    def flush(self) -> None:
        self._buffer.flush()


class _TextFormatter(logging.Formatter):
    """`2026-11-22T18:43:00.123Z INFO task moved task_id=… from=queued to=sending`."""

    def format(self, record: logging.LogRecord) -> str:
        parts = [_time(record), record.levelname, _one_line(record.getMessage())]
        parts += [f"{name}={_text_value(value)}" for name, value in _fields(record).items()]
        return " ".join(parts)


class _JsonFormatter(logging.Formatter):
    """One object a line; an exception's whole traceback is in it."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info and record.exc_info[0]:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, separators=(",", ":"))


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """What was said of an event beside its words, with `extra` or through `event`."""
    fields: dict[str, object] = {
        name: value
        for name, value in record.__dict__.items()
        if name not in _NOT_FIELDS and value is not None and value != ""
    }
    for name, value in getattr(record, _FIELDS, {}).items():
        if value is not None and value != "":
            fields[name.rstrip("_")] = value
    if not record.name.startswith("reelgate"):
        fields["logger"] = record.name
    if record.exc_info and record.exc_info[1]:
        error = record.exc_info[1]
        fields["error"] = f"{type(error).__name__}: {error}"
        fields["at"] = _frames(error.__traceback__)
    return fields


def _frames(traceback: TracebackType | None) -> str:
    """Where an exception came from, innermost first: `submit.py:33<create.py:12`."""
    frames = []
    while traceback is not None:
        file = PurePath(traceback.tb_frame.f_code.co_filename).name
        frames.append(f"{file}:{traceback.tb_lineno}")
        traceback = traceback.tb_next
    return "<".join(frames[::-1][:_FRAMES_SHOWN_MAX])


def _time(record: logging.LogRecord) -> str:
    second, ms = divmod(int(record.created * _MS_PER_SECOND), _MS_PER_SECOND)
    return f"{_stamp(second)}.{ms:03d}Z"


@lru_cache(maxsize=4)
def _stamp(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _text_value(value: object) -> str:
    return _plain(value if isinstance(value, str) else str(value))


def _plain(text: str) -> str:
    """A value as one word; quoted and escaped when it is not."""
    return text if _PLAIN.match(text) else json.dumps(text, ensure_ascii=False)


def _one_line(text: str) -> str:
    return text if text.isprintable() else json.dumps(text, ensure_ascii=False)[1:-1]
