"""Destinies carried out: the step that gives a custody back looks first whether its data is to go elsewhere.

Hooked here, and not where orders end, because the engine's hot path then stays as it is, and because nothing can come
between: the same transaction that would empty the custody sets its data aside for whoever gets it. The release itself
waits for that, and gives back what was refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from market import charities, giving, rules, tank
from market.destiny_tables import TankDepositRow
from market.giving import Party
from market.refusals import NotAllowed
from market.rules import RuleProfile
from market.tank import NewDeposit
from settlement import accounts, custody, data_gifts
from settlement.accounts import HOUSE, Place
from settlement.custody import Release
from settlement.data_gifts import NewGift
from settlement.instructions import Done
from settlement.ledger import Ledger
from settlement.ledger_tables import AccountRow
from settlement.notices import tell
from settlement.steps import Ended, Loaded, Postponed, Step
from settlement.tables import CustodyRow

ENDED_UNSOLD = frozenset({"expired", "closed"})
"""The ends of an order after which its destiny is carried out; after any other its owner has the data back."""
AT_SALE = frozenset({"price_steps", "last_auction"})
"""Destinies that the sale itself has carried out."""

_CHOSEN = text("""
    select destiny.order_id, destiny.what, ended.reason as ended_by, destiny.party_id, destiny.friend_line_id,
        custody.id as custody_id, custody.account_id, custody.line_id, custody.carrier, custody.expires_at,
        account.asset_id
    from custody join destiny on destiny.custody_id = custody.id join ended_order ended on ended.id = destiny.order_id
    join account on account.id = custody.account_id
    where custody.id = any(cast(:custodies as bigint[])) and destiny.status = 'chosen' and custody.status = 'reserved'
        and ended.state = 'cancelled'
    order by custody.id for no key update of custody
""")
_END = text("""
    update destiny set status = change.status, reason = change.reason, ended_at = :now
    from unnest(cast(:ids as bigint[]), cast(:statuses as text[]), cast(:reasons as text[]))
        as change (order_id, status, reason)
    where destiny.order_id = change.order_id
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsold:
    """What one order left unsold, and all that decides where it goes. The tank is no line: it has no taker."""

    order_id: int
    what: str
    ended_by: str
    party_id: int
    custody_id: int
    account_id: int
    asset_id: int
    carrier: str
    amount_mb: int
    expires_at: datetime
    terms: RuleProfile | None
    giver: Party
    taker: Party | None

    @property
    def whole_steps_mb(self) -> int:
        """What the carrier can move of it."""
        step = 1 if self.terms is None else self.terms.step_mb
        return self.amount_mb // step * step


def obstacle(one: Unsold, now: datetime) -> str | None:
    """The code of what keeps unsold data from going where it should; none when nothing does."""
    if one.expires_at <= now:
        return "too_late"
    if one.terms is None or one.terms.resale == "forbidden":
        return "gifts_forbidden"
    if one.what == "tank":
        return None
    if one.taker is None:
        return "no_charity"
    if not one.whole_steps_mb:
        return "off_step"
    return giving.obstacle(one.terms, one.giver, one.taker, one.whole_steps_mb, expires_at=one.expires_at, now=now)


def wanted_elsewhere(one: Unsold) -> bool:
    """Whether its end and its destiny send it to somebody else."""
    return one.ended_by in ENDED_UNSOLD and one.what not in AT_SALE


async def carry_out(session: AsyncSession, custody_ids: Sequence[int]) -> dict[int, str]:
    """Set the unsold data of orders that have ended aside for whoever gets it. The caller commits.

    Gives what has to wait, by custody, and for what.
    """
    now = await session.scalar(select(func.now()))
    assert now is not None
    ended = await _ended(session, custody_ids, now)
    if not ended:
        return {}
    codes = {one.order_id: obstacle(one, now) for one in ended if wanted_elsewhere(one)}
    waiting = {one.custody_id: giving.WORDS[code] for one in ended if (code := codes.get(one.order_id)) in giving.WAITS}
    going = [one for one in ended if one.order_id in codes and codes[one.order_id] is None]
    staying = [one for one in ended if one not in going and one.custody_id not in waiting]

    await _send_on(session, going)
    await _note(session, going, staying, codes, now)
    return waiting


async def _ended(session: AsyncSession, custody_ids: Sequence[int], now: datetime) -> list[Unsold]:
    """The orders that have ended with something left and nothing on its way, with the rules and lines that matter."""
    rows = list(await session.execute(_CHOSEN, {"custodies": list(custody_ids)}))
    if not rows:
        return []
    houses = await charities.of_carriers(session)
    takers = {row.order_id: row.friend_line_id for row in rows if row.what == "friend"} | {
        row.order_id: houses[row.carrier].line_id for row in rows if row.what == "charity" and row.carrier in houses
    }
    lines = await giving.parties(session, {*takers.values(), *(row.line_id for row in rows)}, now)
    terms = {carrier: await _terms(session, carrier, now) for carrier in sorted({row.carrier for row in rows})}
    balances = (await _lock(session, custody_ids)).accounts
    return [
        Unsold(
            order_id=row.order_id, what=row.what, ended_by=row.ended_by, party_id=row.party_id,
            custody_id=row.custody_id, account_id=row.account_id, asset_id=row.asset_id, carrier=row.carrier,
            amount_mb=balances[row.account_id].available, expires_at=row.expires_at, terms=terms[row.carrier],
            giver=lines[row.line_id], taker=lines.get(takers.get(row.order_id, 0)),
        )
        for row in rows
        if balances[row.account_id].available and not balances[row.account_id].held
    ]  # fmt: skip


