"""A TCP proxy that cuts a PostgreSQL connection at the worst moment: around its COMMIT."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from urllib.parse import urlsplit, urlunsplit

COMMIT = b"COMMIT\0"  # a whole statement: `READ COMMITTED` is another thing


class Cut(Enum):
    """When the connection is cut: with the COMMIT not sent yet, or done and not yet heard of."""

    BEFORE_COMMIT = auto()
    AFTER_COMMIT = auto()


class Proxy:
    """Passes everything on, until it is told to `cut` a commit; then only that one."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        user = parts.netloc.rpartition("@")[0]
        self.url = urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{port}"))
        self.cut: Cut | None = None
        self.cuts = 0
        self._passing = 0
        self._refuse_after = False
        self.accepts = True
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_commit(self, nth: int, cut: Cut, *, then_refuse: bool = False) -> None:
        """Cut the nth commit from now; `then_refuse` every connection after it."""
        self._passing, self.cut, self._refuse_after = nth - 1, cut, then_refuse

    def drop_all(self) -> None:
        """Cut every connection there is."""
        for sock in list(self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.drop_all()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self.accepts:
                client.close()
                continue
            server = socket.create_connection(self._target)
            self._open |= {client, server}
            commit_sent = threading.Event()
            for work in (self._to_server, self._to_client):
                threading.Thread(
                    target=work, args=(client, server, commit_sent), daemon=True
                ).start()

    def _to_server(
        self, client: socket.socket, server: socket.socket, commit_sent: threading.Event
    ) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if self.cut is not None and COMMIT in data and self._its_turn():
                    if self.cut is Cut.BEFORE_COMMIT:
                        self._note_cut()
                        break
                    commit_sent.set()
                server.sendall(data)
        self._hang_up(client, server)

    def _to_client(
        self, client: socket.socket, server: socket.socket, commit_sent: threading.Event
    ) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if commit_sent.is_set():
                    self._note_cut()
                    break
                client.sendall(data)
        self._hang_up(client, server)

    def _its_turn(self) -> bool:
        self._passing -= 1
        return self._passing < 0

    def _note_cut(self) -> None:
        self.cut = None
        self.cuts += 1
        self.accepts = not self._refuse_after

    def _hang_up(self, *socks: socket.socket) -> None:
        for sock in socks:
            self._open.discard(sock)
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


@contextmanager
def proxied(url: str) -> Iterator[Proxy]:
    """A proxy before the server of a URL, for the time of the block."""
    proxy = Proxy(url)
    try:
        yield proxy
    finally:
        proxy.close()
