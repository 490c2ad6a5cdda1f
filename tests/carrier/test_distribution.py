"""Distribution accounts: what a company bought may be passed on once, and is never sold again."""

from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from settlement.carriers import reading
from settlement.carriers.client import Carrier
from settlement.carriers.errors import CarrierMismatch, CarrierRefused
from settlement.carriers.values import Bucket
from settlement.simulators.carrier.schema import TABLES
from tests.carrier.simulator import CarrierProcess, a_number, an_id, bucket_of, line_of, month_end, only_bucket

BEFORE = """
CREATE TABLE line (
    carrier text NOT NULL, msisdn text NOT NULL, name text NOT NULL, id_document text NOT NULL,
    plan_name text NOT NULL, payment text NOT NULL, province text NOT NULL, status text NOT NULL,
    sim_changed_at timestamptz, PRIMARY KEY (carrier, msisdn)
);
CREATE TABLE bucket (
    id text PRIMARY KEY, carrier text NOT NULL, msisdn text NOT NULL, scope text NOT NULL, app_scope text,
    expires_at timestamptz NOT NULL, remaining_mb bigint NOT NULL, reserved_mb bigint NOT NULL,
    total_mb bigint NOT NULL, transferable boolean NOT NULL, created_at timestamptz NOT NULL,
    UNIQUE NULLS NOT DISTINCT (carrier, msisdn, scope, app_scope, expires_at, transferable)
);
INSERT INTO line VALUES ('CMCC', '+8613800000001', 'n', 'd', 'p', 'prepaid', 'GD', 'active', NULL);
INSERT INTO bucket VALUES ('old', 'CMCC', '+8613800000001', 'CN', NULL, '2030-01-01Z', 5, 0, 5, false, now());
"""
"""The two tables as they were without distribution accounts, and a line that has received data."""


def a_company(sim: CarrierProcess, **changes: Any) -> str:
    """A distribution account with no data of its own."""
    return sim.a_line(remaining_mb=None, distributes=True, **changes)


async def bought(carrier: Carrier, sim: CarrierProcess, company: str, amount_mb: int, **kind: Any) -> Bucket:
    """What a company has after a purchase is settled to it."""
    seller = sim.a_line(remaining_mb=amount_mb, **kind)
    source = await only_bucket(carrier, seller)
    reservation = await carrier.reserve(source.id, amount_mb, source.expires_at, an_id(), seller)
    await carrier.settle(reservation.id, company, amount_mb, an_id())
    return next(bucket for bucket in await carrier.buckets(company) if bucket.distributable)


async def test_what_a_company_bought_reaches_an_end_user_and_stays_there(carrier: Carrier, sim: CarrierProcess) -> None:
    company, user, third = a_company(sim), sim.a_line(remaining_mb=None), sim.a_line(remaining_mb=None)
    expires_at = month_end()
    source = await bought(carrier, sim, company, 500, scope="GD", app_scope="VIDEO", expires_at=expires_at.isoformat())
    total_mb = sim.totals()["total_mb"]

    await carrier.transfer(source.id, company, user, 300, an_id())

    left, received = await only_bucket(carrier, company), await only_bucket(carrier, user)
    assert (left.remaining_mb, left.transferable, left.distributable) == (200, False, True)
    assert (received.remaining_mb, received.transferable, received.distributable) == (300, False, False)
    assert (received.scope, received.app_scope, received.expires_at) == ("GD", "VIDEO", expires_at)
    assert sim.totals()["total_mb"] == total_mb
    with pytest.raises(CarrierRefused, match="NOT_TRANSFERABLE"):
        await carrier.transfer(received.id, user, third, 100, an_id())
    with pytest.raises(CarrierRefused, match="NOT_TRANSFERABLE"):
        await carrier.reserve(received.id, 100, expires_at, an_id(), user)


async def test_what_a_company_bought_is_never_put_up_for_sale(carrier: Carrier, sim: CarrierProcess) -> None:
    company = a_company(sim)
    source = await bought(carrier, sim, company, 500)

    with pytest.raises(CarrierRefused, match="NOT_TRANSFERABLE"):
        await carrier.reserve(source.id, 100, source.expires_at, an_id(), company)

    assert await only_bucket(carrier, company) == source


async def test_no_more_is_handed_out_than_was_bought(carrier: Carrier, sim: CarrierProcess) -> None:
    company, user = a_company(sim), sim.a_line(remaining_mb=None)
    source = await bought(carrier, sim, company, 500)

    with pytest.raises(CarrierRefused, match="INSUFFICIENT_BALANCE"):
        await carrier.transfer(source.id, company, user, 501, an_id())


