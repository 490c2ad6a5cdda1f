"""Sessions: never adopted from a cookie, made new at sign-in, written only when they change (G2)."""

import time

import msgspec
from litestar import Litestar

from market.tables import OfficerRow
from tests.web.making import Market, Visitor, settings_of
from web.edge import sessions


async def keys(market: Market) -> set[bytes]:
    return {key async for key in market.venue.redis.scan_iter("surplusflow:session:*")}


async def test_g2_a_planted_session_id_is_not_adopted(visitor: Visitor) -> None:
    partner = await visitor.market.partner()
    visitor.client.cookies.set("session", "ATTACKERFIXED", domain="127.0.0.1", path="/")

    await visitor.sign_in(partner.party_id)

    assert visitor.session_id not in {None, "ATTACKERFIXED"}
    visitor.client.cookies.set("session", "ATTACKERFIXED", domain="127.0.0.1", path="/")
    assert (await visitor.get("/tests/mine")).status_code == 303


async def test_g2_the_id_changes_at_sign_in_and_the_former_one_is_dead(visitor: Visitor) -> None:
    first, second = await visitor.market.partner(), await visitor.market.partner()
    await visitor.sign_in(first.party_id)
    former = visitor.session_id
    assert former

    await visitor.sign_in(second.party_id)

    assert visitor.session_id != former
    assert (await visitor.get("/tests/mine")).json()["party_id"] == second.party_id
    visitor.client.cookies.clear()
    assert (await visitor.get("/tests/mine", {"Cookie": f"session={former}"})).status_code == 303


async def test_a_visitor_without_a_session_leaves_nothing_behind(market: Market) -> None:
    before = await keys(market)

    response = await market.client.get("/tests/form")

    assert "session" not in response.cookies
    assert await keys(market) == before


async def test_a_session_that_does_not_change_is_not_written_again(visitor: Visitor) -> None:
    partner = await visitor.market.partner()
    await visitor.sign_in(partner.party_id)

    response = await visitor.get("/tests/mine")

    assert "set-cookie" not in response.headers


async def test_redis_sees_no_id_that_would_open_a_session(visitor: Visitor) -> None:
    partner = await visitor.market.partner()
    await visitor.sign_in(partner.party_id)

    assert visitor.session_id
    assert not any(visitor.session_id.encode() in key for key in await keys(visitor.market))


async def test_signing_out_ends_the_session_in_redis_too(visitor: Visitor) -> None:
    partner = await visitor.market.partner()
    await visitor.sign_in(partner.party_id)
    held = visitor.session_id

    await visitor.post("/tests/sign-out")

    assert not visitor.session_id
    assert (await visitor.get("/tests/mine", {"Cookie": f"session={held}"})).status_code == 303


async def test_of_what_was_before_only_the_language_outlives_a_sign_in(visitor: Visitor) -> None:
    partner = await visitor.market.partner()
    await visitor.get("/tests/language")

    await visitor.sign_in(partner.party_id)

    held = await visitor.market.venue.redis.get(sessions._redis_key(visitor.session_id or ""))
    assert set(msgspec.json.decode(held or b"{}")) == {
        "locale", "party", "until", "proved", "began", "device", "network",
    }  # fmt: skip


async def test_a_session_ends_after_its_longest_time(visitor: Visitor) -> None:
    partner = await visitor.market.partner()
    await visitor.sign_in(partner.party_id)
    key = sessions._redis_key(visitor.session_id or "")
    over = {"party": partner.party_id, "until": int(time.time()) - 1}

    await visitor.market.venue.redis.set(key, msgspec.json.encode(over))

    assert (await visitor.get("/tests/mine")).status_code == 303


async def test_each_visit_renews_the_time_to_stay(visitor: Visitor) -> None:
    partner = await visitor.market.partner()
    await visitor.sign_in(partner.party_id)
    key = sessions._redis_key(visitor.session_id or "")
    await visitor.market.venue.redis.expire(key, 5)

    await visitor.get("/tests/mine")

    assert await visitor.market.venue.redis.ttl(key) > 5


async def test_a_session_of_a_party_that_is_gone_is_nobodys(visitor: Visitor) -> None:
    partner = await visitor.market.partner()
    await visitor.sign_in(partner.party_id)
    key = sessions._redis_key(visitor.session_id or "")

    await visitor.market.venue.redis.set(key, msgspec.json.encode({"party": 2**40}))

    assert (await visitor.get("/tests/mine")).status_code == 303


async def test_a_route_without_its_guard_knows_nobody(visitor: Visitor) -> None:
    partner = await visitor.market.partner()
    await visitor.sign_in(partner.party_id)

    assert (await visitor.get("/tests/unguarded")).status_code == 303


async def test_an_officers_role_is_read_anew_at_each_request(visitor: Visitor, app: Litestar) -> None:
    async with app.state.venue.sessions() as session:
        officer = OfficerRow(login="officer-of-tests", password_hash="", role="compliance", carrier="CMCC")
        session.add(officer)
        await session.commit()
        await visitor.post(f"/tests/officers/{officer.id}")
        assert (await visitor.get("/tests/office")).json()["carrier"] == "CMCC"

        await session.delete(officer)
        await session.commit()

    assert (await visitor.get("/tests/office")).status_code == 303


async def test_a_member_may_not_see_an_officers_page_nor_an_officer_a_members(visitor: Visitor) -> None:
    partner = await visitor.market.partner()
    await visitor.sign_in(partner.party_id)
    assert (await visitor.get("/tests/office")).status_code == 403

    await visitor.post("/tests/officers/12345")

    assert (await visitor.get("/tests/mine")).status_code == 303


async def test_on_https_the_cookies_are_bound_to_the_host() -> None:
    secure = sessions.session_config(settings_of(public_url="https://market.example.org"))
    plain = sessions.session_config(settings_of())

    assert (secure.key, secure.secure) == ("__Host-session", True)
    assert (plain.key, plain.secure) == ("session", False)


async def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(visitor: Visitor) -> None:
    partner = await visitor.market.partner()

    response = await visitor.sign_in(partner.party_id)

    cookie = response.headers["set-cookie"].lower()
    assert all(part in cookie for part in ("httponly", "samesite=lax", "path=/", "max-age=43200"))
    assert "domain" not in cookie


async def test_signing_out_everywhere_else_leaves_this_session_alone(visitor: Visitor) -> None:
    partner, stranger = await visitor.market.partner(), await visitor.market.partner()
    held = []
    for party_id in (partner.party_id, stranger.party_id, partner.party_id, partner.party_id):
        visitor.forget_session()
        await visitor.sign_in(party_id)
        held.append(visitor.session_id)

    ended = await visitor.post("/tests/sign-out-elsewhere")

    assert ended.text == "2"
    visitor.forget_session()
    alive = [(await visitor.get("/tests/mine", {"Cookie": f"session={each}"})).status_code == 200 for each in held]
    assert alive == [False, True, False, True]


async def test_a_change_does_not_bring_back_a_session_that_has_ended(visitor: Visitor) -> None:
    partner = await visitor.market.partner()
    await visitor.sign_in(partner.party_id)
    held = visitor.session_id

    await visitor.get("/tests/ended-meanwhile")

    assert (await visitor.get("/tests/mine", {"Cookie": f"session={held}"})).status_code == 303
