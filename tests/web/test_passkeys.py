"""A passkey opens its own member's account, at this address alone, once for each challenge; a copy is noticed."""

from typing import Any

import pytest
from httpx import Response
from sqlalchemy import text

from market.passkeys import MOST_PASSKEYS, Site, site_of
from tests.web.authenticator import PRESENT, Authenticator
from tests.web.making import Market, Visitor, settings_of

PAGE = "/settings/passkeys"


@pytest.mark.parametrize(
    ("environment", "public_url", "site"),
    [
        ("demo", "http://127.0.0.1:8000", Site("localhost", "http://localhost:8000")),
        ("production", "https://market.example.org", Site("market.example.org", "https://market.example.org")),
        ("production", "https://m.example.org:8443", Site("m.example.org", "https://m.example.org:8443")),
    ],
)
def test_a_passkey_is_bound_to_the_public_address_and_to_nothing_a_visitor_sends(
    environment: Any, public_url: str, site: Site
) -> None:
    assert site_of(settings_of(environment=environment, public_url=public_url)) == site


async def options(visitor: Visitor, path: str) -> dict[str, Any]:
    answer = await visitor.post(path)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def somebody(visitor: Visitor) -> int:
    party = await visitor.market.partner(kind="subscriber")
    await visitor.sign_in(party.party_id)
    return party.party_id


async def added(visitor: Visitor, device: Authenticator, name: str = "my phone") -> Response:
    credential = device.create(await options(visitor, f"{PAGE}/options"))
    return await visitor.post(PAGE, credential=credential, name=name)


async def used(visitor: Visitor, device: Authenticator) -> Response:
    credential = device.use(await options(visitor, "/sign-in/passkey/options"))
    return await visitor.post("/sign-in/passkey", credential=credential, next="/wallet")


async def test_a_passkey_is_added_under_a_name_and_signs_its_member_in(visitor: Visitor) -> None:
    party_id, device = await somebody(visitor), Authenticator()

    assert (await added(visitor, device)).headers["Location"] == PAGE
    assert 'data-name="my phone"' in (await visitor.get(PAGE)).text
    await visitor.post("/tests/sign-out")
    entered = await used(visitor, device)

    assert (entered.status_code, entered.headers["Location"]) == (303, "/wallet")
    assert (await visitor.get("/tests/mine")).json()["party_id"] == party_id


async def test_each_challenge_is_good_once(visitor: Visitor) -> None:
    await somebody(visitor)
    device = Authenticator()
    await added(visitor, device)
    await visitor.post("/tests/sign-out")
    credential = device.use(await options(visitor, "/sign-in/passkey/options"))
    assert (await visitor.post("/sign-in/passkey", credential=credential)).status_code == 303
    await visitor.post("/tests/sign-out")

    again = await visitor.post("/sign-in/passkey", credential=credential)

    assert again.status_code == 400


async def test_a_challenge_for_adding_is_none_for_signing_in(visitor: Visitor) -> None:
    await somebody(visitor)
    device = Authenticator()
    await added(visitor, device)

    credential = device.use(await options(visitor, f"{PAGE}/options"))

    assert (await visitor.post("/sign-in/passkey", credential=credential)).status_code == 400


@pytest.mark.parametrize(
    "wrong",
    [{"origin": "https://evil.example"}, {"rp_id": "evil.example"}, {"flags": PRESENT}, {"flags": 0x04}],
    ids=["origin", "site", "unverified", "absent"],
)
async def test_what_was_signed_elsewhere_or_by_nobody_opens_nothing(visitor: Visitor, wrong: dict[str, Any]) -> None:
    await somebody(visitor)
    device = Authenticator()
    await added(visitor, device)
    await visitor.post("/tests/sign-out")
    for name, value in wrong.items():
        setattr(device, name, value)

    refused = await used(visitor, device)

    assert refused.status_code == 400
    assert (await visitor.get("/tests/mine")).status_code != 200


async def test_a_device_that_counts_backwards_is_a_copy(visitor: Visitor) -> None:
    await somebody(visitor)
    device = Authenticator()
    await added(visitor, device)
    await visitor.post("/tests/sign-out")
    device.uses = 10
    assert (await used(visitor, device)).status_code == 303
    await visitor.post("/tests/sign-out")
    device.uses = 5

    assert (await used(visitor, device)).status_code == 400


async def test_another_key_under_the_same_id_opens_nothing(visitor: Visitor) -> None:
    await somebody(visitor)
    device = Authenticator()
    await added(visitor, device)
    await visitor.post("/tests/sign-out")

    assert (await used(visitor, Authenticator(id=device.id))).status_code == 400


