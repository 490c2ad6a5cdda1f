"""Buying in: when a seller did not deliver, the same is ordered at once from the next one, for the same buyer."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from market.engine.commands import Answer, LineFacts, PlaceOrder
from market.gateway import Gateway, journaled
from market.refusals import OutcomeUnknown, Unavailable
from market.tables import TradeRow
from settlement import buy_ins
from settlement.buy_in_tables import BuyInRow
from settlement.freezing import is_frozen
from settlement.instructions import Absent, Done, Lost, Outcome, Refused, Undone
from settlement.steps import Ended, Loaded, Numbers, Outside, Step

_TERMS = text("""
    select trade.instrument_id, trade.quantity as lots, trade.buyer_id, party.group_id, delivery.receiver_line_id,
        ceiling_minor / tick_minor * tick_minor as limit_minor, line.plan, line.province,
        line.state = 'active' and now() < closes_at and now() < coalesce(orders.expires_at, 'infinity') as in_time
    from trade join delivery on delivery.id = trade.id join orders on orders.id = buy_order_id
    join party on party.id = buyer_id join instrument on instrument.id = trade.instrument_id
    join line on line.id = receiver_line_id
    where trade.id = :trade
""")


@dataclass(frozen=True, slots=True)
class Purchase:
    """The order that buys in."""

    order: PlaceOrder

    @property
    def fingerprint(self) -> str:
        return self.order.body_hash.hex()

    @property
    def lines(self) -> tuple[int, ...]:
        return ()


def key_of(trade_id: int) -> str:
    """The order's idempotency key: one trade is bought in once, however often it is sent."""
    return f"house/buy-in/{trade_id}"


def buying_in(gateway: Gateway) -> Step[Purchase]:
    """The step that places the order through this gateway."""

    async def send(outside: Outside, purchase: Purchase, numbers: Numbers) -> Outcome:  # noqa: ARG001 - a step's form
        try:
            return _outcome(await gateway.submit(purchase.order))
        except OutcomeUnknown as error:
            return Lost(error.detail)
        except Unavailable as error:
            return Undone(error.detail)

    async def ask(outside: Outside, purchase: Purchase, numbers: Numbers) -> Outcome:  # noqa: ARG001 - the same
        async with gateway.sessions() as session:
            found = await journaled(session, purchase.order.party_id, purchase.order.key)
        return Absent() if found is None else _outcome(found[1])

    return Step("buy_in", _load, send, ask, _book, _undo)


def _outcome(answer: Answer) -> Outcome:
    if answer.accepted:
        return Done(str(answer.order_id))
    return Refused(answer.code or "refused")


async def _load(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[Purchase]:  # noqa: ARG001 - a step's form
    found: dict[int, Purchase | Done] = {}
    for row in await session.scalars(select(BuyInRow).where(BuyInRow.trade_id.in_(ids)).order_by(BuyInRow.trade_id)):
        terms = (await session.execute(_TERMS, {"trade": row.trade_id})).one_or_none()
        if terms is None or not (row.status == "funded" or await _funded(session, row, terms)):
            found[row.trade_id] = Done()  # the trade stays refunded
        else:
            found[row.trade_id] = Purchase(_order(row, terms))
    return found


async def _funded(session: AsyncSession, row: BuyInRow, terms: Row[Any]) -> bool:
    """Whether it may still be bought in: in time for the buyer, who is free to trade and still has the money."""
    if row.status != "wanted" or not terms.in_time or await is_frozen(session, terms.buyer_id) is not None:
        return False
    return await buy_ins.set_aside(session, row, terms.lots, terms.limit_minor)


def _order(row: BuyInRow, terms: Row[Any]) -> PlaceOrder:
    """Takes what is offered at this moment, up to the carrier's own price; what it finds too late ends with it."""
    assert row.account_id is not None
    assert row.limit_minor is not None
    key = key_of(row.trade_id)
    asked = f"{key} {terms.instrument_id} {terms.lots} {row.limit_minor} {row.account_id}"
    return PlaceOrder(
        party_id=terms.buyer_id,
        key=key,
        body_hash=hashlib.sha256(asked.encode()).digest(),
        instrument_id=terms.instrument_id,
        group_id=terms.group_id,
        side="buy",
        price_minor=row.limit_minor,
        quantity=terms.lots,
        account_id=row.account_id,
        time_in_force="ioc",
        market=True,
        line_id=terms.receiver_line_id,
        line=LineFacts(terms.plan, terms.province),
    )


async def _book(session: AsyncSession, ended: Sequence[Ended[Purchase]]) -> set[int]:
    bought: dict[int, list[int]] = {}
    for end in ended:
        if end.request is None or end.done.reference is None:
            bought[end.subject_id] = []
            continue
        query = select(TradeRow.id).where(
            TradeRow.buyer_id == end.request.order.party_id,
            TradeRow.buy_order_id == int(end.done.reference),
            TradeRow.id > end.subject_id,
        )
        bought[end.subject_id] = list(await session.scalars(query))
    await buy_ins.close(session, bought)
    return {end.request.order.party_id for end in ended if end.request is not None}


async def _undo(session: AsyncSession, ended: Sequence[Ended[Purchase]]) -> set[int]:
    """The engine takes no such order now: nothing was bought."""
    await buy_ins.close(session, {end.subject_id: [] for end in ended})
    return {end.request.order.party_id for end in ended if end.request is not None}
