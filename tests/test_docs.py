"""Docs can't rot: generated pages are as new as the code, and what others name exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from reelgate.api.asgi import Router
from reelgate.api.routes import ROUTES
from reelgate.catalog import MODELS
from reelgate.cli import COMMANDS
from reelgate.domain.errors import Code, Refusal, TaskError
from reelgate.settings import Settings, UpstreamSettings
from reelgate.settings_knobs import PREFIX, knobs
from scripts import reference

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "reelgate"
PAGES = reference.pages()
WRITTEN = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Variables that are no settings of the program.
OTHER_VARIABLES = {f"{PREFIX}CONFIG"}

each_text = pytest.mark.parametrize("path", WRITTEN, ids=lambda path: str(path.relative_to(ROOT)))


# ---- generated pages ------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_as_new_as_the_code(name: str) -> None:
    path = reference.FOLDER / name
    assert path.exists() and path.read_text("utf-8") == PAGES[name], "run `make reference`"


def test_no_page_is_left_over() -> None:
    assert {path.name for path in reference.FOLDER.iterdir()} == set(PAGES)


def test_writing_again_changes_what_is_old_and_nothing_else(tmp_path: Path) -> None:
    assert sorted(reference.write(tmp_path)) == sorted(PAGES)
    assert reference.write(tmp_path) == []
    (tmp_path / "cli.md").write_text("old")
    (tmp_path / "gone.md").write_text("old")
    assert sorted(reference.write(tmp_path)) == ["cli.md", "gone.md"]
    assert {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()} == PAGES


def test_everything_is_documented() -> None:
    named = {
        "settings.md": [
            *(f"| `{knob.variable}` |" for knob in knobs(Settings).values()),
            *(f"| `{knob.name}` |" for knob in knobs(UpstreamSettings).values()),
        ],
        "errors.md": [f"| `{code.value}` |" for code in (*Code, *TaskError)],
        "http.md": [f"| `{route.method}` | `{route.path}` |" for route in ROUTES],
        "models.md": [f"`{model}`" for model in MODELS],
        "cli.md": [f"## `reelgate {command}`" for command in COMMANDS],
    }
    missing = [what for page, words in named.items() for what in words if what not in PAGES[page]]
    assert missing == []


def test_nothing_is_documented_with_nothing() -> None:
    bare = [
        knob.name
        for table in (Settings, UpstreamSettings)
        for knob in knobs(table).values()
        if not knob.why
    ]
    assert bare == []
    assert [name for name, (_, line) in COMMANDS.items() if not line] == []
    for block in re.findall(r"```\nUsage: (.*?)\n\n(.*?)\n```", PAGES["cli.md"], re.DOTALL):
        assert not block[1].startswith("Options:"), f"{block[0]}: says nothing of itself"


# ---- what is written by hand ----------------------------------------------------------------


@each_text
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        if not re.match("https?:|mailto:|#", target):
            assert (path.parent / target.partition("#")[0]).exists(), target


@each_text
def test_settings_that_are_named_exist(path: Path) -> None:
    known = {knob.variable for knob in knobs(Settings).values()} | OTHER_VARIABLES
    named = set(re.findall(rf"\b{PREFIX}[A-Z0-9_]*[A-Z0-9]\b", path.read_text("utf-8")))
    assert named <= known


@each_text
def test_commands_that_are_named_exist(path: Path) -> None:
    parts = {
        tuple(command.split()) for command in re.findall(r"## `reelgate (.+)`", PAGES["cli.md"])
    }
    for line in code_of(path.read_text("utf-8")):
        for command in re.findall(r"(?:^|[`$;&|] ?|bin/)reelgate ([a-z].*)", line):
            words = tuple(word.strip("`,.;:") for word in command.split()[:2])
            assert words[:1] in parts, line
            has_parts = any(len(part) > 1 and part[0] == words[0] for part in parts)
            if has_parts and len(words) > 1 and re.fullmatch("[a-z]+", words[1]):
                assert words in parts, line


@each_text
def test_routes_that_are_named_exist(path: Path) -> None:
    router = Router(ROUTES)
    for method, route in re.findall(
        r"\b(GET|POST|DELETE|PATCH|HEAD) `?(/[a-z0-9_{}/.-]*[a-z0-9_}])", path.read_text("utf-8")
    ):
        try:
            router.find(method, route)
        except Refusal as refusal:
            pytest.fail(refusal.message)


@each_text
def test_files_that_are_named_exist(path: Path) -> None:
    """In backticks and with a folder: of the package, or of the repository."""
    for name in re.findall(
        r"`((?:[a-z_]+/)+[a-z_0-9]+\.(?:py|md|css|toml))`", path.read_text("utf-8")
    ):
        assert (PACKAGE / name).exists() or (ROOT / name).exists(), name


def code_of(text: str) -> Iterator[str]:
    """Lines of code blocks, and what stands in backticks."""
    for n, block in enumerate(re.split(r"^```.*$", text, flags=re.MULTILINE)):
        yield from block.splitlines() if n % 2 else re.findall(r"`[^`\n]+`", block)
