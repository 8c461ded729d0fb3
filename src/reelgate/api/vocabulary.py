"""What every field of every JSON answer means.

A row is for a field of one type (`Video.size`), or for the field of that name wherever it is
(`created_at`). A test fails for a field that is in no row, and for a row that is for no field.
"""

from collections.abc import Mapping

from reelgate.api.admin_vocabulary import ADMIN_WORDS
from reelgate.api.errors import KINDS
from reelgate.api.words import COUNT, DAY, TASK_ID, TIME_S, USD, USD_SIGNED, Word, one_of, text
from reelgate.domain.errors import Code, TaskError
from reelgate.domain.model import Operation
from reelgate.domain.task import PUBLIC_STATUS

WORDS: Mapping[str, Word] = {
    # ---- everywhere
    "id": Word("What it is called; opaque."),
    "object": Word("What this is."),
    "currency": Word("Of all amounts here."),
    "data": Word("The entries, in the order that was asked for."),
    "first_id": Word("The first entry's id; null on an empty page."),
    "last_id": Word("The last entry's id: `after` of the next page; null on an empty page."),
    "has_more": Word("Whether there is a next page."),
    "created_at": Word("When it was made: seconds since the epoch.", TIME_S),
    "at_ms": Word("When: milliseconds since the epoch.", TIME_S),
    "model": Word("The model's id."),
    "operation": Word("What was asked for.", one_of(Operation)),
    "note": Word("What somebody wrote down about it."),
    "total": Word("Of all groups together."),
    "group_by": Word("What the rows are grouped by."),
    "day": Word("The day (UTC) on which the tasks ended.", DAY),
    "tasks": Word("How many tasks.", COUNT),
    "completed": Word("How many of them have a video.", COUNT),
    "held": Word("Set aside for running tasks, in USD.", USD),
    "available": Word("What new tasks may use, in USD.", USD),
    "name": Word("What people call it."),
    # ---- a task
    "Video.id": Word("The task's id.", TASK_ID),
    "Video.task_id": Word("The same as `id`.", TASK_ID),
    "Video.status": Word(
        "`queued`, then `in_progress`, then `completed` or `failed`; never back.",
        one_of(PUBLIC_STATUS.values()),
    ),
    "progress": Word(
        "Percent; never falls, and is 100 only at the end.", {"minimum": 0, "maximum": 100}
    ),
    "completed_at": Word("When it was completed: seconds since the epoch.", TIME_S),
    "Video.expires_at": Word(
        "When the bytes go: seconds since the epoch; null while unfinished, or kept for good.",
        TIME_S,
    ),
    "prompt": Word("As it was sent, byte for byte."),
    "size": Word("In the form that was asked for (`720p` or `1280x720`), else the tier."),
    "seconds": Word(
        "The length to make; for an edit the source's, for an extension the added part.",
        text("^[0-9]+$"),
    ),
    "aspect_ratio": Word("Null where the source decides it."),
    "remixed_from_video_id": Word("The earlier task that a remix is of."),
    "error": Word("Why there is no video; null unless `failed`."),
    "VideoError.code": Word("For programs.", one_of(TaskError)),
    "VideoError.message": Word("For people; the upstream's own words where they are safe."),
    "Video.metadata": Word(
        "Your pairs; and once completed `url`, a signed link to the video that needs no key."
    ),
    "billing": Word("What it costs."),
    "deleted": Word("It is."),
    # ---- bills
    "max_cost": Word("The most it can cost, in USD: what is held while it runs.", USD),
    "Billing.cost": Word("What was charged, in USD; null until the end.", USD),
    "items": Word("Line by line."),
    "Billing.items": Word("The lines of `max_cost`; once ended, those of `cost`."),
    "item": Word("Which price."),
    "quantity": Word("How many units.", COUNT),
    "unit": Word("What is counted."),
    "unit_price": Word("USD per unit.", USD),
    "BillingItem.unit_price": Word("USD per unit; negative where less is charged.", USD_SIGNED),
    "amount": Word("In USD.", USD_SIGNED),
    "BillingItem.amount": Word("`quantity` times `unit_price`, in USD.", USD_SIGNED),
    "cost": Word("What was charged, in USD.", USD),
    # ---- models
    "ModelCard.created": Word("When the model came out: seconds since the epoch."),
    "owned_by": Word("Whose model it is."),
    "title": Word("Its name for people."),
    "operations": Word("What it can do, and what each operation takes."),
    "ModelCard.limits": Word("What holds for every operation."),
    "pixel_sizes": Word("Pixel sizes by tier and aspect ratio; the first of each is made."),
    "OperationCard.input": Word("The field that holds the picture or clip; `prompt`: none."),
    "OperationCard.duration": Word(
        "Whole seconds that may be asked for; null: the field is refused."
    ),
    "OperationCard.images": Word("How many pictures; null: none."),
    "source_ms": Word("How long a source may be, in milliseconds; null: there is none."),
    "OperationCard.input_video_seconds": Word(
        "What may be declared of the source's length; null: the field is refused."
    ),
    "sizes": Word("Tiers that may be asked for; empty: the field is refused."),
    "size_default": Word("The tier when none is asked for; null: the source's."),
    "aspect_ratios": Word("Ratios that may be asked for; empty: the field is refused."),
    "aspect_ratio_default": Word("The ratio when none is asked for; null: the source's."),
    "prices": Word("What is charged, item by item."),
    "OperationCard.example": Word("A whole body that works."),
    "prompt_chars_max": Word("Longest prompt, in characters."),
    "ModelLimits.image": Word("What a picture's bytes may be."),
    "ModelLimits.video": Word("What a clip's bytes may be."),
    "types": Word("Media types; told by the bytes, not by what is declared."),
    "codecs": Word("MP4 sample entries; empty: no matter."),
    "bytes_max": Word("Most bytes of one file."),
    "min": Word("The least."),
    "max": Word("The most."),
    # ---- an account's money
    "LedgerEntry.kind": Word(
        "`credit`, `adjust`, `hold`, `capture` (charged) or `release` (given back).",
        one_of(("credit", "adjust", "hold", "capture", "release")),
    ),
    "available_change": Word("How it changed what is available, in USD.", USD_SIGNED),
    "held_change": Word("How it changed what is held, in USD.", USD_SIGNED),
    "LedgerEntry.available": Word("Available after it, in USD.", USD),
    "LedgerEntry.held": Word("Held after it, in USD.", USD),
    "LedgerEntry.task_id": Word("The task it is for; null where it is for none.", TASK_ID),
    "reference": Word("The operator's own name of this money, such as an invoice."),
    "UsageReport.from": Word("The first day (UTC).", DAY),
    "UsageReport.to": Word("The last day (UTC), included.", DAY),
    "key": Word("The id of the key that made the tasks; null where not grouped by."),
    # ---- what an error says
    "ErrorEnvelope.error": Word("What went wrong."),
    "ErrorBody.message": Word("For people: what was wrong, what was given, what is allowed."),
    "ErrorBody.type": Word(
        "Which kind of trouble; fits the status.", one_of(kind.type for kind in KINDS.values())
    ),
    "ErrorBody.param": Word("The field that the first problem is in; null: none."),
    "ErrorBody.code": Word("For programs.", one_of(Code)),
    # ---- operations
    "Alive.status": Word("It is alive."),
    "Ready.status": Word("Whether every part is ready."),
    "parts": Word("`ok`, or what is wrong, by part."),
    **ADMIN_WORDS,
}
