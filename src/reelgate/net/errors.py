"""What can go wrong on the way out.

NetError
├── CallFailed           a request to a configured upstream
│   ├── NotReceived          it certainly never got there: sending again is safe
│   └── Uncertain            it may have been received: never sent again by itself
└── DownloadFailed       bytes that were to be fetched
    ├── Refused              our own policy says no: for good
    ├── NotFound             the server says no (4xx): for good
    ├── TooLarge             more bytes than allowed: for good
    ├── WrongType            not the kind of content that was asked for: for good
    ├── Changed              not the file any more that we began with: start over
    ├── Redirected           the bytes are elsewhere, and the caller decides whether to go there
    └── Unreachable          anything else: later it may work

Every message is safe to show to a customer: it names no host, address, URL or key.
"""

from reelgate.domain.errors import ReelgateError


class NetError(ReelgateError):
    """An outgoing request that did not do what it was to do."""


class CallFailed(NetError):
    """A request to a configured upstream brought no readable answer."""


class NotReceived(CallFailed):
    """No byte of the request was sent: name, connection or TLS failed, or no place in time."""


class Uncertain(CallFailed):
    """The request was sent, at least in part, and no readable answer came back."""


class DownloadFailed(NetError):
    """Bytes could not be fetched."""


class Refused(DownloadFailed):
    """The guard does not allow this URL, or the address behind it."""


class NotFound(DownloadFailed):
    """The server answered 4xx: asking again will not help."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the server answered {status}")
        self.status = status


class TooLarge(DownloadFailed):
    """More than `bytes_max` bytes, by declaration or by count."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__(f"larger than the {bytes_max} bytes allowed")
        self.bytes_max = bytes_max


class WrongType(DownloadFailed):
    """The declared content type or encoding is not one that was asked for."""


class Changed(DownloadFailed):
    """Length, ETag or modification time differ from those of the first part."""


class Redirected(DownloadFailed):
    """A redirect that was not followed. `url` is absolute and unchecked: guard it."""

    def __init__(self, url: str) -> None:
        super().__init__("the server redirects elsewhere")
        self.url = url


class Unreachable(DownloadFailed):
    """Name, connection, TLS, time-out, a broken or unreadable answer, 429 or 5xx.

    `status` is the HTTP status if there was one; `retry_after_ms` is the server's own wish.
    """

    def __init__(
        self, message: str, *, status: int | None = None, retry_after_ms: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_ms = retry_after_ms
