"""Real clients, unmodified and pinned, as users of a running gateway.

Their programs are `openai_python`, `litellm_python` and `node/openai_node.mjs`; each test here is
one thing that one of them did.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.compat.conftest import CLIENTS, ROOT, Client, Programs


def scenarios(client: Client) -> list[str]:
    """The names in a client's program that its version is to do."""
    if client.program.endswith(".mjs"):
        text = (ROOT / client.program).read_text("utf-8")
        return re.findall(r"^  async (\w+)\(user\)", text, re.MULTILINE)
    path = ROOT / Path(*client.program.split(".")).with_suffix(".py")
    found = []
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.decorator_list:
            first = re.fullmatch(r"since\('(\d+).*'\)", ast.unparse(node.decorator_list[0]))
            if first is None or int(first[1]) <= int(client.version.partition(".")[0]):
                found.append(node.name)
    return found


@pytest.mark.parametrize(
    ("client", "scenario"),
    [
        pytest.param(client, name, id=f"{client.name} {client.version} {name}")
        for client in CLIENTS
        for name in scenarios(client)
    ],
)
def test_a_client(programs: Programs, client: Client, scenario: str) -> None:
    if why := client.missing():
        pytest.skip(why)
    told = programs.told(client)
    assert told.version == client.version, told.stderr
    assert scenario in told.wrong, told.stderr
    if wrong := told.wrong[scenario]:
        pytest.fail(wrong, pytrace=False)
