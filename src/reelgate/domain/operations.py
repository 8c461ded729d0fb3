"""Which operation a draft asks for: the one it states, or the one that its inputs speak for."""

from reelgate.domain.errors import Code, Problem
from reelgate.domain.examples import example
from reelgate.domain.model import Inputs, ModelSpec, Operation
from reelgate.domain.order import Draft
from reelgate.domain.quoting import quoted


def given_inputs(draft: Draft) -> list[Inputs]:
    """The kinds of input that were given, readable or not."""
    present = {
        Inputs.IMAGE: draft.image is not None or "image" in draft.broken,
        Inputs.IMAGES: draft.images is not None or "images" in draft.broken,
        Inputs.VIDEO: draft.video is not None or "video" in draft.broken,
    }
    return [kind for kind, given in present.items() if given]


def operation_of(draft: Draft, model: ModelSpec, found: list[Problem]) -> Operation | None:
    """The stated or inferred operation; None, with the reason in `found`, when unclear."""
    given = given_inputs(draft)
    if draft.operation is not None:
        return _stated_operation(draft, model, given, found)
    if "operation" in draft.broken or len(given) > 1:
        return None
    kind = given[0] if given else Inputs.NONE
    candidates = [op for op, spec in model.operations.items() if spec.inputs is kind]
    has_seconds = draft.seconds is not None or "duration" in draft.broken
    for operation in candidates:
        if (model.operations[operation].seconds is not None) == has_seconds:
            return operation
    if candidates:
        return candidates[0]
    found.append(Problem(Code.INVALID_VALUE, kind.value, f"{model.id} takes no `{kind.value}`."))
    return None


def _stated_operation(
    draft: Draft, model: ModelSpec, given: list[Inputs], found: list[Problem]
) -> Operation | None:
    allowed = {op.value: op for op in model.operations}
    operation = allowed.get(draft.operation or "")
    if operation is None:
        found.append(
            Problem(
                Code.INVALID_VALUE,
                "operation",
                f"operation {quoted(draft.operation or '')} is not one of {', '.join(allowed)}.",
            )
        )
        return None
    needed = model.operations[operation].inputs
    if len(given) > 1 or given == ([] if needed is Inputs.NONE else [needed]):
        return operation
    needs = "no image and no video" if needed is Inputs.NONE else f"`{needed.value}`"
    has = " and ".join(f"`{kind.value}`" for kind in given) or "no image and no video"
    missing = not given
    found.append(
        Problem(
            Code.MISSING_REQUIRED_PARAMETER if missing else Code.CONFLICTING_PARAMETERS,
            needed.value if missing else "operation",
            f"operation {operation.value} needs {needs}, but the request has {has}. "
            f"Send for example {example(operation, model.id)}",
        )
    )
    return operation
