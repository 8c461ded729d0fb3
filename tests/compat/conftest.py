"""The clients under test: each in packages of its own, put there by `make setup`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.compat.lossy import lossy_way
from tests.support.clips import make_clip, make_image
from tests.support.files import file_server
from tests.support.live import Live

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / ".venv" / "clients"
ACCOUNTS = 30
TIMEOUT_S = 50


@dataclass(frozen=True)
class Client:
    """A program that is a user of the API, and where its packages are: None for our own."""

    name: str
    version: str
    program: str
    packages: Path | None = None
    env: tuple[tuple[str, str], ...] = ()

    def missing(self) -> str:
        """Why it can't be run here; empty when it can."""
        if self.packages is None or self.packages.is_dir():
            return ""
        if self.program.endswith(".mjs"):
            return f"{self.name} is not here: `make setup` found no Node.js 20 with npm"
        return f"{self.name} is not here: run `make setup`"

    def command(self, folder: Path) -> tuple[list[str], dict[str, str]]:
        """How to start it, and with what in its environment."""
        env = {**os.environ, **dict(self.env), "NO_PROXY": "*", "PYTHONPATH": ""}
        if self.program.endswith(".mjs"):
            assert self.packages is not None
            # Modules are looked for beside the program, so that is where they are put.
            (folder / "node_modules").symlink_to(self.packages / "node_modules")
            program = shutil.copy(ROOT / self.program, folder)
            return ["node", str(program)], env
        if self.packages is None:
            return [sys.executable, "-m", self.program], env
        env["PYTHONPATH"] = str(self.packages)
        return [sys.executable, "-S", "-m", self.program], env  # -S: nothing of our own packages


CLIENTS = (
    Client("openai-python", "3.54.0", "tests.compat.openai_python"),
    Client("openai-python", "2.3.0", "tests.compat.openai_python", PACKAGES / "openai-2.3"),
    Client("openai-node", "6.49.0", "tests/compat/node/openai_node.mjs", PACKAGES / "node"),
    Client(
        "litellm",
        "1.109.1",
        "tests.compat.litellm_python",
        PACKAGES / "litellm",
        (("LITELLM_LOCAL_MODEL_COST_MAP", "True"),),
    ),
)


@dataclass(frozen=True)
class Told:
    """What a client told of its scenarios."""

    version: str
    wrong: dict[str, str | None]
    stderr: str


class Programs:
    """Runs each client once, however many tests look at what it told."""

    def __init__(self, live: Live, given: dict[str, str], folder: Path) -> None:
        self._live = live
        self._given = given
        self._folder = folder
        self._told = dict[Client, Told]()

    def told(self, client: Client) -> Told:
        if client not in self._told:
            self._told[client] = self._run(client)
        return self._told[client]

    def _run(self, client: Client) -> Told:
        folder = self._folder / f"{client.name}-{client.version}"
        folder.mkdir()
        command, env = client.command(folder)
        keys = [self._live.account().key for _ in range(ACCOUNTS)]
        done = subprocess.run(
            command,
            input=json.dumps({**self._given, "keys": keys, "folder": str(folder)}),
            env=env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        lines: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
        wrong = {line["name"]: line["wrong"] for line in lines if "name" in line}
        version = next((line["version"] for line in lines if "version" in line), "")
        return Told(version, wrong, done.stderr)


@pytest.fixture(scope="session")
def programs(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    """The clients, with a gateway and inputs to work with."""
    folder = tmp_path_factory.mktemp("clients")
    inputs = folder / "inputs"
    inputs.mkdir()
    make_image(inputs / "red.png", (200, 40, 40), (320, 240))
    make_image(inputs / "green.jpg", (40, 180, 60), (240, 320))
    make_clip(inputs / "two.mp4", frames=48)
    with file_server(inputs) as inputs_url, lossy_way(live.url) as lossy_url:
        given = {
            "base_url": f"{live.url}/v1",
            "lossy_url": f"{lossy_url}/v1",
            "poor_key": live.account("0.01").key,
            "inputs": str(inputs),
            "inputs_url": inputs_url,
        }
        yield Programs(live, given, folder)
