"""Whole JSON bodies that work, for messages and for the reference."""

from collections.abc import Mapping

from reelgate.domain.model import Operation

_EXAMPLES: Mapping[Operation, str] = {
    Operation.TEXT_TO_VIDEO: '{"model": "grok-imagine", "prompt": "…", "duration": 6}',
    Operation.IMAGE_TO_VIDEO: '{"model": "grok-imagine", "prompt": "…", '
    '"image": "https://…/photo.png", "duration": 6}',
    Operation.REFERENCE_TO_VIDEO: '{"model": "grok-imagine", "prompt": "@Image1 …", '
    '"images": ["https://…/a.png", "https://…/b.png"], "duration": 6}',
    Operation.EDIT_VIDEO: '{"model": "grok-imagine", "prompt": "…", '
    '"video": "https://…/source.mp4", '
    '"extra_body": {"operation": "edit_video", "input_video_seconds": 8}}',
    Operation.VIDEO_EXTEND: '{"model": "grok-imagine", "prompt": "…", '
    '"video": "https://…/source.mp4", "duration": 6, '
    '"extra_body": {"operation": "video_extend", "input_video_seconds": 8}}',
}


def example(operation: Operation, model: str) -> str:
    """A whole JSON body that works for an operation, for messages and the reference."""
    return _EXAMPLES[operation].replace("grok-imagine", model)
