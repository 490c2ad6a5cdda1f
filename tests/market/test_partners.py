"""Partners: keys that open and close, bulk purchases leg by leg, and data handed out once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from market import partners, settling, trading
from market.installation import mark
from market.parties import Member, line_or_invitation
from market.partners import BulkLeg, bulk_buy, hand_out
from market.refusals import BadInput, Forbidden, KeyReused, NotAllowed, NotFound, NotSignedIn, Unavailable
from market.tables import ApiKeyRow, PartyRow
from market.trading import OrderRequest
from settlement.carriers.client import Carrier
from settlement.carriers.errors import CarrierRefused
from settlement.carriers.values import Bucket
from tests.carrier.simulator import until_async
from tests.engine.factories import running_engine
from tests.market.town import BUCKET_END, Town, a_key, a_number

CMCC, CTCC = "CMCC-CN-3001", "CTCC-CN-3001"


async def a_partner(town: Town, *carriers: str, money_minor: int = 100_000, **line: Any) -> Member:
    """A company whose lines have been signed in with."""
    async with town.venue.sessions.begin() as session:
        party = PartyRow(kind="partner", name="A company", group_id=0)
        session.add(party)
        await session.flush()
        party.group_id = party.id
    member = Member(party.id, party.id, "partner", "A company", "zh_CN")
    for carrier in carriers or ("CMCC",):
        number = await town.line(carrier, **line)
        async with town.venue.sessions.begin() as session:
            await line_or_invitation(session, town.venue.vault, number, carrier, party)
        assert (await town.enter(number)).party_id == member.party_id
    await town.put(member.party_id, "CNY", money_minor)
    return member


async def a_seller(town: Town, carrier: str, symbol: str, lots: int, price_minor: int) -> Member:
    """Somebody's data in the book."""
    seller = await town.a_member(carrier)
    offer = OrderRequest(symbol=symbol, side="sell", lots=lots, price_minor=price_minor)
    await trading.place(town.venue, seller, offer, a_key())
    return seller


async def issued(town: Town, member: Member, name: str = "a program") -> tuple[str, int]:
    async with town.venue.sessions.begin() as session:
        key = await partners.issue_key(session, member.party_id, name)
        return key, await session.scalar(select(ApiKeyRow.id).order_by(ApiKeyRow.id.desc()).limit(1)) or 0


async def let_in(town: Town, key: str) -> Member:
    async with town.venue.sessions.begin() as session:
        return await partners.authenticate(session, key)


# Keys.


async def test_a_key_lets_its_party_in_until_it_is_revoked(town: Town) -> None:
    member = await a_partner(town)
    key, key_id = await issued(town, member)
    assert await let_in(town, key) == member

    for _ in range(2):
        async with town.venue.sessions.begin() as session:
            await partners.revoke_key(session, member.party_id, key_id)

    with pytest.raises(NotSignedIn) as revoked:
        await let_in(town, key)
    with pytest.raises(NotSignedIn) as unknown:
        await let_in(town, "sf_live_" + "a" * 43)
    assert str(revoked.value) == str(unknown.value)


async def test_only_the_hash_of_a_key_is_kept(town: Town) -> None:
    key, key_id = await issued(town, await a_partner(town))

    (row,) = await town.rows("select api_key::text as whole, prefix from api_key where id = :id", id=key_id)

    assert key.startswith("sf_live_")
    assert len(key) > 50
    assert key[len(row.prefix) :] not in row.whole
    assert row.prefix == key[:12]
    payloads = await town.rows("select payload from audit_link where chain = 'house' order by number desc limit 3")
    assert not [row for row in payloads if key[12:].encode() in row.payload]


async def test_nobody_revokes_a_key_of_somebody_else(town: Town) -> None:
    mine, other = await a_partner(town), await a_partner(town)
    key, key_id = await issued(town, mine)

    async with town.venue.sessions() as session:
        for stranger, number in ((other, key_id), (mine, 10**9)):
            with pytest.raises(NotFound):
                await partners.revoke_key(session, stranger.party_id, number)

    assert await let_in(town, key) == mine


