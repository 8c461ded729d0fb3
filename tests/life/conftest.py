"""A furnished installation for processes to begin with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.aftermath import open_account
from tests.support.clips import make_clip
from tests.support.files import file_server
from tests.support.load import SMALL, Api, Request, send_all
from tests.support.processes import Zygote


@dataclass(frozen=True)
class Furnished:
    """A data folder with one customer, some ended tasks, and the films of the usual load made."""

    folder: Path
    key: str
    source_url: str
    png: bytes

    def copy_to(self, folder: Path) -> None:
        folder.mkdir()
        shutil.copytree(self.folder / "data", folder / "data")

    def usual_load(self) -> list[Request]:
        """One of each: plain, failing, blocked, with an upload, and slow with progress."""
        return [
            Request("a boat"),
            Request("a boat [sandbox:fail]", error="task_failed"),
            Request("a boat [sandbox:moderated]", error="content_policy_violation"),
            Request("a boat", image=self.png),
            Request("a boat [sandbox:slow=0.6]"),
        ]

    def long_source(self) -> Request:
        """An edit whose source is longer than was said of it: its hold has to grow."""
        fields = {
            **dict.fromkeys(SMALL),
            "model": SMALL["model"],
            "video": self.source_url,
            "operation": "edit_video",
            "input_video_seconds": 1,
        }
        return Request("black and white", fields=fields)


@pytest.fixture(scope="session")
def furnished(
    zygote: Zygote, tmp_path_factory: pytest.TempPathFactory, png: bytes
) -> Iterator[Furnished]:
    folder = tmp_path_factory.mktemp("furnished")
    clips = tmp_path_factory.mktemp("clips")
    make_clip(clips / "clip.mp4", frames=48)
    _, key = open_account(folder)
    with file_server(clips) as url:
        made = Furnished(folder, key, f"{url}/clip.mp4", png)
        server = zygote.serve(folder)
        assert server.url is not None
        api = Api(server.url, key)
        load = [*made.usual_load(), made.long_source()]
        assert send_all(api, load) == len(load)
        for request in load:
            task = api.ended(request.task_id or "")
            assert (task["error"] or {}).get("code") == request.error, task
        assert server.stop() == 0
        yield made
