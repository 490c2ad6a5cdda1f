"""Receipts from real books: each party's own side, continued as the trade goes on, and checked by the verifier."""

from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from redis.asyncio import Redis

import market.verify
from market import receipts
from market.database import connect, raw_dsn, sessions
from market.parties import Officer
from market.refusals import NotFound
from market.venue import Venue
from market.verify import verify as verify_books
from settlement.receipts.document import Document, Signer
from settlement.receipts.verifying import verify
from tests.engine.factories import Floor, Member, fresh_database, open_floor, running_engine
from tests.web.making import settings_of

SECRET = settings_of().secret_key
KEYS = {Signer(SECRET).public_key}


@pytest.fixture(scope="module")
async def place(new_database: Callable[[str], str], valkey_url: str) -> AsyncIterator[tuple[Floor, Venue]]:
    url = await fresh_database(new_database, "receipts")
    engine = connect(url)
    async with (
        Redis.from_url(valkey_url) as redis,
        running_engine(raw_dsn(url), redis),
        open_floor(url, valkey_url) as floor,
    ):
        parts = SimpleNamespace(settings=settings_of(), sessions=sessions(engine))
        yield floor, cast("Venue", parts)
    await engine.dispose()


async def _a_trade(floor: Floor) -> tuple[int, Member, Member]:
    seller, buyer = await floor.member(), await floor.member()
    await floor.place(seller, "sell", 300, 2, instrument_id=2)
    await floor.place(buyer, "buy", 300, 2, instrument_id=2)
    return await floor.connection.fetchval("select max(id) from trade"), buyer, seller


async def _deliver(floor: Floor, trade_id: int) -> None:
    await floor.connection.execute(
        """update delivery set status = 'delivered', carrier_reference = 'tx-7', delivered_at = now() where id = $1""",
        trade_id,
    )


def _steps(issued: bytes) -> list[dict[str, Any]]:
    return [step.body for step in msgspec.json.decode(issued, type=Document).receipt.steps]


async def test_a_receipt_tells_order_match_and_hold_and_names_the_batch(place: tuple[Floor, Venue]) -> None:
    floor, venue = place
    trade_id, buyer, _ = await _a_trade(floor)

    issued = await receipts.of_party(venue, buyer.id, trade_id)

    assert verify(issued, KEYS).is_sound
    order, match, hold = _steps(issued)
    link = await floor.connection.fetchrow("select * from audit_link where number = $1", int(match["audit_link"]))
    assert (order["side"], match["price_minor"], match["lots"], hold["held_minor"]) == ("buy", 300, 2, 600)
    assert match["audit_hash"] == link["hash"].hex()
    assert int(match["journal_from"]) <= int(match["journal_to"]) == link["last_seq"]


async def test_a_later_receipt_begins_with_the_earlier_one(place: tuple[Floor, Venue]) -> None:
    floor, venue = place
    trade_id, buyer, _ = await _a_trade(floor)
    earlier = _steps(await receipts.of_party(venue, buyer.id, trade_id))

    await _deliver(floor, trade_id)
    issued = await receipts.of_party(venue, buyer.id, trade_id)

    assert _steps(issued)[: len(earlier)] == earlier
    assert [step["kind"] for step in _steps(issued)[len(earlier) :]] == ["delivery"]
    assert _steps(issued)[-1]["carrier_reference"] == "tx-7"
    assert verify(issued, KEYS).is_sound


async def test_nothing_of_the_other_side_is_told(place: tuple[Floor, Venue]) -> None:
    floor, venue = place
    trade_id, buyer, seller = await _a_trade(floor)

    bought = (await receipts.of_party(venue, buyer.id, trade_id)).decode()
    sold = (await receipts.of_party(venue, seller.id, trade_id)).decode()

    orders = await floor.connection.fetchrow("select * from trade where id = $1", trade_id)
    assert f'"party_{buyer.id}"' in bought
    assert f'"party_{seller.id}"' in sold
    assert f"party_{seller.id}" not in bought
    assert f"party_{buyer.id}" not in sold
    assert f"ord_{orders['sell_order_id']}" not in bought
    assert f"ord_{orders['buy_order_id']}" not in sold


async def test_other_people_get_no_receipt(place: tuple[Floor, Venue]) -> None:
    floor, venue = place
    trade_id, _, _ = await _a_trade(floor)
    stranger = await floor.member()

    with pytest.raises(NotFound):
        await receipts.of_party(venue, stranger.id, trade_id)


