"""Who takes part: members, their lines, and the data that the carriers hold for them; and officers."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache

import structlog
from pwdlib import PasswordHash
from sqlalchemy import BindParameter, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from market import audit, limits, notices
from market.limits import Limit
from market.refusals import Forbidden, NotFound, NotSignedIn
from market.tables import LineRow, OfficerRow, PartyRow
from market.vault import Vault, mask
from market.venue import Venue
from settlement.carriers.errors import CarrierError
from settlement.carriers.values import Bucket

logger = structlog.get_logger("surplusflow.parties")

NATIONAL = "CN"
PASSWORDS_OF_A_PAIR = Limit("passwords of a login from a client", count=5, seconds=900)
PASSWORDS_OF_A_LOGIN = Limit("passwords of a login", count=50, seconds=900)
PASSWORDS_OF_A_CLIENT = Limit("passwords of a client", count=20, seconds=900)

_passwords = PasswordHash.recommended()


class WrongPassword(NotSignedIn):
    """Login or password is wrong; which of them is not told."""

    def __init__(self) -> None:
        super().__init__("Login or password is wrong.", code="wrong_password")


@dataclass(frozen=True, slots=True)
class Member:
    """A party as the one who is signed in. Members of one ``group_id`` never trade with each other."""

    party_id: int
    group_id: int
    kind: str
    name: str
    locale: str
    fee_group: str | None = None
    """The group of the fee schedule that the party is in, if any."""
    proved_until: Mapping[str, int] | None = field(default=None, compare=False, repr=False)
    """Until when the session behind this member is proved for which class of actions, in seconds since the epoch.

    It is None where no person sits: behind an API key or a schedule.
    """


@dataclass(frozen=True, slots=True)
class Line:
    """A member's phone line, its number masked. ``note`` says why its data can't be shown just now."""

    id: int
    carrier: str
    province: str
    masked: str
    plan: str
    base_mb: int
    state: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Officer:
    """A person of compliance or operations; ``carrier`` is the only one whose trades they may see."""

    id: int
    login: str
    role: str
    carrier: str | None


# Parties and lines.

_OF_PARTY: BindParameter[int] = bindparam("party_id")
_MEMBER_AND_UNREAD = select(PartyRow, notices.UNREAD.scalar_subquery()).where(PartyRow.id == _OF_PARTY)
_OWN_LINES = select(LineRow).where(LineRow.party_id == _OF_PARTY, LineRow.state != "closed").order_by(LineRow.id)


async def member(session: AsyncSession, party_id: int) -> Member:
    """The member behind a session.

    Raises:
        NotSignedIn: there is no such party.
    """
    return _in_use(await session.get(PartyRow, party_id))


async def member_and_unread(session: AsyncSession, party_id: int) -> tuple[Member, int]:
    """The same with how many notices they have not read, by one statement: each page shows it.

    Raises:
        NotSignedIn: there is no such party.
    """
    found = (await session.execute(_MEMBER_AND_UNREAD, {"party_id": party_id})).one_or_none()
    return _in_use(found[0] if found else None), found[1] if found else 0


def _in_use(party: PartyRow | None) -> Member:
    if party is None or party.erased_at is not None:
        raise NotSignedIn("Please sign in.")
    return as_member(party)


async def lines(venue: Venue, member: Member) -> list[Line]:
    """The member's lines, the oldest first."""
    async with venue.reads() as session:
        rows = await _line_rows(session, member)
    return [_as_line(venue.vault, row) for row in rows]


async def line_row(session: AsyncSession, member: Member, line_id: int) -> LineRow:
    """One line of the member's own that may be used.

    Raises:
        NotFound: it does not exist, or it is somebody else's.
        Forbidden: it is suspended or closed, or was never signed in with.
    """
    row = await session.get(LineRow, line_id)
    if row is None or row.party_id != member.party_id:
        raise NotFound("There is no such line.")
    if row.state != "active" or row.verified_at is None:
        raise Forbidden("This line can't be used: it is not active.", code="line_not_active")
    return row


async def line_of_number(session: AsyncSession, vault: Vault, msisdn: str) -> LineRow | None:
    found: LineRow | None = await session.scalar(select(LineRow).where(LineRow.number_hash == vault.lookup(msisdn)))
    return found


def former_hash(vault: Vault, line_id: int) -> bytes:
    """What a line is kept under whose number is somebody else's now: nobody finds it by the number any more."""
    return vault.lookup(f"former line {line_id}")


async def lock_number(session: AsyncSession, vault: Vault, msisdn: str) -> None:
    """Let what is done about one number at once queue up, until the commit."""
    key = int.from_bytes(vault.lookup(msisdn)[:8], signed=True, byteorder="big")
    await session.execute(select(func.pg_advisory_xact_lock(key)))


