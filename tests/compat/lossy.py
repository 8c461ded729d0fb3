"""A way to the gateway that loses the answer to each account's first POST."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@contextmanager
def lossy_way(url: str) -> Iterator[str]:
    """The gateway's URL by this way; for the time of the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(urlsplit(url).netloc))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(target: str) -> type[BaseHTTPRequestHandler]:
    lost = set[str]()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
            gateway = http.client.HTTPConnection(target, timeout=30)
            gateway.request("POST", self.path, body, headers)
            answer = gateway.getresponse()
            data = answer.read()
            gateway.close()
            who = self.headers["Authorization"]
            if who not in lost:
                lost.add(who)
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name in ("Content-Type", "Content-Length", "X-Request-Id"):
                self.send_header(name, answer.headers[name])
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            """Keep stderr for the tests."""

    return Handler