async def test_an_officer_takes_receipts_of_the_own_carrier_and_it_is_on_the_record(
    place: tuple[Floor, Venue],
) -> None:
    floor, venue = place
    trade_id, _, _ = await _a_trade(floor)
    own, other = Officer(1, "a", "compliance", "CMCC"), Officer(2, "b", "compliance", "CTCC")

    issued = await receipts.of_officer(venue, own, trade_id, "sell")

    assert verify(issued, KEYS).is_sound
    with pytest.raises(NotFound):
        await receipts.of_officer(venue, other, trade_id, "sell")
    noted = await floor.connection.fetchval("select payload from audit_link where chain = 'house' order by number desc")
    assert f"receipt:trd_{trade_id}".encode() in noted


async def test_the_verifier_finds_an_issued_receipt_that_was_changed(place: tuple[Floor, Venue]) -> None:
    floor, venue = place
    trade_id, buyer, _ = await _a_trade(floor)
    await _deliver(floor, trade_id)
    await receipts.of_party(venue, buyer.id, trade_id)
    assert not await _breaches(floor)

    for change in (
        "update receipt_step set body = body || ' ' where number = 2 and trade_id = $1",
        "delete from receipt_step where number = 4 and trade_id = $1",
        "update delivery set carrier_reference = 'tx-8' where id = $1",
    ):
        transaction = floor.connection.transaction()
        await transaction.start()
        await floor.connection.execute("set local session_replication_role = replica")  # as somebody with all rights
        await floor.connection.execute(change, trade_id)

        found = [each async for each in market.verify._findings(floor.connection) if each.id == "S7"]

        assert found[0].breaches, change
        await transaction.rollback()


async def _breaches(floor: Floor) -> list[str]:
    return [breach for each in await verify_books(floor.dsn) if each.id == "S7" for breach in each.breaches]


async def test_keys_that_were_used_are_published_for_ever(place: tuple[Floor, Venue]) -> None:
    floor, venue = place
    trade_id, buyer, _ = await _a_trade(floor)
    issued = await receipts.of_party(venue, buyer.id, trade_id)

    later = Signer("demo_the_secret_of_the_year_after_this")
    async with venue.sessions() as session:
        published = await receipts.public_keys(session, later)

    assert [key.id for key in published] == [Signer(SECRET).key_id, later.key_id]
    assert verify(issued, {bytes.fromhex(key.public_key) for key in published}).is_sound


async def test_what_comes_after_the_match_has_its_steps_in_order(place: tuple[Floor, Venue]) -> None:
    floor, venue = place
    trade_id, buyer, seller = await _a_trade(floor)
    await _deliver(floor, trade_id)
    await floor.connection.execute(
        "update delivery set status = 'settled', ended_at = now(), payment_reference = 'ch_1' where id = $1", trade_id
    )
    await floor.connection.execute(
        """insert into payout (party_id, key, account_id, amount_minor, currency, destination, status,
            transfer_reference, payout_reference, created_at, ended_at)
        values ($1, 'p', $2, 500, 'CNY', 'acct_1', 'paid', 'tr_1', 'po_1', now(), now())""",
        seller.id,
        seller.money,
    )
    await floor.connection.execute(
        """insert into reopening (trade_id, cause, amount_minor, detail, status, ended_at)
        values ($1, 'carrier_reversed', 600, 'said so', 'settled', now())""",
        trade_id,
    )

    sold = _steps(await receipts.of_party(venue, seller.id, trade_id))
    bought = _steps(await receipts.of_party(venue, buyer.id, trade_id))

    opening = ["order", "match", "hold", "delivery", "payment"]
    assert [step["kind"] for step in sold] == [*opening, "payout", "reopened", "reopening_ended"]
    assert [step["kind"] for step in bought] == [*opening, "reopened", "reopening_ended"]
    assert sold[4]["received_minor"] + sold[4]["fee_minor"] == bought[4]["paid_minor"] == 600
    assert (bought[4]["captured_from"], "captured_from" in sold[4]) == ("ch_1", False)


async def test_a_refund_tells_the_code_and_not_the_carriers_words(place: tuple[Floor, Venue]) -> None:
    floor, venue = place
    trade_id, buyer, _ = await _a_trade(floor)
    reason = "BUCKET_EXPIRED: the bucket of 13800138000 has ended"
    await floor.connection.execute(
        "update delivery set status = 'refunded', ended_at = now(), reason = $2 where id = $1", trade_id, reason
    )

    issued = await receipts.of_party(venue, buyer.id, trade_id)

    assert _steps(issued)[-1]["code"] == "BUCKET_EXPIRED"
    assert b"13800138000" not in issued
