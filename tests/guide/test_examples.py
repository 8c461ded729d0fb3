"""The examples of the guide for users run as they are written, against a running gateway.

All blocks of one language on a page are one program, in the order of the page.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reelgate.domain.errors import TaskError
from reelgate.providers.sandbox.script import TAGS, BadScript, read_script
from tests.compat.conftest import PACKAGES
from tests.support.clips import make_clip, make_image
from tests.support.live import Live

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guide"
PAGES = ("quickstart.md", "sandbox-tags.md")
SHELL = "set -euo pipefail\n"
FILMS = {"boat.mp4", "boat.webp"}


def blocks(page: str, language: str) -> str:
    """Everything that a page says in one language."""
    text = (GUIDE / page).read_text("utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return "\n".join(found)


def commands(language: str, program: str, folder: Path) -> list[str | Path]:
    if language == "sh":
        if shutil.which("curl") is None or shutil.which("bash") is None:
            pytest.skip("curl or bash is not here")
        return ["bash", "-c", SHELL + program]
    if language == "python":
        (folder / "example.py").write_text(program, "utf-8")
        return [sys.executable, "-W", "ignore::DeprecationWarning", "example.py"]
    if not (PACKAGES / "node").is_dir():
        pytest.skip("openai-node is not here: `make setup` found no Node.js 20 with npm")
    (folder / "node_modules").symlink_to(PACKAGES / "node" / "node_modules")
    (folder / "example.mjs").write_text(program, "utf-8")
    return ["node", "example.mjs"]


@pytest.mark.parametrize(
    ("page", "language"),
    [
        (page, language)
        for page in PAGES
        for language in ("sh", "python", "js")
        if blocks(page, language)
    ],
)
def test_the_examples_run(live: Live, tmp_path: Path, page: str, language: str) -> None:
    make_image(tmp_path / "photo.png", (200, 120, 40), (320, 240))
    make_image(tmp_path / "person.png", (40, 120, 200), (240, 320))
    make_image(tmp_path / "street.png", (90, 90, 90), (320, 180))
    make_clip(tmp_path / "clip.mp4", frames=48)
    account = live.account("10")
    command = commands(language, blocks(page, language), tmp_path)
    env = {**os.environ, "REELGATE_URL": live.url, "REELGATE_API_KEY": account.key}
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**env, "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    made = {task["operation"]: task for task in account.tasks() if task["status"] == "completed"}
    if page == "quickstart.md":
        assert len(made) == 5, made
        assert (tmp_path / "boat.mp4").read_bytes()[4:8] == b"ftyp"


def test_every_language_does_every_operation() -> None:
    """What the page promises; the examples themselves are run above."""
    text = (GUIDE / "quickstart.md").read_text("utf-8")
    for heading in (
        "Text to video", "Image to video", "Reference images to video", "Edit a video",
        "Extend a video",
    ):  # fmt: skip
        section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        assert re.findall(r"^```(\w+)$", section, re.MULTILINE) == ["sh", "python", "js"], heading


def test_the_page_of_tags_knows_them_all() -> None:
    text = (GUIDE / "sandbox-tags.md").read_text("utf-8")
    written = set(re.findall(r"`(\[sandbox:[^\]]+\])`", text))
    for tag in TAGS:
        assert any(re.match(rf"\[sandbox:{tag.name}\b", one) for one in written), tag.name
    for one in written - {"[sandbox:typo]"}:
        read_script(one)
    with pytest.raises(BadScript):
        read_script("[sandbox:typo]")
    codes = re.findall(r"\| `failed` \| `(\w+)` \|", text)
    assert len(codes) == 9
    assert set(codes) <= {code.value for code in TaskError}
