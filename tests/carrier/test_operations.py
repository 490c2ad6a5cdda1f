"""The port and the simulated carrier together: what each operation does to the data."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from settlement.carriers.client import Carrier
from settlement.carriers.errors import CarrierRefused
from settlement.carriers.values import MovementKind, MovementStatus, ReservationStatus
from settlement.simulators.carrier import ledger
from tests.carrier.simulator import CarrierProcess, a_number, an_id, bucket_of, line_of, month_end, only_bucket, until


async def test_buckets_show_scope_expiry_and_what_is_left(carrier: Carrier, sim: CarrierProcess) -> None:
    expires_at = month_end()
    seller = a_number()
    sim.load(
        line_of(
            seller,
            [
                bucket_of(1000, expires_at=expires_at.isoformat()),
                bucket_of(300, scope="GD", app_scope="VIDEO", expires_at=expires_at.isoformat(), transferable=False),
            ],
        ),
    )

    general, video = sorted(await carrier.buckets(seller), key=lambda bucket: bucket.scope)

    assert (general.carrier, general.msisdn, general.scope, general.app_scope) == ("CMCC", seller, "CN", None)
    assert (general.remaining_mb, general.reserved_mb, general.transferable) == (1000, 0, True)
    assert general.expires_at == expires_at
    assert (video.scope, video.app_scope, video.remaining_mb, video.transferable) == ("GD", "VIDEO", 300, False)


async def test_a_line_of_another_carrier_is_not_seen(carrier: Carrier, sim: CarrierProcess) -> None:
    seller = a_number()
    sim.load(line_of(seller, [bucket_of(1000)]), code="CUCC")

    assert await carrier.buckets(seller) == []
    async with Carrier(sim.profile("CUCC")) as unicom:
        assert (await only_bucket(unicom, seller)).remaining_mb == 1000


async def test_a_reservation_moves_data_aside_and_a_release_brings_it_back(
    carrier: Carrier,
    sim: CarrierProcess,
) -> None:
    seller = sim.a_line(remaining_mb=1000)
    bucket = await only_bucket(carrier, seller)
    external_id = an_id()

    reservation = await carrier.reserve(bucket.id, 400, month_end() - timedelta(days=1), external_id, seller)

    assert (reservation.amount_mb, reservation.status) == (400, ReservationStatus.HELD)
    assert await carrier.find_reservation(external_id) == reservation
    held = await only_bucket(carrier, seller)
    assert (held.remaining_mb, held.reserved_mb) == (600, 400)

    await carrier.release(reservation.id)

    back = await only_bucket(carrier, seller)
    assert (back.remaining_mb, back.reserved_mb) == (1000, 0)
    found = await carrier.find_reservation(external_id)
    assert found is not None
    assert (found.status, found.amount_mb) == (ReservationStatus.RELEASED, 0)


async def test_releasing_what_is_gone_is_fine(carrier: Carrier, sim: CarrierProcess) -> None:
    seller = sim.a_line()
    bucket = await only_bucket(carrier, seller)
    reservation = await carrier.reserve(bucket.id, 100, month_end() - timedelta(days=1), an_id(), seller)

    await carrier.release(reservation.id)
    await carrier.release(reservation.id)
    await carrier.release("never-was")


async def test_an_unknown_id_is_not_found(carrier: Carrier) -> None:
    assert await carrier.find_reservation(an_id()) is None
    assert await carrier.find_movement(an_id()) is None


async def test_a_reservation_can_grow_as_far_as_the_bucket_has_data(carrier: Carrier, sim: CarrierProcess) -> None:
    seller = sim.a_line(remaining_mb=1000)
    bucket = await only_bucket(carrier, seller)
    reservation = await carrier.reserve(bucket.id, 400, month_end() - timedelta(days=1), an_id(), seller)

    assert (await carrier.resize(reservation.id, 900)).amount_mb == 900
    assert (await carrier.resize(reservation.id, 200)).amount_mb == 200
    with pytest.raises(CarrierRefused, match="INSUFFICIENT_BALANCE"):
        await carrier.resize(reservation.id, 1001)

    after = await only_bucket(carrier, seller)
    assert (after.remaining_mb, after.reserved_mb) == (800, 200)


async def test_a_settlement_keeps_scope_app_and_original_expiry(carrier: Carrier, sim: CarrierProcess) -> None:
    seller = sim.a_line(remaining_mb=1000, scope="GD", app_scope="VIDEO")
    buyer = sim.a_line(remaining_mb=None)
    bucket = await only_bucket(carrier, seller)
    reservation = await carrier.reserve(bucket.id, 400, bucket.expires_at, an_id(), seller)
    external_id = an_id()

    movement = await carrier.settle(reservation.id, buyer, 300, external_id)

    assert (movement.kind, movement.status) == (MovementKind.SETTLE, MovementStatus.DONE)
    assert (movement.sender_msisdn, movement.receiver_msisdn, movement.amount_mb) == (seller, buyer, 300)
    assert await carrier.find_movement(external_id) == movement
    sold = await only_bucket(carrier, seller)
    assert (sold.remaining_mb, sold.reserved_mb) == (600, 100)
    bought = await only_bucket(carrier, buyer)
    assert (bought.scope, bought.app_scope, bought.expires_at) == ("GD", "VIDEO", bucket.expires_at)
    assert (bought.remaining_mb, bought.transferable) == (300, False)


async def test_the_last_of_a_reservation_completes_it(carrier: Carrier, sim: CarrierProcess) -> None:
    seller, buyer = sim.a_line(), sim.a_line(remaining_mb=None)
    bucket = await only_bucket(carrier, seller)
    external_id = an_id()
    reservation = await carrier.reserve(bucket.id, 400, bucket.expires_at, external_id, seller)

    await carrier.settle(reservation.id, buyer, 300, an_id())
    await carrier.settle(reservation.id, buyer, 100, an_id())

    found = await carrier.find_reservation(external_id)
    assert found is not None
    assert found.status is ReservationStatus.CONSUMED
    assert (await only_bucket(carrier, buyer)).remaining_mb == 400


async def test_a_transfer_moves_what_nobody_reserved(carrier: Carrier, sim: CarrierProcess) -> None:
    giver, friend = sim.a_line(remaining_mb=1000), sim.a_line(remaining_mb=None)
    bucket = await only_bucket(carrier, giver)
    external_id = an_id()

    movement = await carrier.transfer(bucket.id, giver, friend, 250, external_id)

    assert movement.kind is MovementKind.TRANSFER
    assert await carrier.find_movement(external_id) == movement
    assert (await only_bucket(carrier, giver)).remaining_mb == 750
    assert (await only_bucket(carrier, friend)).remaining_mb == 250


async def test_a_top_up_creates_data_of_its_scope_and_expiry(carrier: Carrier, sim: CarrierProcess) -> None:
    line = sim.a_line(remaining_mb=None)
    expires_at = month_end()
    external_id = an_id()
    before = sim.totals()

    movement = await carrier.top_up(line, 150, "CN", expires_at, external_id)

    assert (movement.kind, movement.sender_msisdn, movement.receiver_msisdn) == (MovementKind.TOP_UP, None, line)
    assert await carrier.find_movement(external_id) == movement
    bucket = await only_bucket(carrier, line)
    assert (bucket.remaining_mb, bucket.scope, bucket.expires_at) == (150, "CN", expires_at)
    assert sim.totals()["total_mb"] == before["total_mb"] + 150


@pytest.mark.parametrize("what", ["reserve", "settle", "transfer", "top_up"])
async def test_the_same_id_and_content_take_effect_once(carrier: Carrier, sim: CarrierProcess, what: str) -> None:
    seller, buyer = sim.a_line(remaining_mb=1000), sim.a_line(remaining_mb=None)
    bucket = await only_bucket(carrier, seller)
    reservation = await carrier.reserve(bucket.id, 500, bucket.expires_at, an_id(), seller)
    external_id = an_id()
    calls: dict[str, Callable[[], object]] = {
        "reserve": lambda: carrier.reserve(bucket.id, 100, bucket.expires_at, external_id, seller),
        "settle": lambda: carrier.settle(reservation.id, buyer, 100, external_id),
        "transfer": lambda: carrier.transfer(bucket.id, seller, buyer, 100, external_id),
        "top_up": lambda: carrier.top_up(buyer, 100, "CN", bucket.expires_at, external_id),
    }

    first, *others = await asyncio.gather(*(calls[what]() for _ in range(5)))  # type: ignore[call-overload]

    assert all(other == first for other in others)
    lines = [*await carrier.buckets(seller), *await carrier.buckets(buyer)]
    total_mb = sum(line.remaining_mb + line.reserved_mb for line in lines)
    assert total_mb == (1100 if what == "top_up" else 1000)
    assert sum(line.remaining_mb for line in lines if line.msisdn == buyer) == (0 if what == "reserve" else 100)


async def test_a_carrier_without_idempotency_does_it_again(carrier: Carrier, sim: CarrierProcess) -> None:
    sim.faults(idempotent=False)
    seller, buyer = sim.a_line(remaining_mb=1000), sim.a_line(remaining_mb=None)
    bucket = await only_bucket(carrier, seller)
    external_id = an_id()

    await carrier.transfer(bucket.id, seller, buyer, 100, external_id)
    await carrier.transfer(bucket.id, seller, buyer, 100, external_id)

    assert (await only_bucket(carrier, buyer)).remaining_mb == 200


async def test_a_reservation_expires_by_the_clock(carrier: Carrier, sim: CarrierProcess) -> None:
    seller, buyer = sim.a_line(remaining_mb=1000), sim.a_line(remaining_mb=None)
    bucket = await only_bucket(carrier, seller)
    external_id, expires_at = an_id(), datetime.now(UTC) + timedelta(seconds=0.4)
    reservation = await carrier.reserve(bucket.id, 400, expires_at, external_id, seller)

    until(lambda: datetime.now(UTC) > expires_at)

    with pytest.raises(CarrierRefused, match="RESERVATION_EXPIRED"):
        await carrier.settle(reservation.id, buyer, 100, an_id())
    back = await only_bucket(carrier, seller)
    assert (back.remaining_mb, back.reserved_mb) == (1000, 0)
    found = await carrier.find_reservation(external_id)
    assert found is not None
    assert found.status is ReservationStatus.EXPIRED


async def test_the_journal_tells_every_movement_page_by_page(carrier: Carrier, sim: CarrierProcess) -> None:
    since = datetime.now(UTC)
    seller, buyer = sim.a_line(remaining_mb=1000), sim.a_line(remaining_mb=None)
    bucket = await only_bucket(carrier, seller)
    reserve_id, settle_id = an_id(), an_id()
    reservation = await carrier.reserve(bucket.id, 400, bucket.expires_at, reserve_id, seller)
    movement = await carrier.settle(reservation.id, buyer, 300, settle_id)
    until_now = datetime.now(UTC)

    actions = [action async for action in carrier.actions(since, until_now)]
    page = await carrier.action_page(since, until_now, offset=1, limit=1)

    assert [action.kind for action in actions] == ["bucket", "reserveBalance", "adjustBalance"]
    assert (list(page.actions), page.total_count) == (actions[1:2], 3)
    settled = actions[2]
    assert (settled.external_id, settled.subject_id, settled.amount_mb) == (settle_id, movement.id, 300)
    assert (settled.msisdn, settled.receiver_msisdn, settled.at) == (seller, buyer, movement.at)
    assert [(impact.account, impact.before_mb, impact.after_mb) for impact in settled.impacts] == [
        ("reserved", 400, 100),
        ("remaining", 0, 300),
    ]


async def test_concurrent_settlements_neither_make_nor_lose_data(carrier: Carrier, sim: CarrierProcess) -> None:
    lines = [sim.a_line(remaining_mb=1000) for _ in range(4)]
    before = sim.totals()
    buckets = [await only_bucket(carrier, line) for line in lines]
    held = [await carrier.reserve(bucket.id, 600, bucket.expires_at, an_id(), bucket.msisdn) for bucket in buckets]

    # Everybody sells to everybody at once, each reservation three times oversold.
    outcomes = await asyncio.gather(
        *(
            carrier.settle(held[seller].id, lines[(seller + step) % 4], 100, an_id())
            for seller in range(4)
            for step in (1, 2, 3)
            for _ in range(6)
        ),
        return_exceptions=True,
    )

    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert all(isinstance(refusal, CarrierRefused) for refusal in refused), refused
    assert len(outcomes) - len(refused) == 4 * 6
    after = sim.totals()
    assert after["total_mb"] == before["total_mb"]
    assert after["reserved_mb"] == before["reserved_mb"]


async def test_an_act_on_a_bucket_that_is_not_as_it_was_read_is_not_written(
    carrier: Carrier, sim: CarrierProcess
) -> None:
    seller = sim.a_line(remaining_mb=1000)
    bucket = await only_bucket(carrier, seller)
    connection = await asyncpg.connect(sim.database_url.replace("+asyncpg", ""))
    try:
        read = dict(await connection.fetchrow("SELECT * FROM bucket WHERE id = $1", bucket.id))
        act = ledger.Action("CMCC", "bucket", 100, datetime.now(UTC), bucket.id)
        for stale in ({"remaining_mb": 999}, {"reserved_mb": 1}):
            changes = [ledger.issued(-100), ledger.Change(read | stale, ledger.REMAINING, 100)]
            with pytest.raises(RuntimeError, match="changed though its line was locked"):
                async with connection.transaction():
                    await ledger.post(connection, act, changes)
    finally:
        await connection.close()
    assert (await only_bucket(carrier, seller)).remaining_mb == 1000


async def test_the_books_of_the_carrier_balance(carrier: Carrier, sim: CarrierProcess) -> None:
    seller, buyer = sim.a_line(remaining_mb=1000), sim.a_line(remaining_mb=None)
    bucket = await only_bucket(carrier, seller)
    reservation = await carrier.reserve(bucket.id, 400, bucket.expires_at, an_id(), seller)
    await carrier.settle(reservation.id, buyer, 300, an_id())
    await carrier.top_up(buyer, 50, "CN", bucket.expires_at, an_id())

    connection = await asyncpg.connect(sim.database_url.replace("+asyncpg", ""))
    try:
        uneven = await connection.fetch("SELECT action_id FROM entry GROUP BY action_id HAVING sum(change_mb) <> 0")
        wrong_balances = await connection.fetch(
            "SELECT bucket.id FROM bucket LEFT JOIN entry ON entry.bucket_id = bucket.id GROUP BY bucket.id"
            " HAVING coalesce(sum(change_mb) FILTER (WHERE account = 'remaining'), 0) <> remaining_mb"
            " OR coalesce(sum(change_mb) FILTER (WHERE account = 'reserved'), 0) <> reserved_mb",
        )
        wrong_holds = await connection.fetch(
            "SELECT bucket.id FROM bucket LEFT JOIN reservation ON reservation.bucket_id = bucket.id GROUP BY bucket.id"
            " HAVING coalesce(sum(open_mb), 0) <> reserved_mb",
        )
    finally:
        await connection.close()

    assert (uneven, wrong_balances, wrong_holds) == ([], [], [])