async def test_gifts_and_top_ups_stay_with_a_company_too(carrier: Carrier, sim: CarrierProcess) -> None:
    company, other, giver = a_company(sim), a_company(sim), sim.a_line(remaining_mb=100)
    gift, source = await only_bucket(carrier, giver), await bought(carrier, sim, other, 200)

    await carrier.transfer(gift.id, giver, company, 100, an_id())
    await carrier.transfer(source.id, other, company, 200, an_id())
    await carrier.top_up(company, 50, "CN", month_end(), an_id())

    buckets = await carrier.buckets(company)
    assert sum(bucket.remaining_mb for bucket in buckets) == 350
    assert not any(bucket.transferable or bucket.distributable for bucket in buckets)


async def test_a_companys_plan_data_is_like_anybodys(carrier: Carrier, sim: CarrierProcess) -> None:
    company = sim.a_line(remaining_mb=1000, distributes=True)
    own = await only_bucket(carrier, company)

    await carrier.reserve(own.id, 400, own.expires_at, an_id(), company)

    assert (own.transferable, own.distributable) == (True, False)


async def test_what_was_bought_and_what_was_received_are_kept_apart(carrier: Carrier, sim: CarrierProcess) -> None:
    company, giver, expires_at = a_company(sim), a_number(), month_end().isoformat()
    sim.load(line_of(giver, [bucket_of(100, expires_at=expires_at)]))
    gift = await only_bucket(carrier, giver)
    await carrier.transfer(gift.id, giver, company, 100, an_id())
    source = await bought(carrier, sim, company, 500, expires_at=expires_at)

    sim.load(line_of(company, [bucket_of(70, expires_at=expires_at, transferable=False)], distributes=True))

    buckets = {bucket.distributable: bucket for bucket in await carrier.buckets(company)}
    assert buckets[True] == source
    assert buckets[False].remaining_mb == 70


async def test_a_phone_says_that_it_is_a_distribution_account(carrier: Carrier, sim: CarrierProcess) -> None:
    company, subscriber = a_company(sim), sim.a_line()
    await bought(carrier, sim, company, 500)

    english, chinese = (sim.page(f"/phones/{company[1:]}?lang={language}").text for language in ("en", "zh"))

    assert "distribution account" in english
    assert "can be handed out once, not sold" in english
    assert "企业分发" in chinese
    assert "可分发一次，不可转售" in chinese
    assert "distribution account" not in sim.page(f"/phones/{subscriber[1:]}?lang=en").text


def a_document(**changes: Any) -> dict[str, Any]:
    """A bucket as a carrier without distribution accounts describes it."""
    return {
        "id": "b1",
        "logicalResource": [{"value": "+8613800000001"}],
        "scope": "CN",
        "validFor": {"endDateTime": "2030-01-31T16:00:00Z"},
        "remainingValue": {"amount": 5, "units": "MB"},
        "reservedValue": {"amount": 0, "units": "MB"},
        "transferable": False,
        **changes,
    }


def test_a_carrier_that_knows_no_distribution_accounts_has_none() -> None:
    assert not reading.bucket(a_document(), "CMCC").distributable
    assert reading.bucket(a_document(distributable=True), "CMCC").distributable


@pytest.mark.parametrize("value", [None, "true", 1])
def test_distributable_is_true_or_false(value: object) -> None:
    with pytest.raises(CarrierMismatch, match="distributable"):
        reading.bucket(a_document(distributable=value), "CMCC")


def test_data_that_is_both_for_sale_and_not_stops_us() -> None:
    with pytest.raises(CarrierMismatch, match="distributable"):
        reading.bucket(a_document(transferable=True, distributable=True), "CMCC")


async def test_a_database_from_before_distribution_accounts_takes_them_up(new_database: Callable[[str], str]) -> None:
    connection = await asyncpg.connect(new_database("carrier").replace("+asyncpg", ""))
    try:
        await connection.execute(BEFORE)

        await connection.execute(TABLES)
        await connection.execute(TABLES)

        await connection.execute(
            "INSERT INTO bucket SELECT 'new', carrier, msisdn, scope, app_scope, expires_at, 0, 0, 0, false,"
            " now(), true FROM bucket",
        )
        kept = await connection.fetch("SELECT id, remaining_mb, distributable FROM bucket ORDER BY id DESC")
        assert [tuple(row) for row in kept] == [("old", 5, False), ("new", 0, True)]
        assert not await connection.fetchval("SELECT distributes FROM line")
    finally:
        await connection.close()
