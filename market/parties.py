"""Who takes part: signing in by a code to the phone, a member's lines, and the data that the carriers hold for them."""

import asyncio
import re
import secrets
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache

import structlog
from pwdlib import PasswordHash
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from market import audit, limits, tickets
from market.assets import COIN, asset_ids
from market.limits import Limit, Use
from market.numbers import canonical_number, issuing_carrier
from market.refusals import BadInput, Forbidden, NotFound, NotSignedIn, Unavailable
from market.tables import LineRow, OfficerRow, PartyRow
from market.tickets import Ticket
from market.vault import Vault, mask
from market.venue import Venue
from settlement.accounts import Place, find_or_create
from settlement.carriers.errors import CarrierError, CarrierRefused
from settlement.carriers.values import Bucket

logger = structlog.get_logger("surplusflow.parties")

NATIONAL = "CN"
MESSAGE = "【流市】验证码 {{code}}，10 分钟内有效，请勿告诉他人。Your Surplusflow code, valid for 10 minutes."

CODES_OF_A_NUMBER = Limit("codes of a number", count=3, seconds=600)
CODES_OF_A_NUMBER_A_DAY = Limit("codes of a number a day", count=20, seconds=86_400)
CODES_OF_A_PREFIX = Limit("codes of a prefix", count=40, seconds=600)
"""Ten thousand neighbours. Codes that are entered are given back: only where nobody enters them does it run dry."""
CODES_OF_A_CLIENT = Limit("codes of a client", count=60, seconds=600)
"""Whole neighbourhoods share one address behind a carrier's translation, so this is wide."""
CODES_OF_ALL = Limit("codes of all", count=5_000, seconds=3_600)
"""What we are ready to spend on text messages."""

PASSWORDS_OF_A_PAIR = Limit("passwords of a login from a client", count=5, seconds=900)
PASSWORDS_OF_A_LOGIN = Limit("passwords of a login", count=50, seconds=900)
PASSWORDS_OF_A_CLIENT = Limit("passwords of a client", count=20, seconds=900)

LONG_ABSENCE = timedelta(days=60)
"""Carriers give a closed number to somebody else after some three months."""
SIM_LOOKBACK_HOURS = 2_400
"""As far back as carriers can be asked."""

_passwords = PasswordHash.recommended()


class WrongCode(BadInput):
    """The code is wrong, used up or too old; which of them is not told."""

    def __init__(self) -> None:
        super().__init__(
            "This code is wrong or no longer valid. Try again or ask for a new one.", code="wrong_code", field="code"
        )


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


# Signing in with a phone.


async def send_code(venue: Venue, phone: str, client: str) -> str:
    """Have the carrier text a code, and give the ticket that it will be entered with.

    The answer is the same for numbers that are known here, unknown, or nobody's.

    Raises:
        BadInput: it is no mobile number of mainland China.
        LimitReached: too many codes for the number, its neighbours or the client.
        Unavailable: the carrier does not answer.
    """
    msisdn = canonical_number(phone)
    client = venue.vault.lookup(f"client {client}").hex()
    await limits.take(venue.redis, venue.vault, CODES_OF_A_NUMBER_A_DAY.of(msisdn), *_code_uses(msisdn, client))
    async with venue.sessions() as session:
        known = await line_of_number(session, venue.vault, msisdn)

    first = known.carrier if known else issuing_carrier(msisdn)
    carrier, authentication_id = await _text_code(venue, msisdn, first)

    return await tickets.issue(venue.redis, Ticket(venue.vault.seal(msisdn), client, carrier, authentication_id))


async def sign_in(venue: Venue, ticket: str, code: str) -> Member:
    """Let in whoever enters the code that was texted. A new number gets a party of its own.

    Raises:
        WrongCode: the code is wrong, or the ticket used up or too old.
        Forbidden: the line is suspended or closed.
        Unavailable: the carrier does not answer; ask for another code.
    """
    digits = unicodedata.normalize("NFKC", code).strip()
    if not re.fullmatch(r"[0-9]{4,10}", digits):
        raise WrongCode
    issued = await tickets.try_once(venue.redis, ticket)
    if issued is None or not await _is_right(venue, issued, digits):
        raise WrongCode
    if not await tickets.use_up(venue.redis, ticket):
        raise WrongCode

    msisdn = venue.vault.open(issued.sealed_number)
    member = await _admit(venue, msisdn, issued.carrier)
    await limits.give_back(venue.redis, venue.vault, *_code_uses(msisdn, issued.client))
    return member


def _code_uses(msisdn: str, client: str) -> tuple[Use, ...]:
    """The limits that an honest sign-in does not wear out."""
    return (
        CODES_OF_A_NUMBER.of(msisdn),
        CODES_OF_A_PREFIX.of(msisdn[:-4]),
        CODES_OF_A_CLIENT.of(client),
        CODES_OF_ALL.of(""),
    )


