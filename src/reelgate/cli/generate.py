"""`reelgate generate`: a prompt and inputs become an MP4."""

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from reelgate.cli.gateways import connected
from reelgate.cli.multipart import Field
from reelgate.cli.output import Json
from reelgate.cli.video import check_writable, finish
from reelgate.domain.errors import OperatorError
from reelgate.domain.ids import is_task_id
from reelgate.domain.model import Operation

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_LINKS = ("https://", "http://", "data:")


@dataclass(frozen=True, slots=True)
class Order:
    """A create request as the API takes it: `media` are the inputs, by the name of their field."""

    plain: dict[str, str | int]
    media: list[tuple[str, str]]

    def body(self) -> list[Field] | dict[str, Any]:
        """Fields of a form where files have to go along, else a JSON object.

        Raises OperatorError for a file that is not there.
        """
        for name, value in self.media:
            _check_input(name, value)
        if any(_is_file(value) for _, value in self.media):
            return [(name, str(value)) for name, value in self.plain.items()] + [
                _form_field(name, value) for name, value in self.media
            ]
        body: dict[str, Any] = dict(self.plain)
        for name, value in self.media:
            given: object = {"id": value} if is_task_id(value) else value
            if name == "images":
                body.setdefault(name, []).append(given)
            else:
                body[name] = given
        return body


def _is_file(value: str) -> bool:
    return not value.startswith(_LINKS) and not is_task_id(value)


def _check_input(name: str, value: str) -> None:
    if is_task_id(value) and name != "video":
        raise OperatorError(f"--image {value}: a task's result is a video; give it as --video")
    if _is_file(value) and not Path(value).is_file():
        raise OperatorError(
            f"--{name.removesuffix('s')} {value}: there is no such file; allowed is a file, "
            "a link (https://…)" + (" or the id of a finished task" if name == "video" else "")
        )


def _form_field(name: str, value: str) -> Field:
    if is_task_id(value):
        return f"{name}[id]", value
    return (name, Path(value)) if _is_file(value) else (name, value)


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What the video should show.")],
    *,
    image: Annotated[
        list[str] | None,
        typer.Option(help="A picture, file or link: one is animated, several are references."),
    ] = None,
    video: Annotated[
        list[str] | None,
        typer.Option(help="The clip to edit or extend: file, link or id of a finished task."),
    ] = None,
    operation: Annotated[
        Operation | None, typer.Option(help="Only where the inputs do not say it.")
    ] = None,
    seconds: Annotated[
        int | None, typer.Option(help="Length of the video, or of the part to add.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="480p, 720p, or pixels: 1280x720.")] = None,
    aspect_ratio: Annotated[str | None, typer.Option(help="16:9, 9:16, 1:1, …")] = None,
    input_video_seconds: Annotated[
        int | None, typer.Option(help="Length of the clip, for a lower hold.")
    ] = None,
    model: Annotated[str, typer.Option(help="One of `reelgate models`.")] = "grok-imagine",
    user: Annotated[str | None, typer.Option(help="Your own name for who asks.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; default TASK_ID.mp4.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Turn a prompt into an MP4 and print the bill.

    With REELGATE_URL and REELGATE_API_KEY set it asks that gateway, else it runs one of its own
    for the time of the job, with the settings in force here.
    """
    plain = {
        "model": model,
        "prompt": prompt,
        "operation": operation.value if operation else None,
        "duration": seconds,
        "size": size,
        "aspect_ratio": aspect_ratio,
        "input_video_seconds": input_video_seconds,
        "user": user,
    }
    several = len(image or ()) > 1 or operation is Operation.REFERENCE_TO_VIDEO
    image_field = "images" if several else "image"
    media = [(image_field, value) for value in image or ()]
    if len(video or ()) > 1:
        raise OperatorError("--video is given more than once; one clip is edited or extended")
    media += [("video", value) for value in video or ()]
    order = Order({name: value for name, value in plain.items() if value is not None}, media)
    _run(order.body(), output, as_json=as_json)


def _run(body: list[Field] | dict[str, Any], output: Path | None, *, as_json: bool) -> None:
    check_writable(output)
    with connected() as client:
        created = client.create(body, idempotency_key=str(uuid.uuid4()))
        finish(client, created, output, as_json=as_json)
