"""The one way in which this package lets a decoder near bytes that somebody else made."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer

from reelgate.media.facts import BadMedia

# Nothing but MP4 is looked for: probing could find a playlist that names other files and hosts.
_DEMUXER = "mov"
# Edit lists would hide samples that are there.
_OPTIONS = {"protocol_whitelist": "file", "enable_drefs": "0", "ignore_editlist": "1"}


@contextmanager
def open_video(path: Path) -> Iterator[InputContainer]:
    """An MP4 opened for demuxing, closed afterwards.

    Raises BadMedia for what the library raises in between.
    """
    try:
        with av.open(path.absolute(), format=_DEMUXER, options=_OPTIONS) as container:
            yield container
    except (av.error.FFmpegError, ValueError) as error:
        raise BadMedia("the video can't be read: it is damaged") from error