async def test_the_last_use_is_noted_to_the_minute_and_no_finer(town: Town) -> None:
    key, key_id = await issued(town, await a_partner(town))
    noted = "select last_used_at from api_key where id = :id"

    await let_in(town, key)
    first = await town.value(noted, id=key_id)
    await let_in(town, key)
    assert await town.value(noted, id=key_id) == first

    async with town.venue.sessions.begin() as session:
        earlier = first - timedelta(minutes=2)
        await session.execute(update(ApiKeyRow).where(ApiKeyRow.id == key_id).values(last_used_at=earlier))
    await let_in(town, key)
    assert await town.value(noted, id=key_id) >= first


@pytest.mark.parametrize("name", ["", "  ", "x" * 81, "a\nb"])
async def test_a_key_has_a_name(town: Town, name: str) -> None:
    with pytest.raises(BadInput) as caught:
        await issued(town, await a_partner(town), name)

    assert caught.value.field == "name"


async def test_a_party_has_so_many_keys(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partners, "MOST_KEYS", 2)
    member = await a_partner(town)
    for _ in range(2):
        await issued(town, member)

    with pytest.raises(NotAllowed):
        await issued(town, member)


# Buying in bulk.


@pytest.fixture
async def market(town: Town) -> AsyncIterator[Town]:
    """The town with its engine at work."""
    async with running_engine(town.venue.settings.database_dsn, town.venue.redis):
        yield town


async def test_a_bulk_purchase_fills_what_it_can_and_names_each_faulty_leg(market: Town) -> None:
    await a_seller(market, "CMCC", CMCC, 5, 300)
    await a_seller(market, "CTCC", CTCC, 2, 200)
    partner, key = await a_partner(market, "CMCC", "CTCC"), a_key()
    legs = [
        BulkLeg(CMCC, 3, 300),
        BulkLeg(CTCC, 4, 250),
        BulkLeg(CMCC, 1, 303),
        BulkLeg("CUCC-CN-3001", 1, 300),
        BulkLeg(CMCC, 1, 5),
    ]

    results = await bulk_buy(market.venue, partner, legs, key)

    assert [(each.symbol, each.accepted, each.filled, each.code) for each in results] == [
        (CMCC, True, 3, None),
        (CTCC, True, 2, None),
        (CMCC, False, 0, "off_tick"),
        ("CUCC-CN-3001", False, 0, "unknown_instrument"),
        (CMCC, True, 0, None),
    ]
    assert all(each.open == 0 for each in results)
    assert [(fill.price_minor, fill.quantity) for each in results for fill in each.fills] == [(300, 3), (200, 2)]
    assert await bulk_buy(market.venue, partner, legs, key) == results
    await market.assert_books_agree()


async def test_ten_bulk_purchases_with_one_key_buy_once(market: Town) -> None:
    await a_seller(market, "CMCC", CMCC, 20, 400)
    partner, key = await a_partner(market), a_key()
    legs = [BulkLeg(CMCC, 2, 400), BulkLeg(CMCC, 3, 400)]

    answers = await asyncio.gather(*(bulk_buy(market.venue, partner, legs, key) for _ in range(10)))

    assert all(answer == answers[0] for answer in answers)
    assert await market.value("select count(*) from orders where party_id = :id", id=partner.party_id) == 2


async def test_the_same_key_with_other_legs_is_a_conflict(market: Town) -> None:
    partner, key = await a_partner(market), a_key()
    await bulk_buy(market.venue, partner, [BulkLeg(CMCC, 1, 5)], key)

    with pytest.raises(KeyReused):
        await bulk_buy(market.venue, partner, [BulkLeg(CMCC, 2, 5)], key)


