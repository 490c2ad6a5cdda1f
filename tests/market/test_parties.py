"""Signing in, and what a member is shown of their lines."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pwdlib import PasswordHash
from sqlalchemy import update

from market import codes, parties, tickets
from market.codes import WrongCode, send_code
from market.limits import LimitReached
from market.parties import WrongPassword, line_or_invitation
from market.refusals import BadInput, Forbidden, NotFound, NotSignedIn, Unavailable
from market.signing_in import sign_in
from market.tables import LineRow, OfficerRow
from market.tickets import Ticket
from market.venue import Venue
from settlement.carriers.client import Carrier
from tests.market.town import BUCKET_END, Town, a_number


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


@asynccontextmanager
async def cut_off(town: Town, code: str) -> AsyncIterator[Venue]:
    """The same market, with a carrier that cannot be reached."""
    async with Carrier(replace(town.venue.carriers[code].profile, base_url="http://127.0.0.1:1")) as gone:
        yield replace(town.venue, carriers={**town.venue.carriers, code: gone})


async def test_a_new_number_gets_a_party_a_line_and_wallets(town: Town) -> None:
    number = await town.line(scope="GD", remaining_mb=12_000)

    member = await town.enter(number)

    assert (member.kind, member.group_id, member.locale) == ("subscriber", member.party_id, "zh_CN")
    (line,) = await parties.lines(town.venue, member)
    assert (line.carrier, line.province, line.base_mb, line.state) == ("CMCC", "GD", 12_000, "active")
    assert line.masked == f"{number[3:6]}****{number[-4:]}"
    wallets = (
        "select code from account join asset on asset.id = asset_id where party_id = :party and account.kind = 'wallet'"
    )
    assert {row.code for row in await town.rows(wallets, party=member.party_id)} == {"CNY", "COIN"}


async def test_a_known_number_is_the_same_member_again(town: Town) -> None:
    number = await town.line()
    first = await town.enter(number)

    assert await town.enter(number) == first


async def test_however_the_number_is_typed_it_is_the_same_member(town: Town) -> None:
    number = await town.line()
    first = await town.enter(number)

    ticket = await send_code(town.venue, f"0086 {number[3:6]}\u200b {number[6:]}", town.client)

    assert await sign_in(town.venue, ticket, await town.code_of(number)) == first


async def test_the_code_may_be_typed_in_full_width(town: Town) -> None:
    number = await town.line()
    ticket = await send_code(town.venue, number, town.client)
    code = "".join(chr(ord(digit) - ord("0") + ord("０")) for digit in await town.code_of(number))

    assert (await sign_in(town.venue, ticket, code)).kind == "subscriber"


async def test_a_wrong_code_lets_nobody_in_but_the_right_one_still_does(town: Town) -> None:
    number = await town.line()
    ticket = await send_code(town.venue, number, town.client)
    code = await town.code_of(number)

    for bad in (wrong(code), "", "12345678901", "abcdef", "12 34"):
        with pytest.raises(WrongCode):
            await sign_in(town.venue, ticket, bad)

    assert (await sign_in(town.venue, ticket, code)).kind == "subscriber"


async def test_a_code_lets_in_once(town: Town) -> None:
    number = await town.line()
    ticket = await send_code(town.venue, number, town.client)
    code = await town.code_of(number)
    await sign_in(town.venue, ticket, code)

    with pytest.raises(WrongCode):
        await sign_in(town.venue, ticket, code)


async def test_of_two_right_codes_at_once_one_wins(town: Town) -> None:
    number = await town.line()
    ticket = await send_code(town.venue, number, town.client)
    code = await town.code_of(number)

    answers = await asyncio.gather(*(sign_in(town.venue, ticket, code) for _ in range(2)), return_exceptions=True)

    assert sorted(type(answer).__name__ for answer in answers) == ["Member", "WrongCode"]


async def test_a_code_is_of_no_use_to_another_session(town: Town) -> None:
    mine, other = await town.line(), await town.line()
    ticket = await send_code(town.venue, mine, town.client)
    await send_code(town.venue, other, town.client)

    with pytest.raises(WrongCode):
        await sign_in(town.venue, ticket, await town.code_of(other))
    with pytest.raises(WrongCode):
        await sign_in(town.venue, secrets.token_urlsafe(32), await town.code_of(mine))


async def test_guesses_sent_together_are_all_counted(town: Town) -> None:
    name = await tickets.issue(town.venue.redis, Ticket(b"sealed", "a client", "CMCC", "some id"))

    tries = await asyncio.gather(*(tickets.try_once(town.venue.redis, name) for _ in range(20)))

    assert len([granted for granted in tries if granted]) == tickets.TRIES
    assert await tickets.try_once(town.venue.redis, name) is None


async def test_a_ticket_lives_ten_minutes_under_a_name_that_no_key_shows(town: Town) -> None:
    name = await tickets.issue(town.venue.redis, Ticket(b"sealed", "a client", "CMCC", "some id"))

    keys = [key async for key in town.venue.redis.scan_iter("surplusflow:ticket:*")]

    assert not [key for key in keys if name.encode() in key]
    assert 0 < await town.venue.redis.ttl(tickets._key(name)) <= 600


async def test_no_number_stands_in_redis(town: Town) -> None:
    number = await town.line()
    await send_code(town.venue, number, town.client)

    digits = number.removeprefix("+86").encode()
    async for key in town.venue.redis.scan_iter("*"):
        assert digits not in key
        if await town.venue.redis.type(key) == b"hash":
            assert not [value for value in (await town.venue.redis.hgetall(key)).values() if digits in value]


@pytest.mark.parametrize("number", [a_number(), "+8619212345678"], ids=["of_a_carrier", "of_nobody"])
async def test_an_unknown_number_gets_the_same_answer_and_no_code(town: Town, number: str) -> None:
    known = await send_code(town.venue, await town.line(), town.client)

    ticket = await send_code(town.venue, number, town.client)

    assert len(ticket) == len(known)
    assert await town.texts_to(number) == []
    with pytest.raises(WrongCode) as caught:
        await sign_in(town.venue, ticket, "123456")
    assert str(caught.value) == str(WrongCode())


async def test_a_number_is_asked_where_it_was_ported_to(town: Town) -> None:
    number = await town.line("CUCC", number=a_number("CTCC"))

    member = await town.enter(number)

    assert [line.carrier for line in await parties.lines(town.venue, member)] == ["CUCC"]


async def test_a_carrier_that_is_away_is_told_for_known_and_unknown_alike(town: Town) -> None:
    number = await town.line()
    await town.enter(number)

    async with cut_off(town, "CMCC") as venue:
        for phone in (number, a_number()):
            with pytest.raises(Unavailable, match="does not answer"):
                await send_code(venue, phone, town.client)


async def test_an_answer_that_gets_lost_lets_nobody_in(town: Town) -> None:
    number = await town.line()
    ticket = await send_code(town.venue, number, town.client)

    async with cut_off(town, "CMCC") as venue:
        with pytest.raises(Unavailable, match="new code"):
            await sign_in(venue, ticket, await town.code_of(number))


async def test_a_suspended_line_is_not_let_in(town: Town) -> None:
    number = await town.line()
    member = await town.enter(number)
    async with town.venue.sessions.begin() as session:
        line = await line_or_invitation(session, town.venue.vault, number, "CMCC")
        line.state = "suspended"

    with pytest.raises(Forbidden, match="suspended"):
        await town.enter(number)
    async with town.venue.sessions() as session:
        with pytest.raises(Forbidden):
            await parties.line_row(session, member, line.id)


async def test_a_long_absence_alone_locks_nobody_out(town: Town) -> None:
    number = await town.line()
    member = await town.enter(number)
    last_here = datetime.now(UTC) - timedelta(days=300)
    async with town.venue.sessions.begin() as session:
        await session.execute(update(LineRow).where(LineRow.party_id == member.party_id).values(verified_at=last_here))

    assert await town.enter(number) == member


async def test_a_fourth_code_in_a_row_is_refused_however_the_number_is_typed(town: Town) -> None:
    number = await town.line()
    for typed in (number, number.removeprefix("+86"), number.replace("+", "00")):
        await send_code(town.venue, typed, town.client)

    with pytest.raises(LimitReached):
        await send_code(town.venue, number, "another client")


async def test_signing_in_honestly_wears_no_limit_out(town: Town) -> None:
    number = await town.line()

    members = {(await town.enter(number)).party_id for _ in range(6)}

    assert len(members) == 1


async def test_one_client_cannot_text_the_whole_country(town: Town) -> None:
    client = secrets.token_hex(8)
    numbers = [f"+8619212{digits:06d}" for digits in range(0, 700_000, 10_000)]

    answers = await asyncio.gather(
        *(send_code(town.venue, number, client) for number in numbers), return_exceptions=True
    )

    assert sum(isinstance(answer, str) for answer in answers) == codes.CODES_OF_A_CLIENT.count
    assert sum(isinstance(answer, LimitReached) for answer in answers) == 10


async def test_a_prefix_whose_codes_nobody_enters_is_stopped(town: Town) -> None:
    numbers = [f"+861928765{digits:04d}" for digits in range(50)]

    answers = await asyncio.gather(
        *(send_code(town.venue, number, secrets.token_hex(8)) for number in numbers), return_exceptions=True
    )

    assert sum(isinstance(answer, str) for answer in answers) == codes.CODES_OF_A_PREFIX.count


async def test_twenty_at_once_make_one_party_of_a_new_number(town: Town) -> None:
    number = a_number()

    async def invite() -> int:
        async with town.venue.sessions.begin() as session:
            return (await line_or_invitation(session, town.venue.vault, number, "CMCC")).party_id

    assert len(set(await asyncio.gather(*(invite() for _ in range(20))))) == 1


async def test_an_invited_number_takes_its_party_over_when_it_signs_in(town: Town) -> None:
    number = await town.line()
    async with town.venue.sessions.begin() as session:
        invited = (await line_or_invitation(session, town.venue.vault, number, "CTCC")).party_id

    member = await town.enter(number)

    assert member.party_id == invited
    assert [line.carrier for line in await parties.lines(town.venue, member)] == ["CMCC"]


async def test_a_plan_is_as_large_as_it_was_once_seen_and_received_data_is_no_part_of_it(town: Town) -> None:
    number = await town.line(remaining_mb=9_000)
    member = await town.enter(number)
    await town.line(number=number, remaining_mb=4_000)
    await town.line(number=number, remaining_mb=50_000, transferable=False)
    await town.line(number=number, remaining_mb=50_000, app_scope="VIDEO")

    await town.enter(number)

    assert [line.base_mb for line in await parties.lines(town.venue, member)] == [9_000]


async def test_buckets_come_with_their_lines_and_expired_ones_do_not(town: Town) -> None:
    number = await town.line(remaining_mb=700)
    member = await town.enter(number)
    await town.line(number=number, remaining_mb=100, expires_at=(BUCKET_END - timedelta(days=2_000)).isoformat())

    ((line, bucket),) = await parties.buckets(town.venue, member)

    assert bucket
    assert (bucket.remaining_mb, bucket.expires_at, line.note) == (700, BUCKET_END, None)


async def test_a_carrier_that_fails_shows_its_line_with_a_note(town: Town) -> None:
    member = await town.a_member()

    async with cut_off(town, "CMCC") as venue:
        ((line, bucket),) = await parties.buckets(venue, member)

    assert bucket is None
    assert line.note == "The carrier does not answer just now."


async def test_a_line_of_somebody_else_is_as_good_as_none(town: Town) -> None:
    mine, other = await town.a_member(), await town.a_member()
    (line,) = await parties.lines(town.venue, other)

    async with town.venue.sessions() as session:
        for line_id in (line.id, 10**9):
            with pytest.raises(NotFound, match="no such line"):
                await parties.line_row(session, mine, line_id)


async def test_a_member_who_is_gone_is_not_signed_in(town: Town) -> None:
    member = await town.a_member()

    async with town.venue.sessions() as session:
        assert await parties.member(session, member.party_id) == member
        with pytest.raises(NotSignedIn):
            await parties.member(session, 10**12)


async def test_signing_in_leaves_a_link_without_a_number(town: Town) -> None:
    number = await town.line()
    member = await town.enter(number)

    payload = await town.value("select payload from audit_link where chain = 'house' order by number desc limit 1")

    assert f'"actor":"party:{member.party_id}","action":"sign_in"'.encode() in payload
    assert number.removeprefix("+86").encode() not in payload


async def an_officer(town: Town, password: str) -> str:
    login = f"officer-{secrets.token_hex(4)}"
    async with town.venue.sessions.begin() as session:
        hashed = PasswordHash.recommended().hash(password)
        session.add(OfficerRow(login=login, password_hash=hashed, role="compliance", carrier="CTCC"))
    return login


async def test_an_officer_is_let_in_by_password(town: Town) -> None:
    login = await an_officer(town, "a long password")

    officer = await parties.officer_sign_in(town.venue, login, "a long password", town.client)

    assert (officer.login, officer.role, officer.carrier) == (login, "compliance", "CTCC")
    payload = await town.value("select payload from audit_link where chain = 'house' order by number desc limit 1")
    assert b"officer_sign_in" in payload


async def test_a_wrong_password_and_an_unknown_login_are_told_the_same(town: Town) -> None:
    login = await an_officer(town, "a long password")

    told = []
    for name, password in ((login, "another"), ("nobody", "a long password"), (login, "")):
        with pytest.raises(WrongPassword) as caught:
            await parties.officer_sign_in(town.venue, name, password, town.client)
        told.append((str(caught.value), caught.value.code))

    assert len(set(told)) == 1


async def test_guessing_passwords_is_slowed_down_and_does_not_lock_the_officer_out(town: Town) -> None:
    login = await an_officer(town, "a long password")
    thief = secrets.token_hex(8)
    for _ in range(5):
        with pytest.raises(WrongPassword):
            await parties.officer_sign_in(town.venue, login, "guess", thief)

    with pytest.raises(LimitReached):
        await parties.officer_sign_in(town.venue, login, "a long password", thief)
    assert (await parties.officer_sign_in(town.venue, login, "a long password", town.client)).login == login


async def test_a_phone_that_is_none_is_refused(town: Town) -> None:
    with pytest.raises(BadInput):
        await send_code(town.venue, "10086", town.client)