@pytest.mark.parametrize(
    "credential", ["", "{}", "[]", "nonsense", "[" * 19_000, '{"response": {"clientDataJSON": 7}}']
)
async def test_nonsense_is_refused_like_a_wrong_passkey(visitor: Visitor, credential: str) -> None:
    refused = await visitor.post("/sign-in/passkey", credential=credential)

    assert refused.status_code == 400


async def test_a_removed_passkey_opens_nothing(visitor: Visitor) -> None:
    await somebody(visitor)
    device = Authenticator()
    await added(visitor, device)
    passkey_id = await _value(visitor.market, "select max(id) from passkey")

    assert (await visitor.post(f"{PAGE}/{passkey_id}/remove")).headers["Location"] == PAGE
    await visitor.post("/tests/sign-out")

    assert (await used(visitor, device)).status_code == 400


async def test_adding_and_removing_ask_for_proof_first(visitor: Visitor) -> None:
    await somebody(visitor)
    await added(visitor, Authenticator())
    passkey_id = await _value(visitor.market, "select max(id) from passkey")
    await visitor.post("/tests/proof-runs-out")

    assert "/step-up?for=passkey" in (await visitor.get(PAGE)).text
    assert (await visitor.post(f"{PAGE}/options")).headers["Location"].startswith("/step-up?for=passkey")
    assert (await visitor.post(f"{PAGE}/{passkey_id}/remove")).headers["Location"].startswith("/step-up?for=passkey")


async def test_a_passkey_proves_that_it_is_the_member(visitor: Visitor) -> None:
    await somebody(visitor)
    device = Authenticator()
    await added(visitor, device)
    await visitor.post("/tests/proof-runs-out")
    assert "passkey-proof" in (await visitor.get("/step-up?for=payout&next=/wallet/payouts")).text

    credential = device.use(await options(visitor, "/step-up/passkey/options"))
    proved = await visitor.post(
        "/step-up/passkey", None, credential=credential, next="/wallet/payouts", **{"for": "payout"}
    )

    assert proved.headers["Location"] == "/wallet/payouts"
    assert (await visitor.post("/wallet/payouts", every="daily", minimum="50")).headers["Location"] == "/wallet/payouts"


async def test_somebody_elses_passkey_proves_nothing(visitor: Visitor) -> None:
    await somebody(visitor)
    theirs = Authenticator()
    await added(visitor, theirs)
    await somebody(visitor)
    await visitor.post("/tests/proof-runs-out")

    credential = theirs.use(await options(visitor, "/step-up/passkey/options"))
    refused = await visitor.post("/step-up/passkey", None, credential=credential, **{"for": "payout"})

    assert refused.status_code == 400


async def test_nobody_renames_or_removes_the_passkey_of_somebody_else(visitor: Visitor) -> None:
    await somebody(visitor)
    await added(visitor, Authenticator())
    passkey_id = await _value(visitor.market, "select max(id) from passkey")
    await somebody(visitor)

    assert (await visitor.post(f"{PAGE}/{passkey_id}/name", name="mine")).status_code == 404
    assert (await visitor.post(f"{PAGE}/{passkey_id}/remove")).status_code == 404
    assert await _value(visitor.market, "select name from passkey where id = :id", id=passkey_id) == "my phone"


async def test_a_passkey_is_renamed_and_a_name_that_is_too_long_is_refused_beside_its_field(visitor: Visitor) -> None:
    await somebody(visitor)
    await added(visitor, Authenticator())
    passkey_id = await _value(visitor.market, "select max(id) from passkey")

    assert (await visitor.post(f"{PAGE}/{passkey_id}/name", name="the old one")).status_code == 303
    refused = await visitor.post(f"{PAGE}/{passkey_id}/name", name="x" * 41)

    assert refused.status_code == 400
    assert f'id="name-{passkey_id}-error"' in refused.text
    assert 'data-name="the old one"' in refused.text


async def test_there_is_a_most_of_passkeys(visitor: Visitor) -> None:
    await somebody(visitor)
    for _ in range(MOST_PASSKEYS):
        assert (await added(visitor, Authenticator())).status_code == 303

    assert (await visitor.post(f"{PAGE}/options")).status_code == 422


async def test_the_owner_is_told_of_a_new_passkey(visitor: Visitor) -> None:
    party_id = await somebody(visitor)

    await added(visitor, Authenticator())

    assert await _value(visitor.market, "select kind from notice where party_id = :p", p=party_id) == "passkey_added"


async def _value(market: Market, statement: str, **values: Any) -> Any:
    async with market.venue.sessions() as session:
        return await session.scalar(text(statement), values)
