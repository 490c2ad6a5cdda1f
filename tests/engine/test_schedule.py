"""The scheduler asks the engine for what is due, and asking twice does it once."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from market.database import connect, sessions
from market.engine.times import microseconds
from market.schedule import keep_time
from market.venue import Venue
from tests.engine.factories import Floor
from tests.web.making import settings_of


async def test_instruments_close_and_orders_end_when_their_time_has_come(floor: Floor) -> None:
    seller = await floor.member()
    soon = microseconds(datetime.now(UTC) + timedelta(minutes=5))
    timed = await floor.place(seller, "sell", 50, 3, time_in_force="gtd", expires_at_us=soon)
    lasting = await floor.place(seller, "sell", 300, 5, instrument_id=2)
    engine = connect(floor.dsn.replace("postgresql://", "postgresql+asyncpg://"))
    venue = cast("Venue", SimpleNamespace(sessions=sessions(engine), gateway=floor.gateway, settings=settings_of()))

    early = await keep_time(venue, datetime.now(UTC))
    late = await keep_time(venue, datetime(2030, 2, 1, tzinfo=UTC))
    again = await keep_time(venue, datetime(2030, 2, 1, tzinfo=UTC))
    await engine.dispose()

    states: dict[int, Any] = {
        row["id"]: (row["state"], row["reason"])
        for row in await floor.connection.fetch("select id, state, reason from orders")
    }
    assert early == 0
    # The engine trusts its own clock alone: by that the timed order is not due yet, however early it is asked.
    assert states == {timed.order_id: ("open", None), lasting.order_id: ("cancelled", "closed")}
    assert late == 2
    assert again == 1
