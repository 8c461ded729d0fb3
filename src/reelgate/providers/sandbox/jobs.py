"""What the sandbox remembers: one folder, one small file per job, safe from a power cut.

    <ref>.json         the job as it was accepted, and how it failed if it did
    <ref>.input<N>     bytes that came with it
    <ref>.mp4          its film; where this is, the job is done
    <ref>.<event>      tallies, one byte per event; `<hash>.submits` for a task not yet taken
    <ref>.….work/      a film being made; worthless after a crash
    submits.log        who submitted the jobs that were tidied away

All functions block; none of them takes a lock, and several processes may share a folder.
"""

import hashlib
import os
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from reelgate.domain.errors import ReelgateError
from reelgate.domain.model import Operation
from reelgate.providers.base import Verdict
from reelgate.providers.sandbox.script import Script

JOB, FILM, TEMPORARY, WORK = ".json", ".mp4", ".tmp", ".work"
SUBMITS_LOG = "submits.log"
_REF = re.compile(r"sandbox_[2-7a-z]{32}")


class BadRecord(ReelgateError):
    """A job's file is there and can't be read."""


@dataclass(frozen=True, slots=True)
class Source:
    """One input of a job: a URL, or the name of the file in the folder that holds its bytes."""

    url: str | None = None
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """How a job ended without a film."""

    verdict: Verdict
    message: str


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One accepted submit. `prompt` is without its tags; `failure` is what was not scripted."""

    ref: str
    task_id: str
    accepted_ms: int
    operation: Operation
    prompt: str
    script: Script = field(default_factory=Script)
    seconds: int | None = None
    tier: str | None = None
    width: int | None = None
    height: int | None = None
    images: tuple[Source, ...] = ()
    video: Source | None = None
    failure: Failure | None = None


class JobFolder:
    """The jobs of one sandbox. Every method may raise OSError."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder

    def film(self, ref: str) -> Path:
        """Where a job's film lies once it is made."""
        return self.path / (ref + FILM)

    def add(self, record: JobRecord, inputs: Sequence[tuple[str, bytes]]) -> None:
        """Keep a new job and the bytes it came with. After this, neither can get lost."""
        try:
            for name, data in inputs:
                self._write(name, data)
            self.save(record)
        except OSError:
            for name in (record.ref + JOB, *(name for name, _ in inputs)):
                (self.path / name).unlink(missing_ok=True)
            raise

    def save(self, record: JobRecord) -> None:
        """Write a job's file anew, whole, for good."""
        self._write(record.ref + JOB, msgspec.json.encode(record))
        directory = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def load(self, ref: str) -> tuple[JobRecord, bool] | None:
        """A job, and whether its film is there. Raises BadRecord."""
        if not _REF.fullmatch(ref):
            return None
        try:
            data = (self.path / (ref + JOB)).read_bytes()
        except FileNotFoundError:
            return None
        return _decode(data), self.film(ref).exists()

    def tally(self, subject: str, event: str) -> int:
        """Count one more event about a job or task: 1 the first time, over restarts too."""
        stem = subject if _REF.fullmatch(subject) else _stem(subject)
        descriptor = os.open(
            self.path / f"{stem}.{event}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644
        )
        try:
            os.write(descriptor, b".")
            return os.lseek(descriptor, 0, os.SEEK_CUR)
        finally:
            os.close(descriptor)

    def work(self, ref: str) -> "TemporaryDirectory[str]":
        """A folder of a film's own, to make it in; removed on leaving."""
        return TemporaryDirectory(
            dir=self.path, prefix=f"{ref}.", suffix=WORK, ignore_cleanup_errors=True
        )

    def tidy(self, accepted_before_ms: int, busy: frozenset[str]) -> int:
        """Remove old jobs but those in `busy`, and old left-overs. How many jobs were removed.

        That they were submitted is kept in the log, which is written first: a job that was
        logged but not removed is not counted twice.
        """
        old = {
            record.ref: record.task_id
            for record in _records(self.path)
            if record.accepted_ms < accepted_before_ms and record.ref not in busy
        }
        if old:
            with (self.path / SUBMITS_LOG).open("a", encoding="utf-8") as log:
                log.write("\n")  # ends a line that a power cut left torn
                log.writelines(f"{ref} {task_id}\n" for ref, task_id in old.items())
                log.flush()
                os.fsync(log.fileno())
        jobs = []
        for path in list(self.path.iterdir()):
            stem = path.name.partition(".")[0]
            if stem in old and path.suffix == JOB:
                jobs.append(path)
            elif stem in old or (_stray(path, busy) and _changed_ms(path) < accepted_before_ms):
                _remove(path)
        for path in jobs:  # last, so that nothing of a job is left behind without it
            path.unlink(missing_ok=True)
        return len(jobs)

    def _write(self, name: str, data: bytes) -> None:
        path = self.path / f"{name}.{secrets.token_hex(8)}{TEMPORARY}"
        try:
            with path.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            path.replace(self.path / name)
        finally:
            path.unlink(missing_ok=True)


def submits(folder: Path) -> Counter[str]:
    """How many submits of each task id were accepted here, ever. Raises BadRecord, OSError."""
    task_of: dict[str, str] = {record.ref: record.task_id for record in _records(folder)}
    log = folder / SUBMITS_LOG
    if log.exists():
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
        task_of |= dict(line.split(" ", 1) for line in lines if " " in line)
    return Counter(task_of.values())


def _records(folder: Path) -> Iterator[JobRecord]:
    for path in folder.glob("sandbox_*" + JOB):
        yield _decode(path.read_bytes())


def _decode(data: bytes) -> JobRecord:
    try:
        return msgspec.json.decode(data, type=JobRecord)
    except msgspec.MsgspecError as error:
        raise BadRecord(str(error)) from error


def _stem(subject: str) -> str:
    """A file name for any task id."""
    return hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _stray(path: Path, busy: frozenset[str]) -> bool:
    """Whether a file may be a left-over: of a crash, or of a task that was never taken."""
    stem = path.name.partition(".")[0]
    return path.suffix in {TEMPORARY, WORK, ".submits"} and stem not in busy


def _changed_ms(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns // 1_000_000
    except FileNotFoundError:
        return 0


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
