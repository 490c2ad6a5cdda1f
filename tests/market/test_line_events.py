"""What carriers tell of lines: a hint that is asked about, then acted on; and reservations that lapsed (F31, F32)."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy import text

from market import lapsing, line_events, line_watch
from market.line_events import CloudEvent, EventData, handle_pending, record
from market.parties import Member
from market.refusals import Forbidden, NotAllowed
from market.signed_in import listed_under
from market.trading import OrderRequest, Placed, mass_cancel, place
from market.withdrawals import withdraw
from settlement import custody
from settlement.carriers.client import Carrier
from settlement.ledger import Kind
from tests.engine.factories import running_engine
from tests.market.town import Town, a_key

EVENTS = count(1)
TYPE_OF = {kind: type_ for type_, kind in line_events.TYPES.items()}
SALE = OrderRequest(symbol="CMCC-CN-3001", side="sell", lots=20, price_minor=900)


@pytest.fixture(autouse=True, scope="module")
async def _engine(town: Town) -> AsyncIterator[None]:
    async with running_engine(town.venue.settings.database_dsn, town.venue.redis):
        yield


async def a_seller(town: Town) -> tuple[Member, str, Placed]:
    """A member with one open ask, and the number that its data comes from."""
    number = await town.line()
    member = await town.enter(number)
    return member, number, await place(town.venue, member, SALE, a_key())


async def change(town: Town, statement: str, **values: Any) -> None:
    """The time moves on, or somebody else has written meanwhile."""
    async with town.venue.sessions.begin() as session:
        await session.execute(text(statement), values)


async def happen(town: Town, number: str, kind: str, **more: Any) -> None:
    """It happens at the carrier, which tells nobody."""
    body = {"msisdn": number, "kind": kind, "silent": True, **more}
    await town.at_carrier("POST", "/admin/number-events", json=body)


async def told(town: Town, number: str, kind: str, carrier: str = "CMCC", **more: Any) -> bool:
    """The carrier tells of it, true or not."""
    values: dict[str, Any] = {
        "id": f"event-{next(EVENTS)}",
        "source": "test",
        "time": datetime.now(UTC),
        "data": EventData(number),
    }
    event = CloudEvent(specversion="1.0", type=TYPE_OF.get(kind, kind), **(values | more))
    async with town.venue.sessions.begin() as session:
        return await record(session, town.venue.vault, carrier, event)


async def state_of(town: Town, placed: Placed) -> tuple[str, str | None]:
    assert placed.answer is not None
    (row,) = await town.rows("select state, reason from orders where id = :id", id=placed.answer.order_id)
    return row.state, row.reason


async def line_of(town: Town, member: Member) -> Any:
    return (await town.rows("select * from line where party_id = :id", id=member.party_id))[0]


async def event_of(town: Town, member: Member) -> Any:
    return (await town.rows("select * from line_event where party_id = :id order by id", id=member.party_id))[-1]


async def release_of(town: Town, member: Member) -> Any:
    """How the instruction to release the member's data stands."""
    query = "select instruction.status from instruction join custody on subject_id = custody.id"
    return await town.value(f"{query} where kind = 'release' and party_id = :id", id=member.party_id)


@pytest.mark.parametrize(
    ("kind", "reason", "state"),
    [
        ("sim_swapped", "sim_swapped", "active"),
        ("recycled", "recycled", "closed"),
        ("ported_out", "ported_out", "closed"),
        ("closed", "line_closed", "closed"),
        ("plan_changed", "plan_changed", "active"),
    ],
)
async def test_an_event_that_the_carrier_stands_by_ends_the_lines_orders(
    town: Town, kind: str, reason: str, state: str
) -> None:
    (member, number, placed), (other, _, untouched) = await a_seller(town), await a_seller(town)
    await change(
        town, "update line set verified_at = now() - interval '10 days' where party_id = :id", id=member.party_id
    )

    await happen(town, number, kind)
    assert await told(town, number, kind)
    assert await handle_pending(town.venue) == 1

    assert await state_of(town, placed) == ("cancelled", reason)
    assert await state_of(town, untouched) == ("open", None)
    assert (await line_of(town, member)).state == state
    event = await event_of(town, member)
    assert (event.status, event.handled_at is not None) == ("confirmed", True)
    assert await release_of(town, member) == "ready"
    await mass_cancel(town.venue, other, a_key())