async def test_a_partner_without_a_line_at_the_carrier_is_told_so(market: Town) -> None:
    partner = await a_partner(market, "CMCC")

    (result,) = await bulk_buy(market.venue, partner, [BulkLeg(CTCC, 1, 300)], a_key())

    assert (result.accepted, result.code) == (False, "no_line")


@pytest.mark.parametrize("count", [0, 51])
async def test_a_bulk_order_has_one_to_fifty_legs(town: Town, count: int) -> None:
    with pytest.raises(BadInput) as caught:
        await bulk_buy(town.venue, await a_partner(town), [BulkLeg(CMCC, 1, 300)] * count, a_key())

    assert caught.value.field == "legs"


async def test_the_key_of_a_bulk_order_leaves_room_for_its_legs(town: Town) -> None:
    with pytest.raises(BadInput):
        await bulk_buy(town.venue, await a_partner(town), [BulkLeg(CMCC, 1, 300)], "k" * 251)


# Handing out.


async def test_a_handout_instructs_the_carrier(town: Town) -> None:
    partner, number = await a_partner(town), a_number()

    row = await hand_out(town.venue, partner, CMCC, number, 500, a_key())

    assert (row.status, row.carrier, row.amount_mb) == ("requested", "CMCC", 500)
    (instruction,) = await town.rows(
        "select lane, status from instruction where kind = 'handout' and subject_id = :id", id=row.id
    )
    assert tuple(instruction) == ("CMCC", "ready")
    hashed = await town.value("select number_hash from line where id = :id", id=row.receiver_line_id)
    assert hashed == town.venue.vault.lookup(number)


async def test_twenty_handouts_with_one_key_are_one(town: Town) -> None:
    partner, number, key = await a_partner(town), a_number(), a_key()

    rows = await asyncio.gather(*(hand_out(town.venue, partner, CMCC, number, 500, key) for _ in range(20)))

    assert len({row.id for row in rows}) == 1


async def test_a_handouts_key_belongs_to_one_request(town: Town) -> None:
    partner, number, key = await a_partner(town, "CMCC", "CTCC"), a_number(), a_key()
    await hand_out(town.venue, partner, CMCC, number, 500, key)

    for symbol, phone, amount in ((CMCC, number, 501), (CMCC, a_number(), 500), (CTCC, number, 500)):
        with pytest.raises(KeyReused):
            await hand_out(town.venue, partner, symbol, phone, amount, key)


async def test_a_handout_takes_no_more_than_the_line_has(town: Town) -> None:
    with pytest.raises(NotAllowed) as caught:
        await hand_out(town.venue, await a_partner(town, remaining_mb=499), CMCC, a_number(), 500, a_key())

    assert (caught.value.code, caught.value.field) == ("insufficient_data", "amount_mb")


async def test_data_that_the_carrier_binds_to_the_line_is_not_handed_out(town: Town) -> None:
    with pytest.raises(NotAllowed) as caught:
        await hand_out(town.venue, await a_partner(town, transferable=False), CMCC, a_number(), 500, a_key())

    assert caught.value.code == "not_transferable"


async def test_what_cannot_be_handed_out_is_refused(town: Town) -> None:
    partner, subscriber = await a_partner(town), await town.a_member()
    own = await town.value("select number_sealed from line where party_id = :id", id=partner.party_id)
    cases: list[tuple[Member, str, str, int, type[Exception]]] = [
        (subscriber, CMCC, a_number(), 500, Forbidden),
        (partner, "COIN", a_number(), 500, BadInput),
        (partner, "CMCC-CN-9912", a_number(), 500, NotFound),
        (partner, CTCC, a_number(), 500, NotAllowed),
        (partner, CMCC, "10086", 500, BadInput),
        (partner, CMCC, a_number(), 0, BadInput),
        (partner, CMCC, a_number(), 1_000_001, BadInput),
        (partner, CMCC, town.venue.vault.open(own), 500, NotAllowed),
    ]

    for member, symbol, phone, amount, refusal in cases:
        with pytest.raises(refusal):
            await hand_out(town.venue, member, symbol, phone, amount, a_key())


