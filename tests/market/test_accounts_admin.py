"""Accounts that the operator opens: officers with passwords, partners with lines and a key."""

import secrets
from typing import Any

import pytest

from market import parties, partners
from market.accounts_admin import create_officer, create_partner
from market.refusals import BadInput, Conflict
from tests.market.town import Town, a_number


def a_login() -> str:
    return f"officer-{secrets.token_hex(4)}"


async def test_an_officer_signs_in_with_the_password_that_was_made(town: Town) -> None:
    made = await create_officer(town.venue.settings, a_login(), None, "operations", "CTCC")

    officer = await parties.officer_sign_in(town.venue, made.login, made.password, town.client)

    assert (officer.id, officer.role, officer.carrier) == (made.id, "operations", "CTCC")
    assert len(made.password) >= 12
    stored = await town.value("select password_hash from officer where id = :id", id=made.id)
    assert stored.startswith("$argon2id$")


async def test_a_login_is_given_once(town: Town) -> None:
    made = await create_officer(town.venue.settings, a_login(), "a long password")

    with pytest.raises(Conflict):
        await create_officer(town.venue.settings, made.login, "a long password")


@pytest.mark.parametrize(
    "values",
    [
        {"login": ""},
        {"login": " x"},
        {"login": "a\nb"},
        {"login": "x" * 65},
        {"password": "short"},
        {"password": "x" * 257},
        {"carrier": "NONE"},
    ],
)
async def test_an_officer_of_another_form_is_refused(town: Town, values: dict[str, Any]) -> None:
    asked = {"login": a_login(), "password": "a long password"} | values

    with pytest.raises(BadInput) as caught:
        await create_officer(town.venue.settings, **asked)

    assert caught.value.field in values


async def test_a_partner_has_a_key_and_lines_that_count_once_signed_in_with(town: Town) -> None:
    number = await town.line("CUCC")

    made = await create_partner(town.venue.settings, "Data for all Ltd", [number])

    async with town.venue.sessions.begin() as session:
        member = await partners.authenticate(session, made.key)
    assert (member.party_id, member.kind, member.name) == (made.party_id, "partner", "Data for all Ltd")
    assert member.group_id == member.party_id
    verified = "select verified_at from line where party_id = :id"
    assert await town.value(verified, id=made.party_id) is None
    assert (await town.enter(number)).party_id == made.party_id
    assert await town.value(verified, id=made.party_id) is not None


async def test_a_partner_gets_nobodys_number(town: Town) -> None:
    number = await town.line()
    await town.enter(number)

    with pytest.raises(Conflict):
        await create_partner(town.venue.settings, "Thieves", [a_number(), number])

    assert await town.value("select count(*) from party where name = 'Thieves'") == 0


@pytest.mark.parametrize(
    ("name", "phones"), [("", []), ("a\nb", []), ("x" * 121, []), ("Good", ["10086"]), ("Good", ["19212345678"])]
)
async def test_a_partner_of_another_form_is_refused(town: Town, name: str, phones: list[str]) -> None:
    with pytest.raises(BadInput):
        await create_partner(town.venue.settings, name, phones)
