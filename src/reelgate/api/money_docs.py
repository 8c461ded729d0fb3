"""What the reference says of an account's money routes, and words that the operator's share."""

from reelgate.api import money, money_wire, wire
from reelgate.api.describe import JSON, Doc, Param, Reply, Tag
from reelgate.api.paging import AFTER, LIMIT, ORDER
from reelgate.domain.errors import Code
from reelgate.flows import reports

_DAY = {"type": "string", "format": "date", "examples": ["2026-11-22"]}
CSV = "text/csv"

FROM = Param("from", "The first day (UTC); by default 30 days are shown.", _DAY)
TO = Param("to", "The last day (UTC), included; by default today.", _DAY)
FORMAT = Param(
    "format",
    "`csv` for a table to save; `Accept: text/csv` does the same.",
    {"type": "string", "enum": list(money.FORMATS)},
)
TASK = Param("task_id", "Only what this task moved.", {"type": "string"})


def group_by(allowed: tuple[str, ...], default: str) -> Param:
    """The query parameter of that name."""
    about = f"Some of {', '.join(allowed)}, with commas between them; empty for one sum."
    return Param("group_by", about, {"type": "string", "default": default})


BALANCE = Doc(
    "Get the balance",
    Tag.ACCOUNT,
    (Reply("What new tasks may use, and what running ones hold.", wire.Balance),),
)
USAGE = Doc(
    "Get itemised charges",
    Tag.ACCOUNT,
    (
        Reply(
            "Charges of the tasks that ended on these days.",
            money_wire.UsageReport,
            media=(JSON, CSV),
        ),
    ),
    "A task counts on the day it ended: then it was charged. The sums are those of the ledger.",
    params=(FROM, TO, group_by(reports.USAGE_GROUPS, "day,model,operation"), FORMAT),
    codes=(Code.INVALID_VALUE,),
)
LEDGER = Doc(
    "Get the statement",
    Tag.ACCOUNT,
    (Reply("One page.", money_wire.LedgerPage),),
    "Every row that ever moved the account's money, with the balance after it. Rows are only "
    "added: none ever changes.",
    params=(AFTER, LIMIT, ORDER, TASK),
    codes=(Code.INVALID_VALUE,),
)
