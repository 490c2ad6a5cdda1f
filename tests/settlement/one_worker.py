"""A settlement worker as a program of its own, for tests that kill it: reads its world from a JSON argument."""

import asyncio
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from market.database import connect, sessions
from settlement.carriers.client import Carrier
from settlement.carriers.values import CarrierProfile
from settlement.payments.port import Payments
from settlement.payments.values import PaymentSettings
from settlement.steps import Outside
from settlement.worker import run


async def main(world: dict[str, Any]) -> None:
    engine = connect(world["database_url"])
    numbers = {int(line): number for line, number in world["numbers"].items()}

    async def numbers_of(lines: Sequence[int]) -> dict[int, str]:
        return {line: numbers[line] for line in lines}

    async def announce(parties: Iterable[int]) -> None:
        """Nobody listens."""

    async with Carrier(CarrierProfile(**world["profile"])) as carrier:
        payments = Payments(PaymentSettings(**world["payment"]))
        outside = Outside(
            {carrier.profile.code: carrier}, payments, numbers_of, world["mark"], slack=timedelta(seconds=1)
        )
        wake, stop = asyncio.Event(), asyncio.Event()
        await run(outside, sessions(engine), announce, wake=wake, stop=stop, worker="doomed", idle_seconds=0.3)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
