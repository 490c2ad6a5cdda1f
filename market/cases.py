"""Cases: one side of a trade says what went wrong, both are heard, and officers decide.

An officer may ask either side; whoever opened a case and does not answer within 48 hours
has given it up. Money only moves by what two officers say, as a reopening of the trade
(`settlement.reopening`). While a case is open, what it is about stays out of the seller's withdrawals.
"""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from market import audit, halting, views
from market.announcing import announce
from market.case_tables import CaseEntryRow, CaseRow
from market.engine.commands import party_channel
from market.parties import Member, Officer
from market.purses import lock_party
from market.refusals import BadInput, Conflict, Forbidden, NotAllowed, NotFound
from market.rounds import Rounds, beside
from market.tables import TradeRow
from market.venue import Venue
from market.views import TradeView
from settlement import reopening
from settlement.notices import tell
from settlement.reopening_rules import Cause

BUYERS_REASONS = ("not_received", "wrong_amount", "expired_early", "other")
SELLERS_REASONS = ("not_paid", "other")
OPENED_WITHIN = timedelta(days=14)
ANSWER_WITHIN = timedelta(hours=48)
DECIDE_WITHIN = timedelta(days=5)
MOST_OPEN = 5
"""Cases that one party may have open at a time."""
LONGEST_WORDS = 1_000
LARGEST_FILE = 1_000_000
"""Bytes."""
MOST_FILES = 5
"""In one case, of each side."""
MOST_ENTRIES = 100
LOOK_SECONDS = 60.0
SHOWN = 100
KINDS_OF_FILE = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"%PDF-": "application/pdf"}


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file as it was sent."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """What somebody says: words, and a file perhaps."""

    words: str
    attachment: Attachment | None = None


def reasons_of(side: str) -> tuple[str, ...]:
    """What a buyer or a seller can say went wrong."""
    return BUYERS_REASONS if side == "buy" else SELLERS_REASONS


async def open_case(venue: Venue, member: Member, trade_id: int, *, reason: str, told: Told, now: datetime) -> int:
    """Open a case about a trade of the member's own; gives its id.

    Raises:
        NotFound: it is no trade of the member's.
        BadInput: the reason is none, nothing is said, or the file is none that we take.
        NotAllowed: the trade is still on its way, ended long ago, or too many cases are open.
        Conflict: there is a case about this trade already.
    """
    async with venue.sessions.begin() as session:
        await lock_party(session, member)
        trade = await views.trade(session, member.party_id, trade_id)
        if reason not in reasons_of(trade.side):
            raise BadInput("Please choose what went wrong.", field="reason")
        entry = _entry(trade.side, told)
        _check_time(trade, now)
        await _check_open(session, member, trade_id)
        case = CaseRow(
            trade_id=trade_id, opener_id=member.party_id, other_id=await _other_side(session, trade),
            opener_side=trade.side, reason=reason, wanted_minor=trade.amount_minor if trade.side == "buy" else 0,
            asked_id=None, answer_due_at=None, decide_by=now + DECIDE_WITHIN, proposed_minor=None, proposed_by=None,
            decided_by=None, decided_minor=None, ended_at=None,
        )  # fmt: skip
        session.add(case)
        try:
            await session.flush()
        except IntegrityError as error:
            raise Conflict("There is a case about this trade already.") from error
        entry.case_id = case.id
        session.add(entry)
        await _tell(session, case, case.other_id, "case_opened")
        await audit.append(session, audit.party(member.party_id), "open_case", _name(case.id), {"reason": reason})
    await _announce(venue, case)
    return case.id


async def say(venue: Venue, member: Member, case_id: int, told: Told) -> None:
    """Add to a case; it answers what an officer has asked.

    Raises:
        NotFound: it is nobody's case that the member is part of.
        BadInput: nothing is said, or the file is none that we take.
        NotAllowed: the case is over, or enough was said.
    """
    async with venue.sessions.begin() as session:
        case = await _locked(session, case_id)
        side = side_of(case, member)
        await _check_room(session, case, side, told)
        entry = _entry(side, told)
        entry.case_id = case.id
        session.add(entry)
        if case.asked_id == member.party_id:
            case.asked_id, case.answer_due_at = None, None
    await _announce(venue, case)


async def withdraw(venue: Venue, member: Member, case_id: int) -> None:
    """Give a case up.

    Raises:
        NotFound: it is not the member's.
        NotAllowed: the case is over, or somebody else has opened it.
    """
    async with venue.sessions.begin() as session:
        case = await _locked(session, case_id)
        side_of(case, member)
        if case.opener_id != member.party_id:
            raise NotAllowed("Only who has opened a case can withdraw it.")
        await _end(session, case, "withdrawn")
        await _tell(session, case, case.other_id, "case_withdrawn")
        await audit.append(session, audit.party(member.party_id), "withdraw_case", _name(case.id), {})
    await _announce(venue, case)


async def ask(venue: Venue, officer: Officer, case_id: int, *, side: str, words: str, now: datetime) -> None:
    """Ask one side something; there are 48 hours for an answer.

    Raises:
        Forbidden: it takes an operations officer of the house.
        NotFound: there is no such case.
        BadInput: nothing is asked, or nobody.
        NotAllowed: the case is over.
    """
    _check_may_act(officer)
    if side not in {"buy", "sell"}:
        raise BadInput("Please choose whom to ask.", field="side")
    entry = _entry("officer", Told(words))
    async with venue.sessions.begin() as session:
        case = await _locked(session, case_id)
        case.asked_id = case.opener_id if side == case.opener_side else case.other_id
        case.answer_due_at = now + ANSWER_WITHIN
        entry.case_id = case.id
        session.add(entry)
        await _tell(session, case, case.asked_id, "case_asked", answer_due_at=case.answer_due_at.isoformat())
        await audit.append(session, audit.officer(officer.id), "ask_in_case", _name(case.id), {"side": side})
    await _announce(venue, case)


async def decide(venue: Venue, officer: Officer, case_id: int, back_minor: int, words: str) -> None:
    """Say how much the buyer gets back. Nothing ends the case at once; an amount waits for a second officer.

    Raises:
        Forbidden: it takes an operations officer of the house.
        NotFound: there is no such case.
        BadInput: it is more than the buyer paid, or there is no reason.
        NotAllowed: the case is over.
    """
    _check_may_act(officer)
    entry = _entry("officer", Told(words))
    async with venue.sessions.begin() as session:
        case = await _locked(session, case_id)
        trade = await session.get_one(TradeRow, case.trade_id)
        if not 0 <= back_minor <= trade.price_minor * trade.quantity:
            raise BadInput("That is more than the buyer paid.", field="amount")
        entry.case_id = case.id
        session.add(entry)
        case.proposed_minor, case.proposed_by = back_minor, officer.id
        if back_minor == 0:
            await _decided(session, case, officer)
        detail: audit.Detail = {"back_minor": back_minor, "words": words}
        await audit.append(session, audit.officer(officer.id), "decide_case", _name(case.id), detail)
    await _announce(venue, case)


async def confirm(venue: Venue, officer: Officer, case_id: int) -> None:
    """Confirm what another officer has decided: the buyer is paid back in the same transaction.

    Raises:
        Forbidden: it takes another operations officer of the house than the one who decided.
        NotFound: there is no such case.
        NotAllowed: the case is over.
        Conflict: nothing was decided yet, or the books don't allow it.
    """
    _check_may_act(officer)
    async with venue.sessions.begin() as session:
        case = await _locked(session, case_id)
        if not case.proposed_minor:
            raise Conflict("There is nothing to confirm.")
        if case.proposed_by == officer.id:
            raise Forbidden("Another officer has to confirm this.")
        if not await reopening.reopen(
            session, case.trade_id, Cause.CASE_DECIDED, case.proposed_minor, f"Decided in case {case.id}."
        ):
            raise Conflict("The buyer was paid back before, after a case.")
        await _decided(session, case, officer)
        detail: audit.Detail = {"back_minor": case.proposed_minor}
        await audit.append(session, audit.officer(officer.id), "confirm_case", _name(case.id), detail)
    await _announce(venue, case)


async def lapse(venue: Venue, now: datetime) -> int:
    """End what its opener has not answered for, and wait no longer for the other side; says how many."""
    async with venue.sessions.begin() as session:
        late = select(CaseRow).where(CaseRow.status == "open", CaseRow.answer_due_at <= now)
        rows = list(await session.scalars(late.limit(SHOWN).with_for_update(skip_locked=True)))
        for case in rows:
            abandoned = case.asked_id == case.opener_id
            case.asked_id, case.answer_due_at = None, None
            if abandoned:
                await _end(session, case, "abandoned")
                for party_id in (case.opener_id, case.other_id):
                    await _tell(session, case, party_id, "case_abandoned")
    for case in rows:
        await _announce(venue, case)
    return len(rows)


def watching(venue: Venue) -> AbstractAsyncContextManager[None]:
    """Watch over the times of cases beside whatever else a program does."""
    return beside(venue, Rounds("cases", lambda venue: lapse(venue, datetime.now(UTC)), LOOK_SECONDS))


def _check_time(trade: TradeView, now: datetime) -> None:
    if trade.status not in {"settled", "refunded"} or trade.ended_at is None:
        raise NotAllowed("This trade is still on its way. Its page says what it waits for.")
    if now - trade.ended_at > OPENED_WITHIN:
        raise NotAllowed(f"A case can be opened within {OPENED_WITHIN.days} days after a trade has ended.")
    if trade.side == "buy" and trade.status == "refunded":
        raise NotAllowed("This trade was refunded in full.")


async def _check_open(session: AsyncSession, member: Member, trade_id: int) -> None:
    mine = select(func.count()).select_from(CaseRow)
    opened = mine.where(CaseRow.opener_id == member.party_id, CaseRow.status == "open")
    if (await session.scalar(opened) or 0) >= MOST_OPEN:
        raise NotAllowed(f"You have {MOST_OPEN} cases open. Please wait until one is decided.")
    decided = mine.where(CaseRow.trade_id == trade_id, CaseRow.status == "decided")
    if await session.scalar(decided):
        raise Conflict("This trade was decided on already.")


async def _check_room(session: AsyncSession, case: CaseRow, side: str, told: Told) -> None:
    counted = select(func.count(), func.count(CaseEntryRow.file_name)).where(
        CaseEntryRow.case_id == case.id, CaseEntryRow.author == side
    )
    entries, files = (await session.execute(counted)).one()
    if entries >= MOST_ENTRIES // 4:
        raise NotAllowed("You have said enough for our officers to decide.")
    if told.attachment is not None and files >= MOST_FILES:
        raise BadInput(f"No more than {MOST_FILES} files, please.", field="file")


def _entry(author: str, told: Told) -> CaseEntryRow:
    words = told.words.strip()
    if not 0 < len(words) <= LONGEST_WORDS:
        raise BadInput(f"Please say it in 1 to {LONGEST_WORDS} characters.", field="words")
    if audit.NUMBER.search(words):
        raise BadInput("Please leave phone numbers out: the other side reads this.", field="words")
    sent = told.attachment
    if sent is None:
        return CaseEntryRow(author=author, words=words, file_name=None, file_type=None, file=None)
    kind = next((kind for start, kind in KINDS_OF_FILE.items() if sent.content.startswith(start)), None)
    if kind is None:
        raise BadInput("Please send a picture (PNG or JPEG) or a PDF.", field="file")
    if len(sent.content) > LARGEST_FILE:
        raise BadInput(f"A file has no more than {LARGEST_FILE // 1_000_000} MB.", field="file")
    return CaseEntryRow(author=author, words=words, file_name=sent.name[:100], file_type=kind, file=sent.content)


async def _other_side(session: AsyncSession, trade: TradeView) -> int:
    row = await session.get_one(TradeRow, trade.id)
    return row.seller_id if trade.side == "buy" else row.buyer_id


def side_of(case: CaseRow, member: Member) -> str:
    """Which side of the trade a member is.

    Raises:
        NotFound: none.
    """
    if member.party_id == case.opener_id:
        return case.opener_side
    if member.party_id == case.other_id:
        return "sell" if case.opener_side == "buy" else "buy"
    raise unknown()


def _check_may_act(officer: Officer) -> None:
    if not halting.may_switch(officer):
        raise Forbidden("Only an operations officer of the house may do this.")


async def _locked(session: AsyncSession, case_id: int) -> CaseRow:
    """The case while it is open."""
    query = select(CaseRow).where(CaseRow.id == case_id).with_for_update(key_share=True)
    case = await session.scalar(query.execution_options(populate_existing=True))
    if case is None:
        raise unknown()
    if case.status != "open":
        raise NotAllowed("This case is over.")
    return case


async def _decided(session: AsyncSession, case: CaseRow, officer: Officer) -> None:
    case.decided_by, case.decided_minor = officer.id, case.proposed_minor
    await _end(session, case, "decided")
    for party_id in (case.opener_id, case.other_id):
        kind = "case_decided_back" if case.decided_minor else "case_decided_nothing"
        await _tell(session, case, party_id, kind, amount_minor=case.decided_minor)


async def _end(session: AsyncSession, case: CaseRow, status: str) -> None:
    case.status, case.asked_id, case.answer_due_at = status, None, None
    case.ended_at = func.now()
    await session.flush()


async def _tell(
    session: AsyncSession,
    case: CaseRow,
    party_id: int,
    kind: str,
    *,
    amount_minor: int | None = None,
    answer_due_at: str | None = None,
) -> None:
    about, trade = f"/cases/cas_{case.id}", f"trd_{case.trade_id}"
    await tell(session, party_id, kind, about, trade=trade, amount_minor=amount_minor, answer_due_at=answer_due_at)


async def _announce(venue: Venue, case: CaseRow) -> None:
    await announce(venue.redis, party_channel(case.opener_id), party_channel(case.other_id))


def _name(case_id: int) -> str:
    return f"case:{case_id}"


def unknown() -> NotFound:
    """The refusal that says nothing of whether there is a case."""
    return NotFound("There is no such case.")
