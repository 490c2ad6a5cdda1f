"""A process that sets a seller's data aside while its user waits, for tests that kill it: reads its world from JSON.

``reckless`` asks the carrier first and writes afterwards, as a negative control.
"""

import asyncio
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from market.database import connect
from market.database import sessions as sessions_of
from settlement.carriers.client import Carrier
from settlement.carriers.values import CarrierProfile
from settlement.claims import take_this
from settlement.failpoints import failpoint
from settlement.funding import instruct
from settlement.lane import Lane
from settlement.naming import external_id
from settlement.payments.port import Payments
from settlement.payments.values import PaymentSettings
from settlement.reserving import RESERVE
from settlement.steps import Outside
from settlement.tables import CustodyRow

STEPS = {RESERVE.kind: RESERVE}


async def main(world: dict[str, Any]) -> None:
    sessions = sessions_of(connect(world["database_url"]))

    async def numbers_of(lines: Sequence[int]) -> dict[int, str]:
        return {}

    async def announce(parties: Iterable[int]) -> None:
        """Nobody listens."""

    async with Carrier(CarrierProfile(**world["profile"])) as carrier, sessions() as session:
        outside = Outside({"CMCC": carrier}, Payments(PaymentSettings(**world["payment"])), numbers_of, world["mark"])
        row = await session.get_one(CustodyRow, world["custody"])
        await instruct(session, "reserve", row.id, "CMCC")
        if world["reckless"]:
            name = external_id(world["mark"], "reserve", row.id)
            await carrier.reserve(row.bucket_id, row.quantity_mb, row.expires_at, name, world["number"])
            failpoint("settle.after_send")
        budget, mark = outside.longest_step("CMCC"), world["mark"]
        claim = await take_this(session, STEPS, "reserve", row.id, holder="seller", budget=budget, mark=mark)
        await session.commit()
        assert claim is not None
        failpoint("settle.after_claim")
        lane = Lane("CMCC", outside, STEPS, sessions, announce, "seller", changed=lambda: None)
        await lane.do(claim, {row.line_id: world["number"]})


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
