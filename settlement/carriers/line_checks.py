"""What a carrier can be asked about a line beside its data: CAMARA number recycling 0.2 and SIM swap subscriptions 0.3.

And all that it holds reserved for us, a page at a time, to be compared with our books.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from settlement.carriers import reading
from settlement.carriers.errors import CarrierMismatch
from settlement.carriers.values import Reservation
from settlement.carriers.wire import Wire

SWAPPED = "org.camaraproject.sim-swap-subscriptions.v0.swapped"
RESERVATIONS = "/tmf-api/prepayBalanceManagement/v4/reserveBalance"


@dataclass(frozen=True, slots=True)
class ReservationPage:
    """Some of the reservations that are live, oldest first, and how many there are in all."""

    reservations: Sequence[Reservation]
    total_count: int


class LineChecks:
    """Questions about lines, for a port that has its `_wire`. Each method raises the errors of `errors.py`.

    A number that is not, or not any more, of this carrier is refused with status 404.
    """

    _wire: Wire

    async def number_recycled(self, msisdn: str, since: date) -> bool:
        """Whether the number was given to another subscriber after the day `since`."""
        body = {"phoneNumber": msisdn, "specifiedDate": since.isoformat()}
        answer = await self._wire.call("POST", "/number-recycling/v0.2/check", body=body)
        return reading.truth(reading.record(answer.body, "check"), "phoneNumberRecycled")

    async def subscribe(self, msisdn: str, sink: str, token: str, until: datetime) -> str:
        """Have events of a number sent to `sink` with `token` as their bearer; gives the subscription's id."""
        body = {
            "protocol": "HTTP",
            "sink": sink,
            "sinkCredential": {
                "credentialType": "ACCESSTOKEN",
                "accessToken": token,
                "accessTokenExpiresUtc": until.astimezone(UTC).isoformat().replace("+00:00", "Z"),
                "accessTokenType": "bearer",
            },
            "types": [SWAPPED],
            "config": {"subscriptionDetail": {"phoneNumber": msisdn}},
        }
        answer = await self._wire.call("POST", "/sim-swap-subscriptions/v0.3/subscriptions", body=body)
        return reading.text(reading.record(answer.body, "subscriptions"), "id")

    async def reservation_page(self, *, offset: int = 0, limit: int = 500) -> ReservationPage:
        """The live reservations from `offset` on. What begins or ends meanwhile shifts the pages that follow."""
        params: dict[str, str | int] = {"status": "confirmed", "offset": offset, "limit": limit}
        answer = await self._wire.call("GET", RESERVATIONS, params=params)
        if answer.total_count is None:
            raise CarrierMismatch("X-Total-Count: missing, so nobody can say whether the list is whole.")
        found = [reading.reservation(each) for each in reading.records(answer.body, "reserveBalance")]
        return ReservationPage(found, answer.total_count)