@pytest.mark.parametrize("kind", ["sim_swapped", "recycled", "ported_out", "closed"])
async def test_an_event_that_the_carrier_does_not_stand_by_changes_nothing(town: Town, kind: str) -> None:
    member, number, placed = await a_seller(town)

    await told(town, number, kind)
    assert await handle_pending(town.venue) == 1

    assert await state_of(town, placed) == ("open", None)
    assert (await line_of(town, member)).state == "active"
    event = await event_of(town, member)
    assert (event.status, event.pause_until) == ("denied", None)
    await mass_cancel(town.venue, member, a_key())


async def test_a_changed_plan_is_what_the_rules_ask_for_from_then_on(town: Town) -> None:
    member, number, _ = await a_seller(town)

    await told(town, number, "plan_changed", data=EventData(number, "postpaid"))
    await handle_pending(town.venue)

    assert (await line_of(town, member)).plan == "postpaid"


async def test_what_a_line_received_is_kept_back_while_its_plan_does_not_receive(town: Town) -> None:
    member, number, _ = await a_seller(town)
    line = await line_of(town, member)
    await change(
        town,
        "insert into delivery (id, carrier, custody_account_id, quantity, money_account_id, amount_minor, fee_minor,"
        " proceeds_account_id, receiver_line_id, status, delivered_at, ended_at) select 10000000 + :id, 'CMCC', 1, 300,"
        " 1, 1, 0, 1, :id, 'settled', now(), now()",
        id=line.id,
    )
    await change(
        town, "insert into rule_profile (carrier, effective_from, terms) values ('CMCC', now(), cast(:terms as jsonb))",
        terms='{"plans": [["prepaid", "prepaid"], ["postpaid", "prepaid"]]}',
    )  # fmt: skip
    try:
        for plan in ("postpaid", "prepaid", "postpaid", "prepaid"):
            await told(town, number, "plan_changed", data=EventData(number, plan))
            await handle_pending(town.venue)
    finally:
        await change(town, "insert into rule_profile (carrier, effective_from, terms) values ('CMCC', now(), '{}')")
        await change(town, "delete from delivery where id = 10000000 + :id", id=line.id)

    rows = await town.rows("select quantity_mb, restored_at from received_suspension where line_id = :id", id=line.id)
    notices = await town.rows("select kind, facts from notice where party_id = :id order by id", id=member.party_id)
    assert [(row.quantity_mb, row.restored_at is not None) for row in rows] == [(300, True)]
    about = [row.kind for row in notices if row.kind.startswith("received_")]
    assert about == ["received_suspended", "received_restored"] * 2


async def test_a_swapped_sim_signs_out_everywhere_and_pauses_withdrawals_for_three_days(town: Town) -> None:
    member, number, _ = await a_seller(town)
    owner = listed_under(f"party:{member.party_id}")
    await town.venue.redis.set("surplusflow:session:test", b"{}")
    await town.venue.redis.sadd(owner, "surplusflow:session:test")

    await happen(town, number, "sim_swapped")
    await told(town, number, "sim_swapped")
    await handle_pending(town.venue)
    # However the carrier answers later: what we once knew keeps the money here.
    await town.carrier_books.execute("UPDATE line SET sim_changed_at = NULL WHERE msisdn = $1", number)

    assert not await town.venue.redis.exists("surplusflow:session:test", owner)
    with pytest.raises(NotAllowed) as refused:
        await withdraw(town.venue, member, 1_000, a_key())
    assert refused.value.code == "sim_changed"
    event = await event_of(town, member)
    assert event.pause_until - event.asked_at == timedelta(hours=72)
    await change(town, "update line_event set pause_until = now() where id = :id", id=event.id)
    assert (await withdraw(town.venue, member, 1_000, a_key())).status == "onboarding"


async def test_a_recycled_number_sells_nothing_any_more(town: Town) -> None:
    member, number, _ = await a_seller(town)
    await change(
        town, "update line set verified_at = now() - interval '10 days' where party_id = :id", id=member.party_id
    )
    await happen(town, number, "recycled")
    await told(town, number, "recycled")
    await handle_pending(town.venue)

    line = await line_of(town, member)
    with pytest.raises(Forbidden):
        await place(town.venue, member, structs.replace(SALE, line_id=line.id), a_key())


async def test_an_event_is_stored_once_and_only_for_a_line_of_ours_at_that_carrier(town: Town) -> None:
    member, number, placed = await a_seller(town)

    assert await told(town, number, "sim_swapped", id="the-same", source="one")
    assert not await told(town, number, "sim_swapped", id="the-same", source="one")
    assert await told(town, number, "sim_swapped", id="the-same", source="another")
    assert not await told(town, number, "sim_swapped", carrier="CTCC")
    assert not await told(town, "+8613900000000", "sim_swapped")
    assert not await told(town, number, "org.camaraproject.sim-swap-subscriptions.v0.subscription-ended")

    assert await handle_pending(town.venue) == 2
    assert await handle_pending(town.venue) == 0
    assert await state_of(town, placed) == ("open", None)
    await mass_cancel(town.venue, member, a_key())


