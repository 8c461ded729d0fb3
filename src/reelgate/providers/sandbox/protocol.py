"""What the pool and its child processes say to each other: one JSON object a line.

In, on stdin: a job, `{"out": path, "scene": {…}}`; one film at a time. Out, on stdout:
`{"progress": percent}` as it goes, then `{"done": true}`, or `{"bad_input": message}`, or
`{"failed": message}`.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reelgate.domain.model import Operation
from reelgate.providers.sandbox.scene import Scene


def encode_job(scene: Scene, out: Path) -> bytes:
    """A job as one line."""
    return encode({"out": str(out), "scene": asdict(scene)})


def decode_job(line: bytes) -> tuple[Scene, Path]:
    """A line as the job it is."""
    job: dict[str, Any] = json.loads(line)
    fields = job["scene"]
    fields["operation"] = Operation(fields["operation"])
    fields["images"] = tuple(Path(image) for image in fields["images"])
    fields["video"] = Path(fields["video"]) if fields["video"] else None
    return Scene(**fields), Path(job["out"])


def encode(message: dict[str, Any]) -> bytes:
    """A message as one line."""
    return json.dumps(message, default=str).encode() + b"\n"
