"""The house rules, as tests. A rule is a row of RULES: what it says, its check, what it must catch.

The checks read the source of the package as text and syntax trees and import nothing of it.
Who may import whom inside the package is the import law, in pyproject.toml (`make check`).
"""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "reelgate"

LINE_CHARS_MAX = 100
FUNCTION_LINES_MAX = 60
FILE_LINES_MAX = 400

# Where amounts are added, multiplied and moved: whole micro-dollars, no float in sight.
MONEY = (
    "api/admin*.py",
    "api/money*.py",
    "api/report_wire.py",
    "catalog/*.py",
    "domain/money.py",
    "domain/quote.py",
    "domain/rules.py",
    "flows/accounts.py",
    "flows/key_limits.py",
    "flows/operator.py",
    "flows/reports.py",
    "flows/settle.py",
    "flows/submit.py",
    "store/accounts.py",
    "store/key_usage.py",
    "store/ledger*.py",
    "store/reports.py",
    "store/settlements.py",
)

# Each package from outside, and where it may be imported. One that is not here is refused.
VENDORS: dict[str, tuple[str, ...]] = {
    "PIL": ("media/", "providers/sandbox"),
    "aiohttp": ("net/",),
    "apsw": ("store/",),
    "av": ("media/", "providers/sandbox"),
    "click": ("cli/",),
    "msgspec": ("api/", "cli/", "flows/", "net/", "providers/", "settings", "store/"),
    "numpy": ("media/", "providers/sandbox"),
    "psycopg": ("store/",),
    "python_multipart": ("api/",),
    "rich": ("cli/",),
    "starlette": ("api/", "app/"),
    "typer": ("cli/",),
    "uvicorn": ("app/", "cli/"),
    "uvloop": ("app/", "cli/"),
    "yarl": ("net/",),
}

# The syntax that has a place in a file.
Node = ast.stmt | ast.expr


