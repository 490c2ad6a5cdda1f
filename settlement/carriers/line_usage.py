"""What a line used of its data, out of a carrier's journal (TMF654 balance actions), where the carrier lists it there.

The standard names no action for data that was used; the simulated carrier calls it `deductBalance`. It is asked for
once, when a line is first seen: from then on our own readings of the buckets tell it at every carrier.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from settlement.carriers import reading
from settlement.carriers.errors import CarrierMismatch
from settlement.carriers.values import Action
from settlement.carriers.wire import Wire

DEDUCTED = "deductBalance"
ACTIONS = "/tmf-api/prepayBalanceManagement/v4/balanceAction"
PAGE = 100
MOST_PAGES = 20


@dataclass(frozen=True, slots=True)
class Deduction:
    """MB that a line used out of one bucket."""

    bucket_id: str
    amount_mb: int
    at: datetime


class LineUsage:
    """A question about a line, for a port that has its `_wire`. It raises the errors of `errors.py`."""

    _wire: Wire

    async def deductions(self, msisdn: str, since: datetime, until: datetime) -> list[Deduction]:
        """What the line used in a span of time, oldest first; of a longer journal its first 2,000 lines."""
        found: list[Deduction] = []
        for number in range(MOST_PAGES):
            params: dict[str, str | int] = {
                "logicalResource.id": msisdn,
                "requestedDate.gte": _moment(since),
                "requestedDate.lt": _moment(until),
                "offset": number * PAGE,
                "limit": PAGE,
            }
            answer = await self._wire.call("GET", ACTIONS, params=params)
            actions = [reading.action(document) for document in reading.records(answer.body, "balanceAction")]
            if any(msisdn not in {action.msisdn, action.receiver_msisdn} for action in actions):
                raise CarrierMismatch("logicalResource: the journal shows lines that nobody asked for.")
            found += [each for action in actions if action.kind == DEDUCTED for each in _deductions(action)]
            if len(actions) < PAGE:
                break
        return found


def _deductions(action: Action) -> Iterator[Deduction]:
    for impact in action.impacts:
        if impact.after_mb < impact.before_mb:
            yield Deduction(impact.bucket_id, impact.before_mb - impact.after_mb, action.at)


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
