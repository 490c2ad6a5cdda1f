"""The provider's webhooks: stored once, handled by asking, and the same end in whatever order they come."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from settlement import inbox
from settlement.card_tables import EventsReadRow
from settlement.naming import external_id
from settlement.payments.errors import PaymentUnknown
from settlement.payments.values import Event
from settlement.tables import PaymentRow, ProviderEventRow
from tests.payment.making import Http, fresh
from tests.settlement.making import Balance, a_payment_row, balance, imbalance
from tests.settlement.test_payouts import a_withdrawal, comes_to
from tests.settlement.world import World, until

KINDS = ("payment_intent.created", "payment_intent.processing", "payment_intent.succeeded")


def an_event(kind: str, object_id: str, account: str | None = None) -> Event:
    return Event(
        id=fresh("evt"),
        kind=kind,
        created_at=datetime.now(UTC),
        object_id=object_id,
        object_kind=kind.partition(".")[0],
        account=account,
    )


async def told(world: World, events: Sequence[Event]) -> None:
    for event in events:
        async with world.sessions.begin() as session:
            await inbox.record(session, event)
    while await inbox.handle_pending(world.sessions, world.outside, world.announce):
        pass  # a batch at a time; the simulator's other events may be among them


async def outcome_of(world: World, event: Event) -> str | None:
    async with world.sessions() as session:
        return (await session.get_one(ProviderEventRow, event.id)).outcome


async def a_paid_top_up(world: World, card: str = "pm_card_visa") -> tuple[PaymentRow, str]:
    """A top-up that the provider has taken, while we never heard the answer."""
    async with world.sessions.begin() as session:
        row = await a_payment_row(session)
    name = external_id(world.mark, "top_up", row.id)
    payment = await world.payments.charge(
        customer=await world.payments.create_customer("buyer", fresh("key")), amount_minor=1000, currency="CNY",
        payment_method=card, reference=name, key=name, return_url="https://market.example/",
    )  # fmt: skip
    return row, payment.id


async def test_an_event_is_stored_once(world: World) -> None:
    event = an_event("payment_intent.succeeded", "pi_unknown")

    async with world.sessions.begin() as session:
        stored = [await inbox.record(session, event) for _ in range(3)]

    assert stored == [True, False, False]


@pytest.mark.parametrize("order", list(permutations(KINDS)))
async def test_the_order_of_events_does_not_matter(world: World, order: tuple[str, ...]) -> None:
    row, provider_id = await a_paid_top_up(world)
    events = [an_event(kind, provider_id) for kind in order]

    await told(world, events)
    await told(world, [*events, *(an_event(kind, provider_id) for kind in order)])

    async with world.sessions() as session:
        assert (await session.get_one(PaymentRow, row.id)).status == "succeeded"
        assert await balance(session, row.account_id) == Balance(1000, 0)
        assert {(await session.get_one(ProviderEventRow, event.id)).outcome for event in events} == {"succeeded"}
        assert await imbalance(session) == {}
    assert row.party_id in world.told


async def test_an_event_that_lies_changes_nothing(world: World) -> None:
    row, provider_id = await a_paid_top_up(world, "pm_card_threeDSecure2Required")

    await told(world, [an_event("payment_intent.succeeded", provider_id)])

    async with world.sessions() as session:
        assert (await session.get_one(PaymentRow, row.id)).status == "requires_action"
        assert await balance(session, row.account_id) == Balance(0, 0)


async def test_events_about_strangers_are_put_away(world: World) -> None:
    customer = await world.payments.create_customer("else", fresh("key"))
    stranger = await world.payments.charge(
        customer=customer, amount_minor=1000, currency="CNY", payment_method="pm_card_visa",
        reference="somebody else's", key=fresh("key"), return_url="https://market.example/",
    )  # fmt: skip
    events = [
        an_event("payment_intent.succeeded", stranger.id),
        an_event("payment_intent.succeeded", "pi_nothing"),
        an_event("customer.created", customer),
    ]

    await told(world, events)

    async with world.sessions() as session:
        outcomes = [(await session.get_one(ProviderEventRow, event.id)).outcome for event in events]
    assert outcomes[0] == "not ours"
    assert str(outcomes[1]).startswith("for a person")
    assert outcomes[2] == "not needed"


async def test_a_payouts_events_are_handled_by_asking(world: World, provider_http: Http) -> None:
    row = await a_withdrawal(world, provider_http)
    async with world.working():
        paid = await comes_to(world, row.id, "paid")

    event = an_event("payout.failed", str(paid.payout_reference), paid.destination)
    await told(world, [event])

    async with world.sessions() as session:
        assert (await session.get_one(ProviderEventRow, event.id)).outcome == "paid"


async def test_events_whose_webhooks_never_came_are_fetched(world: World) -> None:
    await told(world, [an_event("customer.created", "cus_first")])
    row, _ = await a_paid_top_up(world)

    missed = await inbox.catch_up(world.sessions, world.payments)
    await inbox.handle_pending(world.sessions, world.outside, world.announce)

    assert missed > 0
    async with world.sessions() as session:
        assert (await session.get_one(PaymentRow, row.id)).status == "succeeded"


async def _row(world: World, event: Event) -> ProviderEventRow:
    async with world.sessions() as session:
        return await session.get_one(ProviderEventRow, event.id)


async def test_a_parked_event_is_handled_again_when_a_person_says_so(world: World) -> None:
    event, other = an_event("payment_intent.succeeded", "pi_nowhere"), an_event("customer.created", "cus_x")
    await told(world, [event, other])
    assert ((await _row(world, event)).parked, (await _row(world, other)).parked) == (True, False)

    async with world.sessions.begin() as session:
        assert await inbox.handle_again(session, event_id=event.id, only_parked=True) == 1
        assert await inbox.handle_again(session, event_id=other.id, only_parked=True) == 0

    assert (await _row(world, event)).handled_at is None
    await told(world, [])
    assert (await _row(world, event)).parked


async def test_events_that_cannot_be_asked_about_keep_no_newer_one_waiting(world: World, provider_http: Http) -> None:
    row, provider_id = await a_paid_top_up(world)
    stuck = [an_event("payment_intent.succeeded", provider_id) for _ in range(inbox.BATCH)]
    await provider_http.control("PUT", "faults", {"error_percent": 100})
    await told(world, stuck)
    await provider_http.control("PUT", "faults", {"error_percent": 0})
    assert (await _row(world, stuck[0])).handled_at is None

    newer = an_event("payment_intent.succeeded", provider_id)
    await told(world, [newer])

    assert (await _row(world, newer)).outcome == "succeeded"
    assert row.party_id in world.told


async def test_replaying_every_event_changes_nothing(world: World) -> None:
    row, provider_id = await a_paid_top_up(world)
    event = an_event("payment_intent.succeeded", provider_id)
    await told(world, [event])

    async with world.sessions.begin() as session:
        assert await inbox.handle_again(session, since=datetime.now(UTC) - timedelta(hours=1)) >= 1

    async def again() -> bool:
        await told(world, [])
        return (await _row(world, event)).outcome == "succeeded"

    await until(again)
    async with world.sessions() as session:
        assert await balance(session, row.account_id) == Balance(1000, 0)


async def test_the_mark_moves_only_when_the_walk_has_reached_the_end(world: World, provider_http: Http) -> None:
    await a_paid_top_up(world)
    await inbox.catch_up(world.sessions, world.payments)
    before = await _mark(world)
    await provider_http.control("PUT", "faults", {"error_percent": 100})
    with pytest.raises(PaymentUnknown):
        await inbox.catch_up(world.sessions, world.payments)
    await provider_http.control("PUT", "faults", {"error_percent": 0})

    assert await _mark(world) == before
    assert await inbox.catch_up(world.sessions, world.payments) == 0
    assert await _mark(world) > before


async def _mark(world: World) -> datetime:
    async with world.sessions() as session:
        return (await session.get_one(EventsReadRow, inbox.HOUSE_EVENTS)).until
