"""One-time codes to a phone: bound to a ticket, and limited by number, neighbours, client and what texts may cost."""

import re
import unicodedata
from dataclasses import dataclass

import structlog
from sqlalchemy import select

from market import limits, tickets
from market.limits import Limit, Use
from market.numbers import canonical_number, issuing_carrier
from market.refusals import BadInput, Unavailable
from market.tables import LineRow
from market.tickets import Ticket
from market.venue import Venue
from settlement.carriers.errors import CarrierError, CarrierRefused

logger = structlog.get_logger("surplusflow.codes")

MESSAGE = "【流市】验证码 {{code}}，10 分钟内有效，请勿告诉他人。Your Surplusflow code, valid for 10 minutes."

CODES_OF_A_NUMBER = Limit("codes of a number", count=3, seconds=600)
CODES_OF_A_NUMBER_A_DAY = Limit("codes of a number a day", count=20, seconds=86_400)
CODES_OF_A_PREFIX = Limit("codes of a prefix", count=40, seconds=600)
"""Ten thousand neighbours. Codes that are entered are given back: only where nobody enters them does it run dry."""
CODES_OF_A_CLIENT = Limit("codes of a client", count=60, seconds=600)
"""Whole neighbourhoods share one address behind a carrier's translation, so this is wide."""
CODES_OF_ALL = Limit("codes of all", count=5_000, seconds=3_600)
"""What we are ready to spend on text messages."""


class WrongCode(BadInput):
    """The code is wrong, used up or too old; which of them is not told."""

    def __init__(self) -> None:
        super().__init__(
            "This code is wrong or no longer valid. Try again or ask for a new one.", code="wrong_code", field="code"
        )


@dataclass(frozen=True, slots=True)
class Entered:
    """The number whose phone got the code that was entered, and the carrier that texted it."""

    msisdn: str
    carrier: str


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
    await limits.take(venue.redis, venue.vault, CODES_OF_A_NUMBER_A_DAY.of(msisdn), *_uses(msisdn, client))
    async with venue.sessions() as session:
        known = await session.scalar(select(LineRow.carrier).where(LineRow.number_hash == venue.vault.lookup(msisdn)))

    carrier, authentication_id = await _text(venue, msisdn, known or issuing_carrier(msisdn))

    return await tickets.issue(venue.redis, Ticket(venue.vault.seal(msisdn), client, carrier, authentication_id))


async def enter_code(venue: Venue, ticket: str, code: str) -> Entered:
    """Take the code that was texted; a ticket is good for one right code. Honest use wears no limit out.

    Raises:
        WrongCode: the code is wrong, or the ticket used up or too old.
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
    await limits.give_back(venue.redis, venue.vault, *_uses(msisdn, issued.client))
    return Entered(msisdn, issued.carrier)


def _uses(msisdn: str, client: str) -> tuple[Use, ...]:
    """The limits that an honest use does not wear out."""
    return (
        CODES_OF_A_NUMBER.of(msisdn),
        CODES_OF_A_PREFIX.of(msisdn[:-4]),
        CODES_OF_A_CLIENT.of(client),
        CODES_OF_ALL.of(""),
    )


async def _text(venue: Venue, msisdn: str, first: str | None) -> tuple[str, str]:
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
