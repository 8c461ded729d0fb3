"""HTTP/1.1 as uvicorn reads it, with an end to what a head may be, and our shape for what is none.

The parser below keeps an unfinished head in memory for as long as it grows, before anybody has
shown a key; and what it can't read never becomes a request that the app could answer.
"""

import os
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from reelgate.api.errors import error_response
from reelgate.domain.errors import Code, Refusal

# Far above what any client sends; a head that comes in one piece may be as long as one read.
HEAD_BYTES_MAX = 256 * 1024


class Protocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = False
        self._head_bytes = 0

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.send_400_response(
                    f"The request line and headers have more than {HEAD_BYTES_MAX // 1024} KiB, "
                    "the most taken."
                )

    def send_400_response(self, msg: str) -> None:
        """`msg` is uvicorn's, or the one above."""
        request_id = f"req_{os.urandom(12).hex()}"
        response = error_response(Refusal(Code.INVALID_VALUE, msg), request_id)
        response.headers["connection"] = "close"
        head = b"".join(b"%s: %s\r\n" % header for header in response.raw_headers)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + head + b"\r\n" + response.body)
        self.transport.close()
