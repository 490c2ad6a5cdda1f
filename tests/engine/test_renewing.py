"""Renewing an order: it stands longer, in its place, and after a restart and a replay as well."""

from datetime import UTC, datetime, timedelta

from market.engine.commands import CancelOrder, ExpireOrders, RenewOrder
from market.engine.times import microseconds, moment
from market.verify import verify
from tests.engine.factories import Floor


def _in(hours: float) -> int:
    return microseconds(datetime.now(UTC) + timedelta(hours=hours))


async def test_a_renewed_order_keeps_its_place_and_its_hold_and_ends_later(floor: Floor) -> None:
    first, second = await floor.member(), await floor.member()
    placed = await floor.place(first, "sell", 90, 3, time_in_force="gtd", expires_at_us=_in(0.5))
    await floor.place(second, "sell", 90, 3)
    until = _in(24)

    answer = await floor.gateway.submit(RenewOrder(first.id, "renew-1", b"", 1, placed.order_id or 0, until, version=1))

    assert (answer.accepted, answer.state, answer.version) == (True, "open", 2)
    row = await floor.connection.fetchrow("select expires_at, price_minor, open from open_order where party_id = $1",
                                          first.id)  # fmt: skip
    assert tuple(row) == (moment(until), 90, 3)
    assert await floor.balance(first.coins) == (100_000 - 300, 300)
    buyer = await floor.member()
    assert (await floor.place(buyer, "buy", 90, 3)).state == "filled"
    ended = await floor.connection.fetchrow("select party_id, expires_at from ended_order where side = 2")
    assert tuple(ended) == (first.id, moment(until))
    assert {finding.id for finding in await verify(floor.dsn) if finding.breaches} <= {"D1"}


async def test_what_has_no_end_or_would_outlive_its_market_is_not_renewed(floor: Floor) -> None:
    member = await floor.member()
    lasting = await floor.place(member, "sell", 90, 3)
    ending = await floor.place(member, "sell", 90, 3, time_in_force="gtd", expires_at_us=_in(1))

    async def renewed(order_id: int | None, until_us: int, key: str) -> str | None:
        return (await floor.gateway.submit(RenewOrder(member.id, key, b"", 1, order_id or 0, until_us))).code

    assert await renewed(lasting.order_id, _in(24), "a") == "expiry_unexpected"
    assert await renewed(ending.order_id, _in(-1), "b") == "expiry_passed"
    assert await renewed(ending.order_id, _in(24 * 36_500), "c") in {"expiry_after_close", "expiry_too_far"}
    other = await floor.member()
    stolen = await floor.gateway.submit(RenewOrder(other.id, "d", b"", 1, ending.order_id or 0, _in(24)))
    assert stolen.code == "unknown_order"


async def test_a_changed_or_ended_order_is_not_renewed(floor: Floor) -> None:
    member = await floor.member()
    placed = await floor.place(member, "sell", 90, 3, time_in_force="gtd", expires_at_us=_in(1))
    order_id = placed.order_id or 0

    stale = await floor.gateway.submit(RenewOrder(member.id, "r1", b"", 1, order_id, _in(24), version=7))
    await floor.gateway.submit(CancelOrder(member.id, "c1", b"", 1, order_id))
    late = await floor.gateway.submit(RenewOrder(member.id, "r2", b"", 1, order_id, _in(24)))

    assert (stale.code, late.code) == ("stale_version", "unknown_order")


async def test_the_old_end_no_longer_counts(floor: Floor) -> None:
    member = await floor.member()
    soon = microseconds(datetime.now(UTC)) + 400_000
    placed = await floor.place(member, "sell", 90, 3, time_in_force="gtd", expires_at_us=soon)
    await floor.gateway.submit(RenewOrder(member.id, "r1", b"", 1, placed.order_id or 0, _in(24)))

    now = datetime.now(UTC)
    while microseconds(now) < soon:
        now = datetime.now(UTC)
    answer = await floor.gateway.submit(ExpireOrders(1, "e1", b"", 1))

    assert answer.ended_orders == 0
    assert await floor.connection.fetchval("select count(*) from open_order") == 1