async def _text_code(venue: Venue, msisdn: str, first: str | None) -> tuple[str, str]:
    """Carrier and authentication id of a sent code; both empty when no carrier knows the number.

    The carrier that the number was issued by is asked first, the others because it may have been ported.
    """
    if first is None:
        return "", ""
    for carrier in sorted(venue.carriers.values(), key=lambda each: each.profile.code != first):
        try:
            return carrier.profile.code, await carrier.send_code(msisdn, MESSAGE)
        except CarrierRefused as refused:
            logger.info("code_refused", carrier=carrier.profile.code, code=refused.code)
        except CarrierError as error:
            logger.warning("code_not_sent", carrier=carrier.profile.code, error=type(error).__name__)
            raise Unavailable("The carrier does not answer just now. Please try again in a moment.") from error
    return "", ""


async def _is_right(venue: Venue, issued: Ticket, code: str) -> bool:
    carrier = venue.carriers.get(issued.carrier)
    if carrier is None:
        return False
    try:
        return await carrier.validate_code(issued.authentication_id, code)
    except CarrierRefused:
        return False
    except CarrierError as error:
        raise Unavailable("The carrier does not answer just now. Please ask for a new code.") from error


async def _admit(venue: Venue, msisdn: str, carrier: str) -> Member:
    now = datetime.now(UTC)
    await _check_owner(venue, msisdn, carrier, now)
    found = await _buckets_or_none(venue, carrier, msisdn)

    async with venue.sessions.begin() as session:
        line = await line_or_invitation(session, venue.vault, msisdn, carrier)
        if line.state != "active":
            raise Forbidden(f"This line is {line.state}.", code="line_not_active")
        party = await session.get_one(PartyRow, line.party_id)
        await _open_wallets(session, party.id, venue.settings.currency)
        line.carrier, line.verified_at, party.last_signed_in_at = carrier, now, now
        if found is not None:
            _learn(line, found, now)
        await audit.append(session, audit.party(party.id), "sign_in", f"line:{line.id}", {"carrier": carrier})
    return _as_member(party)


async def _check_owner(venue: Venue, msisdn: str, carrier: str, now: datetime) -> None:
    """Keep whoever gets a number that was given up out of its former owner's wallet. Not knowing keeps them out too."""
    async with venue.sessions() as session:
        line = await line_of_number(session, venue.vault, msisdn)
    if line is None or line.verified_at is None or now - line.verified_at < LONG_ABSENCE:
        return
    absent_hours = (now - line.verified_at) // timedelta(hours=1) + 1
    try:
        changed = await venue.carriers[carrier].sim_swapped(msisdn, min(absent_hours, SIM_LOOKBACK_HOURS))
    except CarrierError as error:
        raise Unavailable("The carrier does not answer just now. Please ask for a new code.") from error
    if changed:
        raise Forbidden(
            "The SIM card of this number was changed since you were last here. Please ask our staff to let you in.",
            code="sim_changed",
        )


async def _open_wallets(session: AsyncSession, party_id: int, currency: str) -> None:
    assets = await asset_ids(session, [currency, COIN])
    await find_or_create(session, [Place(party_id, asset, "wallet") for asset in assets.values()])


# Parties and lines.


async def member(session: AsyncSession, party_id: int) -> Member:
    """The member behind a session.

    Raises:
        NotSignedIn: there is no such party.
    """
    party = await session.get(PartyRow, party_id)
    if party is None:
        raise NotSignedIn("Please sign in.")
    return _as_member(party)


async def lines(venue: Venue, member: Member) -> list[Line]:
    """The member's lines, the oldest first."""
    async with venue.sessions() as session:
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


async def line_or_invitation(
    session: AsyncSession, vault: Vault, msisdn: str, carrier: str, owner: PartyRow | None = None
) -> LineRow:
    """The line of a canonical number; one that is new here gets an owner, who waits until it signs in.

    The number is locked until the commit, so that it gets one party however many ask at once.
    """
    number_hash = vault.lookup(msisdn)
    await session.execute(
        select(func.pg_advisory_xact_lock(int.from_bytes(number_hash[:8], signed=True, byteorder="big")))
    )
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
        number_hash=number_hash,
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
        *(_buckets_or_none(venue, row.carrier, number) for row, number in zip(rows, numbers, strict=True))
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
    own = select(LineRow).where(LineRow.party_id == member.party_id, LineRow.state != "closed")
    return (await session.scalars(own.order_by(LineRow.id))).all()


async def _buckets_or_none(venue: Venue, carrier: str, msisdn: str) -> list[Bucket] | None:
    if carrier not in venue.carriers:
        return None
    try:
        return await venue.carriers[carrier].buckets(msisdn)
    except CarrierError as error:
        logger.warning("buckets_not_known", carrier=carrier, error=type(error).__name__)
        return None


def _learn(line: LineRow, found: Sequence[Bucket], now: datetime) -> None:
    """Keep what the buckets tell of the plan: its province, and its size for the residual that rules ask to keep.

    A plan is at least as large as what was once seen left of it. Data that was
    received can't be passed on, and is no part of it.
    """
    plan = [bucket for bucket in found if bucket.transferable and bucket.app_scope is None and bucket.expires_at > now]
    line.base_mb = max(line.base_mb, sum(bucket.remaining_mb + bucket.reserved_mb for bucket in plan))
    provinces = sorted({bucket.scope for bucket in plan} - {NATIONAL})
    if provinces and line.province == NATIONAL:
        line.province = provinces[0]


def _as_member(party: PartyRow) -> Member:
    return Member(party.id, party.group_id, party.kind, party.name, party.locale)


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
    async with venue.sessions() as session:
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
