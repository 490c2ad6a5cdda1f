"""A day's reconciliation: every planted break is found with its cause, nothing else is, and timing closes by itself."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select, update

from market.database import raw_dsn
from settlement.naming import external_id
from settlement.reconciliation.runs import ALL, Outcome, Run, begin, connected
from settlement.reconciliation.tables import BreakRow
from settlement.reconciliation.window import Window
from settlement.tables import DeliveryRow, PaymentRow
from tests.settlement.test_payouts import a_top_up
from tests.settlement.world import World

SHANGHAI = ZoneInfo("Asia/Shanghai")


async def reconciled(world: World, database_url: str, scope: str = ALL, now: datetime | None = None) -> Outcome:
    now = now or datetime.now(UTC)
    window = Window(now.astimezone(SHANGHAI).date(), SHANGHAI, now)
    async with connected(raw_dsn(database_url)) as connection:
        run_id = await begin(connection, window, scope, daily=False)
        assert run_id is not None
        return await Run(connection, world.outside, window, run_id, "CNY").carry_out(scope)


async def found(world: World, subject: str) -> list[tuple[str, str]]:
    async with world.sessions() as session:
        rows = await session.scalars(select(BreakRow).where(BreakRow.subject == subject).order_by(BreakRow.id))
        return [(row.cause, row.status) for row in rows]


async def test_each_kind_of_planted_break_at_a_carrier_is_found_with_its_cause(world: World, database_url: str) -> None:
    seller = await world.reserved(3000)
    names = ("agrees", "missing_there", "amount_differs", "status_differs", "done_twice", "in_flight")
    trades = {name: await world.traded(seller, quantity=100) for name in names}
    async with world.working():
        for trade in trades.values():
            await world.ended(trade.id)
    lies: dict[str, dict[str, Any]] = {
        "missing_there": {"id": trades["missing_there"].id + 10**6},
        "amount_differs": {"quantity": 90},
        "status_differs": {"status": "refunded"},
        "in_flight": {"status": "pending"},
    }
    async with world.sessions.begin() as session:
        for name, lie in lies.items():
            await session.execute(update(DeliveryRow).where(DeliveryRow.id == trades[name].id).values(lie))
    unknown = external_id(world.mark, "deliver", 10**9)
    await world.carrier.settle(str(seller.reservation_id), world.numbers[world.a_line()], 50, unknown)
    twice = external_id(world.mark, "deliver", trades["done_twice"].id)
    world.sim.faults(idempotent=False)
    await world.carrier.settle(str(seller.reservation_id), world.numbers[world.a_line()], 100, twice)

    await reconciled(world, database_url, "CMCC")

    assert await found(world, f"trd_{trades['agrees'].id}") == []
    assert ("missing_there", "open") in await found(world, f"trd_{trades['missing_there'].id + 10**6}")
    assert await found(world, f"trd_{trades['missing_there'].id}") == [("missing_here", "open")]
    assert ("amount_differs", "open") in await found(world, f"trd_{trades['amount_differs'].id}")
    assert await found(world, f"trd_{trades['status_differs'].id}") == [("status_differs", "open")]
    assert await found(world, f"trd_{trades['in_flight'].id}") == [("in_flight", "open")]
    assert await found(world, f"trd_{trades['done_twice'].id}") == [("done_twice", "open")]
    assert await found(world, f"trd_{10**9}") == [("missing_here", "open")]

    async with world.sessions.begin() as session:
        ended = update(DeliveryRow).where(DeliveryRow.id == trades["in_flight"].id).values(status="settled")
        await session.execute(ended)
    await reconciled(world, database_url, "CMCC")

    assert await found(world, f"trd_{trades['in_flight'].id}") == [("in_flight", "closed")]
    assert await found(world, f"trd_{trades['status_differs'].id}") == [("status_differs", "open")]


async def test_a_payment_that_the_provider_has_otherwise_is_a_break(world: World, database_url: str) -> None:
    agrees, differs, gone = await a_top_up(world), await a_top_up(world), await a_top_up(world)
    async with world.sessions.begin() as session:
        more = {"amount_minor": 1500, "captured_minor": 1500}
        await session.execute(update(PaymentRow).where(PaymentRow.id == differs.id).values(more))
        await session.execute(
            update(PaymentRow).where(PaymentRow.id == gone.id).values(status="declined", captured_minor=0)
        )

    await reconciled(world, database_url)

    assert await found(world, f"pay_{agrees.id}") == []
    assert ("amount_differs", "open") in await found(world, f"pay_{differs.id}")
    assert await found(world, f"pay_{gone.id}") == [("status_differs", "open")]


async def test_a_carrier_that_does_not_answer_is_a_break_and_closes_nothing(world: World, database_url: str) -> None:
    seller = await world.reserved(500)
    trade = await world.traded(seller)
    async with world.working():
        await world.ended(trade.id)
    async with world.sessions.begin() as session:
        await session.execute(update(DeliveryRow).where(DeliveryRow.id == trade.id).values(status="refunded"))
    await reconciled(world, database_url, "CMCC")
    async with world.sessions.begin() as session:
        await session.execute(update(DeliveryRow).where(DeliveryRow.id == trade.id).values(status="settled"))
    world.sim.faults(error_rate_percent=100)

    outcome = await reconciled(world, database_url, "CMCC")

    assert outcome.totals[0].causes == {"not_compared": 1}
    assert await found(world, f"trd_{trade.id}") == [("status_differs", "open")]


async def test_the_same_day_compared_again_has_the_same_hash(world: World, database_url: str) -> None:
    first = await reconciled(world, database_url, "CMCC")
    again = await reconciled(world, database_url, "CMCC")

    assert list(first.totals) == list(again.totals)
    assert first.result_hash == again.result_hash


async def test_a_days_own_run_is_made_once(database_url: str) -> None:
    now = datetime.now(UTC)
    window = Window(now.astimezone(SHANGHAI).date(), SHANGHAI, now)
    async with connected(raw_dsn(database_url)) as connection:
        first = await begin(connection, window, ALL, daily=True)

        assert first is not None
        assert await begin(connection, window, ALL, daily=True) is None