async def _lock(session: AsyncSession, custody_ids: Sequence[int]) -> Ledger:
    """Lock all accounts that this and the release behind it touch, at once: those of all custodies, and the house's."""
    query = select(AccountRow.id, AccountRow.asset_id).join(CustodyRow, CustodyRow.account_id == AccountRow.id)
    own = list(await session.execute(query.where(CustodyRow.id.in_(custody_ids))))
    places = {place for row in own for place in (tank.place(row.asset_id), Place(HOUSE, row.asset_id, "carrier"))}
    house = await accounts.find_or_create(session, places)
    return await accounts.lock(session, {*house.values(), *(row.id for row in own)})


async def _terms(session: AsyncSession, carrier: str, now: datetime) -> RuleProfile | None:
    try:
        return await rules.profile(session, carrier, now)
    except NotAllowed:
        return None


async def _send_on(session: AsyncSession, going: Sequence[Unsold]) -> None:
    tanks = await accounts.find_or_create(session, {tank.place(one.asset_id) for one in going})
    ledger = await accounts.lock(session, {*tanks.values(), *(one.account_id for one in going)})
    deposits = [
        NewDeposit(one.custody_id, one.party_id, one.account_id, one.asset_id, one.amount_mb)
        for one in going
        if one.what == "tank"
    ]
    await tank.fill(session, ledger, tanks, deposits)
    await data_gifts.begin(session, ledger, [gift for one in going for gift in _gifts(one)])
    await accounts.save(session, ledger)


def _gifts(one: Unsold) -> list[NewGift]:
    if one.what == "tank" or one.taker is None or one.terms is None:
        return []
    purpose: data_gifts.Purpose = "friend" if one.what == "friend" else "charity"
    return [
        NewGift(
            purpose=purpose, custody_id=one.custody_id, account_id=one.account_id, giver_id=one.party_id,
            receiver_id=one.taker.party_id, receiver_line_id=one.taker.line_id, carrier=one.carrier, amount_mb=part,
        )
        for part in giving.parts(one.terms, one.whole_steps_mb)
    ]  # fmt: skip


async def _note(
    session: AsyncSession,
    going: Sequence[Unsold],
    staying: Sequence[Unsold],
    codes: Mapping[int, str | None],
    now: datetime,
) -> None:
    """Write how the destinies ended, and tell those whose data does not go where they wanted."""
    ends = [(one.order_id, "carried_out", None) for one in going]
    ends += [(one.order_id, "given_back", codes.get(one.order_id)) for one in staying]  # type: ignore[misc]
    if not ends:
        return
    ids, statuses, reasons = (list(column) for column in zip(*ends, strict=True))
    await session.execute(_END, {"ids": ids, "statuses": statuses, "reasons": reasons, "now": now})
    for one in staying:
        code = codes.get(one.order_id)
        if code is not None:
            about, once, reason = f"/orders#ord_{one.order_id}", f"destiny_{one.order_id}", giving.WORDS[code]
            kind = "destiny_given_back"
            await tell(session, one.party_id, kind, about, once=once, quantity_mb=one.amount_mb, reason=reason)
    for one in going:
        if one.what == "tank":
            await tell(
                session, one.party_id, "given_to_tank", data_gifts.ABOUT, once=f"destiny_{one.order_id}",
                quantity_mb=one.amount_mb,
            )  # fmt: skip


def carrying_out(release: Step[Release]) -> Step[Release]:
    """The step that gives custodies back, with destinies carried out before."""

    async def load(session: AsyncSession, ids: Sequence[int], mark: str) -> Loaded[Release]:
        waiting = await carry_out(session, ids)
        filled = await _in_tank(session, ids)
        ready = [custody_id for custody_id in ids if custody_id not in waiting and custody_id not in filled]
        loaded = {custody_id: Postponed(words) for custody_id, words in waiting.items()}
        return {**loaded, **dict.fromkeys(filled, Done()), **await custody.load(session, ready, mark)}

    async def book(session: AsyncSession, ended: Sequence[Ended[Release]]) -> set[int]:
        filled = await _in_tank(session, [end.subject_id for end in ended])
        return await release.book(session, [end for end in ended if end.subject_id not in filled])

    return replace(release, load=load, book=book)


async def _in_tank(session: AsyncSession, custody_ids: Sequence[int]) -> set[int]:
    """Those that the tank has now: they stay reserved at the carrier until somebody takes what is in them."""
    query = select(TankDepositRow.custody_id).where(TankDepositRow.custody_id.in_(custody_ids))
    return set(await session.scalars(query.where(TankDepositRow.ended_at.is_(None))))
