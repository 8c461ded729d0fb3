"""`python -m bench [PART]…`: what this code costs, measured here and now.

Parts: creates, polls, million, postgres, start, lag; all of them when none is named.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from bench import lag, report, start, throughput
from bench.report import Section
from bench.servers import ROOT

_PARTS = ("creates", "polls", "million", "postgres", "start", "lag")


def main() -> int:
    """Measure, print, and say with the exit code whether every bar was met."""
    options = _options()
    parts = options.parts or list(_PARTS)
    base = ROOT / "out"
    base.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=options.folder or base))
    try:
        sections = _measure(parts, folder, options)
    finally:
        shutil.rmtree(folder)
    if options.json:
        print(json.dumps({"machine": _machine(), "sections": [s.plain() for s in sections]}))
    else:
        print(f"{_machine()}\n\n{report.text(sections)}")
    return 0 if all(bar.met for section in sections for bar in section.bars) else 1


def _measure(parts: list[str], folder: Path, options: argparse.Namespace) -> list[Section]:
    sections: list[Section] = []
    if {"creates", "polls", "million", "postgres"} & set(parts):
        pace = throughput.Pace(options.seconds, options.rounds)
        sections += throughput.measure(parts, folder, pace)
    if "start" in parts:
        sections.append(start.measure(folder))
    if "lag" in parts:
        sections += lag.measure(folder, options.in_flight, options.ending_s)
    return sections


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", type=_part, metavar="PART")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of each load (1.5)")
    parser.add_argument("--rounds", type=int, default=4, help="times that each load runs (4)")
    parser.add_argument(
        "--in-flight", type=int, nargs="+", default=[100, 1_000, 5_000], help="lag: tasks at once"
    )
    parser.add_argument("--ending-s", type=int, default=60, help="lag: all end within (60)")
    parser.add_argument("--folder", type=Path, help="where the databases go (out)")
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser.parse_args()


def _part(name: str) -> str:
    if name not in _PARTS:
        raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(_PARTS)}")
    return name


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30
    python = platform.python_version()
    return f"{os.cpu_count()} cores, {memory} GiB, {platform.system()}, Python {python}"


if __name__ == "__main__":
    sys.exit(main())