async def test_a_carrier_that_is_away_is_told(town: Town) -> None:
    gone = Carrier(replace(town.venue.carriers["CMCC"].profile, base_url="http://127.0.0.1:1"))

    with pytest.raises(Unavailable):
        await hand_out(
            replace(town.venue, carriers={"CMCC": gone}), await a_partner(town), CMCC, a_number(), 5, a_key()
        )
    await gone.aclose()


# Distribution accounts.


async def number_of(town: Town, member: Member) -> str:
    return town.venue.vault.open(
        await town.value("select number_sealed from line where party_id = :id", id=member.party_id)
    )


async def received(town: Town, member: Member) -> list[Bucket]:
    """What the member's line has of the data that is traded, as the carrier says."""
    buckets = await town.venue.carriers["CMCC"].buckets(await number_of(town, member))
    return [bucket for bucket in buckets if (bucket.scope, bucket.expires_at) == ("CN", BUCKET_END)]


@asynccontextmanager
async def settlement(town: Town) -> AsyncIterator[None]:
    """The settlement program at work on this town."""
    async with town.venue.sessions() as session:
        outside = settling.outside_of(town.venue, await mark(session))
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(settling.settle(town.venue, outside, stop))
        yield
        stop.set()


async def refused_everywhere(town: Town, member: Member, bucket: Bucket) -> str:
    """Offer a bucket's data past all refusals: the market's code, after the carrier refused as well."""
    offer = OrderRequest(symbol=CMCC, side="sell", lots=1, price_minor=300)
    with pytest.raises(NotAllowed) as refusal:
        await trading.place(town.venue, member, offer, a_key())
    with pytest.raises(CarrierRefused, match="NOT_TRANSFERABLE"):
        await town.venue.carriers["CMCC"].reserve(bucket.id, 100, bucket.expires_at, a_key(), bucket.msisdn)
    return refusal.value.code


async def test_what_was_bought_in_bulk_reaches_a_user_and_is_never_sold_again(market: Town) -> None:
    partner = await a_partner(market, scope="GD", distributes=True)
    user = await market.a_member(scope="GD")
    await a_seller(market, "CMCC", CMCC, 5, 5)

    async with settlement(market):
        (purchase,) = await bulk_buy(market.venue, partner, [BulkLeg(CMCC, 5, 5)], a_key())

        async def delivered() -> bool:
            return bool(await received(market, partner))

        await until_async(delivered)
        (bought,) = await received(market, partner)
        handout = await hand_out(market.venue, partner, CMCC, await number_of(market, user), 300, a_key())

        async def done() -> bool:
            return bool(await market.value("select status = 'done' from handout where id = :id", id=handout.id))

        await until_async(done)

    (left,), (given,) = await received(market, partner), await received(market, user)
    assert (purchase.filled, bought.remaining_mb, bought.distributable) == (5, 500, True)
    assert left == replace(bought, remaining_mb=200)
    assert (given.remaining_mb, given.transferable, given.distributable) == (300, False, False)
    assert await refused_everywhere(market, partner, left) == "distribution_only"
    assert await refused_everywhere(market, user, given) == "not_transferable"
    await market.assert_books_agree()


async def test_bought_data_is_handed_out_before_the_partners_own(town: Town) -> None:
    partner, seller = await a_partner(town, distributes=True), await town.line()
    carrier, number = town.venue.carriers["CMCC"], await number_of(town, partner)
    (own,), (source,) = await carrier.buckets(number), await carrier.buckets(seller)
    reservation = await carrier.reserve(source.id, 500, source.expires_at, a_key(), seller)
    await carrier.settle(reservation.id, number, 500, a_key())

    small, large = [await hand_out(town.venue, partner, CMCC, a_number(), each, a_key()) for each in (500, 501)]

    assert small.bucket_id != own.id
    assert large.bucket_id == own.id
