"""Processes under measurement: started, found ready, looked at, stopped."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
_READY = re.compile(r"ready: http://127\.0\.0\.1:(\d+)")
_START_S_MAX = 60.0
_STOP_S_MAX = 60.0
_LOOK_S = 0.002
_KIB_PER_MIB = 1024


@dataclass(frozen=True, slots=True)
class Server:
    """A process that answers on a loopback port; `began` is when it was started, monotonic."""

    process: subprocess.Popen[bytes]
    port: int
    began: float

    def age_s(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.began

    def rss_mib(self) -> int:
        """Memory in use now, as the kernel counts it: the resident set."""
        return self._status("VmRSS") // _KIB_PER_MIB

    def peak_mib(self) -> int:
        """The most memory ever in use; where the kernel does not tell, that of now."""
        return self._status("VmHWM") // _KIB_PER_MIB

    def cpu_s(self) -> float:
        """CPU time of the process so far, in seconds."""
        command = ["ps", "-o", "cputimes=", "-p", str(self.process.pid)]
        stat = Path(f"/proc/{self.process.pid}/stat")
        if not stat.exists():
            return float(subprocess.run(command, capture_output=True, check=True).stdout)
        fields = stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _status(self, name: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status")
        if status.exists():
            line = next(line for line in status.read_text().splitlines() if line.startswith(name))
            return int(line.split()[1])
        command = ["ps", "-o", "rss=", "-p", str(self.process.pid)]
        return int(subprocess.run(command, capture_output=True, check=True).stdout)


@contextmanager
def running(
    name: str, folder: Path, command: Sequence[str], env: Mapping[str, str]
) -> Iterator[Server]:
    """Run `python -m command` for the time of the block; it says `ready: URL` on stderr."""
    log = folder / f"{name}.log"
    began = time.monotonic()
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=stderr,
            stderr=stderr,
            cwd=folder,
            env={**env, "PYTHONPATH": str(ROOT)},
        )
    try:
        port = _port(process, log)
        yield Server(process, port, began)
    finally:
        _stop(process)


def environment(data: Path, **settings: object) -> dict[str, str]:
    """What a gateway is started with: the given settings, and none that this shell has."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REELGATE_")}
    kept.pop("XAI_API_KEY", None)
    chosen = {"DATA_DIR": data, "PORT": 0, **settings}
    return kept | {f"REELGATE_{name}": str(value) for name, value in chosen.items()}


def reelgate(name: str, folder: Path, env: Mapping[str, str]) -> AbstractContextManager[Server]:
    """`reelgate serve`, as an operator starts it."""
    return running(name, folder, ["reelgate", "serve"], env)


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + _START_S_MAX
    while time.monotonic() < deadline:
        if found := _READY.search(log.read_text(errors="replace")):
            return int(found[1])
        if process.poll() is not None:
            break
        time.sleep(_LOOK_S)
    raise RuntimeError(f"the server did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        process.send_signal(how)
        try:
            process.wait(_STOP_S_MAX)
        except subprocess.TimeoutExpired:
            continue
        return
