"""What may differ between our books and somebody else's, and why."""

from dataclasses import dataclass
from datetime import datetime

CAUSES = {
    "missing_there": "we have it, they do not",
    "missing_here": "they have it, we do not",
    "amount_differs": "both have it, with different amounts",
    "status_differs": "both have it, and disagree how it ended",
    "done_twice": "they did it more than once",
    "in_flight": "it has not ended yet",
    "not_compared": "they could not be asked",
    "unreadable": "a line of theirs makes no sense",
    "ledger_differs": "our documents and our ledger disagree",
    "not_cleared": "an account that should be empty again is not",
    "custody_lapsed": "the reservation has run out and our books still hold it",
    "balance_differs": "what they hold for us is not what our books and the listed breaks come to",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not alike. ``ours`` and ``theirs`` are MB or minor units, as ``unit`` says."""

    kind: str
    subject: str
    subject_id: int | None
    cause: str
    detail: str
    unit: str
    at: datetime
    ours: int | None = None
    theirs: int | None = None
