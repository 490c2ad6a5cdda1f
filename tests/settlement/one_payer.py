"""A program that charges a card while its user waits, for tests that kill it: reads its world from a JSON argument."""

import asyncio
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from market.database import connect, sessions
from settlement import at_once
from settlement.payments.port import Payments
from settlement.payments.values import PaymentSettings
from settlement.steps import Outside


async def main(world: dict[str, Any]) -> None:
    async def numbers_of(lines: Sequence[int]) -> dict[int, str]:
        return dict.fromkeys(lines, "")

    async def announce(parties: Iterable[int]) -> None:
        """Nobody listens."""

    maker = sessions(connect(world["database_url"]))
    payments = Payments(PaymentSettings(**world["payment"]))
    outside = Outside({}, payments, numbers_of, world["mark"], slack=timedelta(seconds=1))
    async with maker.begin() as session:
        claim = await at_once.claim(session, outside, world["kind"], world["payment_id"])
    assert claim is not None
    await at_once.do(maker, outside, announce, claim)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