async def test_an_event_waits_for_a_carrier_that_does_not_answer(town: Town) -> None:
    member, number, placed = await a_seller(town)
    await happen(town, number, "ported_out")
    await told(town, number, "ported_out")

    async with Carrier(replace(town.venue.carriers["CMCC"].profile, base_url="http://127.0.0.1:1")) as gone:
        waited = await handle_pending(replace(town.venue, carriers={"CMCC": gone}))
    assert (waited, (await event_of(town, member)).status) == (0, "received")
    assert await handle_pending(town.venue) == 0  # not before its time
    assert await state_of(town, placed) == ("open", None)

    await change(town, "update line_event set look_at = now() where party_id = :id", id=member.party_id)
    assert await handle_pending(town.venue) == 1
    assert await state_of(town, placed) == ("cancelled", "ported_out")


async def test_what_was_confirmed_and_not_carried_out_is_carried_out_without_asking_again(town: Town) -> None:
    member, number, placed = await a_seller(town)
    await told(town, number, "sim_swapped")  # the carrier would deny it
    confirmed = "update line_event set status = 'confirmed', asked_at = now() where party_id = :id"
    await change(town, confirmed, id=member.party_id)

    assert await handle_pending(town.venue) == 1

    assert await state_of(town, placed) == ("cancelled", "sim_swapped")


# Watching


async def test_lines_with_data_for_sale_are_subscribed_once(town: Town) -> None:
    member, number, _ = await a_seller(town)
    counted = "SELECT count(*) FROM subscription WHERE msisdn = $1"

    while await line_watch.subscribe(town.venue):
        pass
    await line_watch.subscribe(town.venue)

    assert await town.carrier_books.fetchval(counted, number) == 1
    row = await town.carrier_books.fetchrow("SELECT sink, token FROM subscription WHERE msisdn = $1", number)
    assert row["sink"] == "http://127.0.0.1:8000/webhooks/lines/CMCC"
    assert line_events.is_from(town.venue, "CMCC", row["token"])
    assert not line_events.is_from(town.venue, "CTCC", row["token"])
    await mass_cancel(town.venue, member, a_key())


async def test_a_reservation_that_lapsed_is_noticed_its_ask_ended_and_the_books_emptied(town: Town) -> None:
    (member, number, placed), (other, _, untouched) = await a_seller(town), await a_seller(town)
    await change(
        town,
        "update custody set created_at = now() - interval '1 hour' where party_id = any(:ids)",
        ids=[member.party_id, other.party_id],
    )
    lapse = "UPDATE reservation SET expires_at = now() - interval '1 second' WHERE msisdn = $1 AND status = 'confirmed'"
    await town.carrier_books.execute(lapse, number)

    assert await lapsing.compare(town.venue, "CMCC") == 1
    assert await lapsing.compare(town.venue, "CTCC") == 0

    assert await state_of(town, placed) == ("cancelled", "reservation_lapsed")
    assert await state_of(town, untouched) == ("open", None)
    ((custody_id, said, missing_mb),) = await town.rows(
        "select custody_id, said, missing_mb from lapsed_reservation join custody on custody.id = custody_id"
        " where party_id = :id",
        id=member.party_id,
    )
    assert (said, missing_mb) == ("expired", 2_000)
    async with town.venue.sessions.begin() as session:
        await custody.load(session, [custody_id], "mark")
    written_off = "select sum(available_change) from posting join account on account.id = account_id"
    left = await town.value(
        f"{written_off} where posting.kind = :kind and party_id = :id", kind=Kind.LAPSED, id=member.party_id
    )
    assert left == -2_000
    await town.assert_books_agree()
    await mass_cancel(town.venue, other, a_key())


async def test_what_moves_while_the_list_is_read_has_not_lapsed(town: Town) -> None:
    member, _, placed = await a_seller(town)
    await change(
        town, "update custody set reservation_id = 'shown-under-another' where party_id = :id", id=member.party_id
    )
    await change(
        town, "update custody set created_at = now() - interval '1 hour' where party_id = :id", id=member.party_id
    )

    assert await lapsing.compare(town.venue, "CMCC") == 0

    assert await state_of(town, placed) == ("open", None)