@dataclass(frozen=True)
class Source:
    """One file of the package; `path` is relative to it: `domain/clock.py`."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    def nodes(self) -> Iterator[Node]:
        return (node for node in ast.walk(self.tree) if isinstance(node, Node))

    def is_any_of(self, *patterns: str) -> bool:
        return any(PurePosixPath(self.path).match(pattern) for pattern in patterns)

    def is_under(self, *prefixes: str) -> bool:
        return self.path.startswith(prefixes)


# A check yields the line and what is wrong there.
Findings = Iterator[tuple[int, str]]


@dataclass(frozen=True)
class Rule:
    """`caught` are files that break the rule, `spared` files that look like it and do not."""

    name: str
    check: Callable[[Source], Findings]
    caught: tuple[Source, ...]
    spared: tuple[Source, ...] = ()


def lines_are_short(source: Source) -> Findings:
    for number, line in enumerate(source.lines, 1):
        if len(line) > LINE_CHARS_MAX:
            yield number, f"{len(line)} characters, at most {LINE_CHARS_MAX}"


def functions_are_short(source: Source) -> Findings:
    for node in source.nodes():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield node.lineno, f"{node.name} has {length} lines, at most {FUNCTION_LINES_MAX}"


def files_are_short(source: Source) -> Findings:
    if len(source.lines) > FILE_LINES_MAX and not source.is_under("catalog/"):
        yield FILE_LINES_MAX + 1, f"{len(source.lines)} lines, at most {FILE_LINES_MAX}"


def only_the_clock_tells_the_time(source: Source) -> Findings:
    if source.path == "domain/clock.py":
        return
    wall = {"time.time", "time.time_ns", "time.localtime", "time.gmtime"}
    wall |= {f"{kind}.{how}" for kind in ("date", "datetime") for how in ("now", "utcnow", "today")}
    for node in source.nodes():
        if isinstance(node, ast.Attribute):
            name = ".".join(ast.unparse(node).split(".")[-2:])
            if name in wall:
                yield node.lineno, f"{name}: take a Clock (domain/clock.py)"
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            for alias in node.names:
                if f"time.{alias.name}" in wall:
                    yield node.lineno, f"time.{alias.name}: take a Clock (domain/clock.py)"


def money_is_whole(source: Source) -> Findings:
    if not source.is_any_of(*MONEY):
        return
    for node in source.nodes():
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            yield node.lineno, f"{node.value}: a float beside money"
        if isinstance(node, ast.Name) and node.id == "float":
            yield node.lineno, "float beside money"
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            yield node.lineno, "/ makes a float: use // and say how it rounds"


def suppressions_are_narrow(source: Source) -> Findings:
    for number, line in enumerate(source.lines, 1):
        if re.search(r"#\s*(type:\s*ignore|noqa|mypy:)(?!\[\w|:\s*[A-Z])", line):
            yield number, "name the one rule that is suppressed, and why"


def imports_are_at_the_top(source: Source) -> Findings:
    if source.is_under("cli/"):
        return
    for function in source.nodes():
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    yield node.lineno, "import inside a function"


def nothing_happens_on_import(source: Source) -> Findings:
    work = (ast.For, ast.While, ast.With, ast.Try, ast.Delete, ast.Assert)
    for node in source.tree.body:
        is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await)
        if is_call or isinstance(node, work):
            yield node.lineno, "a module defines, it does not act: move this into a function"


def nothing_is_unfinished(source: Source) -> Findings:
    marks = r"\b(TODO|FIXME|XXX|HACK|NotImplementedError|NotImplemented)\b|pragma: no cover"
    for number, line in enumerate(source.lines, 1):
        if mark := re.search(marks, line):
            yield number, f"{mark.group()}: finish it, or leave it out"


def only_the_store_speaks_sql(source: Source) -> Findings:
    if source.is_under("store/"):
        return
    verbs = (
        r"(SELECT\s|INSERT\s+INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|PRAGMA\s|BEGIN\b|COMMIT\b"
    )
    verbs += (
        r"|(CREATE|ALTER|DROP)\s+(UNIQUE\s+)?(TABLE|INDEX|TRIGGER|DATABASE)\s|WITH\s+\w+\s+AS\s)"
    )
    for node in source.nodes():
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and re.match(rf"\s*{verbs}", text):
            yield node.lineno, "SQL outside store/"
        if isinstance(node, ast.Attribute) and node.attr in {"execute", "executemany"}:
            yield node.lineno, f".{node.attr} outside store/"


def only_settings_read_the_environment(source: Source) -> Findings:
    if source.is_under("settings", "cli/"):
        return
    for node in source.nodes():
        names = [node.attr] if isinstance(node, ast.Attribute) else []
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            names = [alias.name for alias in node.names]
        for name in names:
            if name in {"environ", "environb", "getenv"}:
                yield node.lineno, f"os.{name}: a setting comes as an argument (settings)"


def modules_say_what_they_are(source: Source) -> Findings:
    if not ast.get_docstring(source.tree):
        yield 1, "no docstring"


def only_the_command_line_prints(source: Source) -> Findings:
    if source.is_under("cli/"):
        return
    for node in source.nodes():
        if isinstance(node, ast.Name) and node.id == "print":
            yield node.lineno, "print: log it, or return it"


def vendors_stay_in_their_place(source: Source) -> Findings:
    for node in source.nodes():
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        for vendor in {module.partition(".")[0] for module in modules}:
            if vendor in sys.stdlib_module_names or vendor == "reelgate":
                continue
            places = VENDORS.get(vendor, ())
            if not source.is_under(*places):
                yield node.lineno, f"{vendor} is for {', '.join(places) or 'nobody (VENDORS)'}"


RULES = (
    Rule(
        "lines are short",
        lines_are_short,
        caught=(Source("app/", "x = 1  #" + "." * 93),),
        spared=(Source("app/", "x = 1  #" + "." * 92),),
    ),
    Rule(
        "functions are short",
        functions_are_short,
        caught=(
            Source("app/", "def f():\n" + "    x = 1\n" * 60),
            Source("app/", "class A:\n    async def f(self):\n" + "        x = 1\n" * 60),
        ),
        spared=(Source("app/", "def f():\n" + "    x = 1\n" * 59),),
    ),
    Rule(
        "files are short",
        files_are_short,
        caught=(Source("app/", "x = 1\n" * 401),),
        spared=(Source("app/", "x = 1\n" * 400), Source("catalog/a.py", "x = 1\n" * 401)),
    ),
    Rule(
        "only the clock tells the time",
        only_the_clock_tells_the_time,
        caught=(
            Source("worker.py", "import time\nx = time.time()"),
            Source("worker.py", "from time import time_ns"),
            Source("worker.py", "import datetime\nx = datetime.datetime.now(datetime.UTC)"),
            Source("worker.py", "from datetime import date\nx = date.today"),
        ),
        spared=(
            Source("worker.py", "import time\nx = time.monotonic()"),
            Source("worker.py", "now = clock.now()"),
            Source("domain/clock.py", "import time\nx = time.time_ns()"),
        ),
    ),
    Rule(
        "money is whole",
        money_is_whole,
        caught=(
            Source("catalog/sora.py", "price = 0.05"),
            Source("domain/money.py", "def f(a: float) -> None: ..."),
            Source("flows/settle.py", "x = a / b"),
            Source("store/ledger_sql.py", "x /= 2"),
        ),
        spared=(
            Source("domain/money.py", "x = a // b * 1_000_000"),
            Source("worker.py", "x = a / 2.5"),
        ),
    ),
    Rule(
        "suppressions are narrow",
        suppressions_are_narrow,
        caught=(
            Source("app/", "x = y  # type: " + "ignore"),
            Source("app/", "x = y  # no" + "qa"),
            Source("app/", "# mypy: " + "ignore-errors"),
        ),
        spared=(
            Source("app/", "x = y  # type: ignore[attr-defined] # no stubs"),
            Source("app/", "x = y  # noqa: BLE001 # the last resort"),
        ),
    ),
    Rule(
        "imports are at the top",
        imports_are_at_the_top,
        caught=(
            Source("app/", "def f():\n    import json"),
            Source("cli.py", "class A:\n    async def f(self):\n        from a import b"),
        ),
        spared=(Source("cli/serve.py", "def f():\n    import json"),),
    ),
    Rule(
        "nothing happens on import",
        nothing_happens_on_import,
        caught=(
            Source("app/", "import logging\nlogging.basicConfig()"),
            Source("app/", "for x in y:\n    z.append(x)"),
            Source("app/", "with open('a') as f:\n    text = f.read()"),
        ),
        spared=(
            Source("app/", '"""What it is."""\nimport re\nWORD = re.compile("a")'),
            Source("__main__.py", "if __name__ == '__main__':\n    main()"),
        ),
    ),
    Rule(
        "nothing is unfinished",
        nothing_is_unfinished,
        caught=(
            Source("app/", "# TO" + "DO: more"),
            Source("app/", "def f():\n    raise NotImplemented" + "Error"),
            Source("app/", "def f():  # pragma: no" + " cover\n    ..."),
        ),
        spared=(Source("app/", "# all of the todos are done"),),
    ),
    Rule(
        "only the store speaks SQL",
        only_the_store_speaks_sql,
        caught=(
            Source("flows/submit.py", "x = 'SELECT id FROM task'"),
            Source("flows/submit.py", 'x = f"""\n  UPDATE task SET state = {a}"""'),
            Source("worker.py", "connection.execute(x)"),
        ),
        spared=(
            Source("store/tasks.py", "x = 'SELECT id FROM task'\nc.execute(x)"),
            Source("worker.py", "x = 'Select a task, or update it'"),
        ),
    ),
    Rule(
        "only settings read the environment",
        only_settings_read_the_environment,
        caught=(
            Source("app/", "import os\nx = os.environ['A']"),
            Source("providers/xai.py", "from os import getenv"),
        ),
        spared=(
            Source("settings.py", "import os\nx = os.environ['A']"),
            Source("cli/serve.py", "import os\nx = os.getenv('A')"),
        ),
    ),
    Rule(
        "modules say what they are",
        modules_say_what_they_are,
        caught=(Source("app/", "x = 1"), Source("net/__init__.py", "")),
        spared=(Source("app/", '"""The composition root."""'),),
    ),
    Rule(
        "only the command line prints",
        only_the_command_line_prints,
        caught=(Source("worker.py", "print('a')"), Source("worker.py", "log = print")),
        spared=(Source("cli/tasks.py", "print('a')"), Source("worker.py", "x = 'print'")),
    ),
    Rule(
        "vendors stay in their place",
        vendors_stay_in_their_place,
        caught=(
            Source("flows/submit.py", "import apsw"),
            Source("providers/xai.py", "from aiohttp.client import ClientSession"),
            Source("domain/order.py", "import msgspec"),
            Source("net/client.py", "import requests"),
            Source("providers/xai.py", "import av"),
        ),
        spared=(
            Source("store/sqlite.py", "import os, apsw.ext"),
            Source("providers/sandbox.py", "import av\nfrom PIL import Image"),
            Source("domain/order.py", "import json\nfrom reelgate.domain import ids"),
        ),
    ),
)


def each_rule(*, with_its: str) -> pytest.MarkDecorator:
    """Parametrise by rule, and by each example of one kind that the rule gives."""
    rows = [
        pytest.param(rule, example, id=f"{rule.name}-{number}")
        for rule in RULES
        for number, example in enumerate(getattr(rule, with_its))
    ]
    return pytest.mark.parametrize(("rule", "example"), rows)


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    return [
        Source(path.relative_to(PACKAGE).as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_package_keeps_the_rule(rule: Rule, sources: list[Source]) -> None:
    broken = [
        f"src/reelgate/{source.path}:{line}: {what}"
        for source in sources
        for line, what in sorted(rule.check(source))
    ]
    if broken:
        pytest.fail("\n".join([f"{rule.name}:", *broken]), pytrace=False)


@each_rule(with_its="caught")
def test_the_rule_catches_what_breaks_it(rule: Rule, example: Source) -> None:
    assert list(rule.check(example))


@each_rule(with_its="spared")
def test_the_rule_spares_what_keeps_it(rule: Rule, example: Source) -> None:
    assert not list(rule.check(example))


def test_the_tables_name_what_exists(sources: list[Source]) -> None:
    """A module that is renamed must not slip out of its rule."""
    prefixes = {prefix for places in VENDORS.values() for prefix in places}
    missing = [prefix for prefix in prefixes if not any(s.is_under(prefix) for s in sources)]
    missing += [pattern for pattern in MONEY if not any(s.is_any_of(pattern) for s in sources)]
    if missing:
        pytest.fail(f"MONEY or VENDORS name what is not there: {sorted(missing)}", pytrace=False)


@pytest.mark.parametrize(
    "lock",
    [
        "requirements.lock",
        "requirements-dev.lock",
        "tests/compat/openai-2.3.lock",
        "tests/compat/litellm.lock",
    ],
)
def test_the_locks_hold_hashes_and_no_address(lock: str) -> None:
    """They work with any index, and with pip as well as uv."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert not re.search(r"://|^--|@ ", text, re.MULTILINE)
    pins = re.split(r"\n(?=\S)", text.strip())
    assert [pin for pin in pins if not re.match(r"[\w.-]+==\S+.*\\\n    --hash=sha256:", pin)] == []


def test_the_lock_for_node_holds_hashes_and_no_address() -> None:
    text = (ROOT / "tests/compat/node/package-lock.json").read_text(encoding="utf-8")
    assert "://" not in text
    packages = {name: found for name, found in json.loads(text)["packages"].items() if name}
    assert packages
    assert all(found["integrity"].startswith("sha512-") for found in packages.values())


def test_the_locks_hold_what_the_project_asks_for() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = asked["dependency-groups"]
    run = asked["project"]["dependencies"] + groups["build"]
    for lock, wanted in {"requirements": run, "requirements-dev": run + groups["dev"]}.items():
        text = (ROOT / f"{lock}.lock").read_text(encoding="utf-8")
        names = set(re.findall(r"^([\w.-]+)==", text, re.MULTILINE))
        missing = [name for name in wanted if re.split(r"[^\w.-]", name)[0] not in names]
        assert not missing, f"{lock}.lock is older than pyproject.toml: make lock"