async def line_or_invitation(
    session: AsyncSession, vault: Vault, msisdn: str, carrier: str, owner: PartyRow | None = None
) -> LineRow:
    """The line of a canonical number; one that is new here gets an owner, who waits until it signs in.

    The number is locked until the commit, so that it gets one party however many ask at once.
    """
    await lock_number(session, vault, msisdn)
    known = await line_of_number(session, vault, msisdn)
    if known is not None:
        return known

    line = LineRow(
        party_id=(owner or await _new_subscriber(session)).id,
        carrier=carrier,
        province=NATIONAL,
        plan="prepaid",
        base_mb=0,
        state="active",
        number_hash=vault.lookup(msisdn),
        number_sealed=vault.seal(msisdn),
    )
    session.add(line)
    await session.flush()
    return line


async def _new_subscriber(session: AsyncSession) -> PartyRow:
    party = PartyRow(kind="subscriber", name="", group_id=0)
    session.add(party)
    await session.flush()
    party.group_id, party.name = party.id, f"user{party.id}"
    return party


async def buckets(venue: Venue, member: Member) -> list[tuple[Line, Bucket | None]]:
    """Each line with each of its buckets, asked of all carriers at once.

    A carrier that does not answer yields its line once, with a ``note`` and no bucket.
    """
    now = datetime.now(UTC)
    async with venue.sessions() as session:
        rows = await _line_rows(session, member)
    numbers = [venue.vault.open(row.number_sealed) for row in rows]
    answers = await asyncio.gather(
        *(buckets_or_none(venue, row.carrier, number) for row, number in zip(rows, numbers, strict=True))
    )

    shown: list[tuple[Line, Bucket | None]] = []
    for row, found in zip(rows, answers, strict=True):
        line = _as_line(venue.vault, row)
        if found is None:
            shown.append((replace(line, note="The carrier does not answer just now."), None))
            continue
        shown += [(line, bucket) for bucket in found if bucket.expires_at > now]
    return shown


async def _line_rows(session: AsyncSession, member: Member) -> Sequence[LineRow]:
    return (await session.scalars(_OWN_LINES, {"party_id": member.party_id})).all()


async def buckets_or_none(venue: Venue, carrier: str, msisdn: str) -> list[Bucket] | None:
    if carrier not in venue.carriers:
        return None
    try:
        return await venue.carriers[carrier].buckets(msisdn)
    except CarrierError as error:
        logger.warning("buckets_not_known", carrier=carrier, error=type(error).__name__)
        return None


def learn_plan(line: LineRow, found: Sequence[Bucket], now: datetime) -> None:
    """Keep what the buckets tell of the plan: its province, and its size for the residual that rules ask to keep.

    A plan is at least as large as what was once seen left of it. Data that was
    received can't be passed on, and is no part of it.
    """
    plan = [bucket for bucket in found if bucket.transferable and bucket.app_scope is None and bucket.expires_at > now]
    line.base_mb = max(line.base_mb, sum(bucket.remaining_mb + bucket.reserved_mb for bucket in plan))
    provinces = sorted({bucket.scope for bucket in plan} - {NATIONAL})
    if provinces and line.province == NATIONAL:
        line.province = provinces[0]


def as_member(party: PartyRow) -> Member:
    return Member(party.id, party.group_id, party.kind, party.name, party.locale, party.fee_group)


def _as_line(vault: Vault, row: LineRow) -> Line:
    return Line(
        row.id, row.carrier, row.province, mask(vault.open(row.number_sealed)), row.plan, row.base_mb, row.state
    )


# Officers.


async def officer_sign_in(venue: Venue, login: str, password: str, client: str) -> Officer:
    """Let an officer in by password.

    Raises:
        WrongPassword: login or password is wrong.
        LimitReached: too many tries, by this client or for this login.
    """
    await limits.take(
        venue.redis,
        venue.vault,
        PASSWORDS_OF_A_PAIR.of(f"{login} {client}"),
        PASSWORDS_OF_A_LOGIN.of(login),
        PASSWORDS_OF_A_CLIENT.of(client),
    )
    async with venue.reads() as session:
        row = await session.scalar(select(OfficerRow).where(OfficerRow.login == login))

    # Argon2 is slow by design; in a thread it holds up nobody else.
    right = await asyncio.to_thread(_is_password, password, row.password_hash if row else None)
    if row is None or not right:
        raise WrongPassword

    async with venue.sessions.begin() as session:
        detail = {"role": row.role, "carrier": row.carrier}
        await audit.append(session, audit.officer(row.id), "officer_sign_in", audit.officer(row.id), detail)
    return Officer(row.id, row.login, row.role, row.carrier)


@cache
def _nobodys_hash() -> str:
    return _passwords.hash(secrets.token_urlsafe(16))


def _is_password(password: str, kept: str | None) -> bool:
    """An unknown login is checked against nobody's password, so that it takes as long as a known one."""
    nobodys = _nobodys_hash()
    return _passwords.verify(password, kept or nobodys)
