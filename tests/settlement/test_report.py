"""The settlement report: every row of our books, each compared with the outside, and each difference named."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from sqlalchemy import update

from settlement import custody, funding
from settlement.collecting import collect
from settlement.naming import external_id
from settlement.reconciling import reconcile
from settlement.report import COLUMNS, HEADINGS, SHEETS, Report, Row, Span
from settlement.report_csv import MARK, cell, write_csv
from settlement.report_json import write_json
from settlement.report_xlsx import write_xlsx
from settlement.tables import DeliveryRow, PaymentRow
from tests.payment.making import Http, fresh
from tests.settlement.test_card_holds import a_purchase
from tests.settlement.test_inbox import a_paid_top_up
from tests.settlement.test_payouts import a_top_up, a_withdrawal, comes_to
from tests.settlement.world import World

SHANGHAI = ZoneInfo("Asia/Shanghai")


async def reported(world: World, carrier: str = "all") -> Report:
    today = datetime.now(SHANGHAI).date()
    span = Span(today - timedelta(days=1), today, SHANGHAI)
    report = Report(carrier, span, datetime.now(UTC), "CNY")
    async with world.sessions() as session:
        await collect(session, report, world.mark)
    await reconcile(world.sessions, world.outside, report)
    return report


def causes(report: Report, subject: str) -> list[str | None]:
    return [row.status for row in report.breaks if row.id == subject]


def the_trade(report: Report, trade: DeliveryRow) -> Row:
    return next(row for row in report.rows("trade") if row.id == f"trd_{trade.id}")


async def test_a_day_of_everything_agrees_with_carrier_and_provider(world: World, provider_http: Http) -> None:
    seller = await world.reserved(1000)
    sold = await world.traded(seller, quantity=300, amount_minor=900, fee_minor=45)
    refused = await world.traded(seller, "9001", quantity=100)
    purchase = await a_purchase(world, "0000")
    withdrawal = await a_withdrawal(world, provider_http)
    top_up = await a_top_up(world)
    async with world.sessions.begin() as session:
        await funding.request_refund(session, top_up.id)
    async with world.working():
        await world.ended(sold.id)
        await world.ended(refused.id)
        await world.ended(purchase.trades[0].id)
        await comes_to(world, withdrawal.id, "paid")
        await world.status("refund", top_up.id, "done")
        async with world.sessions.begin() as session:
            await custody.give_back(session, seller.id)
        await world.status("release", seller.id, "done")

    with await reported(world) as report:
        row = the_trade(report, sold)
        assert (row.quantity_mb, row.price_minor, row.amount_minor, row.fee_minor, row.net_minor) == (
            300, 300, 900, 45, 855,
        )  # fmt: skip
        assert (row.status, row.payment_reference, row.asset) == ("settled", "wallet", "CMCC-CN-2611")
        assert row.carrier_reference
        assert row.settled_at
        assert the_trade(report, refused).status == "refunded"
        assert "RECEIVER_NOT_ELIGIBLE" in str(the_trade(report, refused).reason)
        assert str(the_trade(report, purchase.trades[0]).payment_reference).startswith("pi_")
        (payout,) = report.rows("payout")
        assert str(payout.payment_reference).startswith("tr_")
        assert " po_" in str(payout.payment_reference)
        assert [one.quantity_mb for one in report.rows("release")] == [700]
        assert [one.amount_minor for one in report.rows("refund")] == [1000]
        total = report.totals["CMCC"]
        assert (total.settled, total.refunded, total.amount_minor, total.fee_minor) == (2, 1, 1200, 60)
        assert report.breaks == []


async def test_each_kind_of_break_is_found_and_named(world: World) -> None:
    seller = await world.reserved(3000)
    names = ("missing_there", "amount_differs", "status_differs", "done_twice", "in_flight", "missing_here")
    trades = {name: await world.traded(seller, quantity=100) for name in names}
    async with world.working():
        for trade in trades.values():
            await world.ended(trade.id)
    await _plant(world, trades)
    unknown = external_id(world.mark, "deliver", 10**9)
    await world.carrier.settle(str(seller.reservation_id), world.numbers[world.a_line()], 50, unknown)
    twice = external_id(world.mark, "deliver", trades["done_twice"].id)
    world.sim.faults(idempotent=False)
    await world.carrier.settle(str(seller.reservation_id), world.numbers[world.a_line()], 100, twice)

    with await reported(world) as report:
        assert causes(report, f"trd_{trades['missing_there'].id + 10**6}") == ["missing_there"]
        assert causes(report, f"trd_{trades['amount_differs'].id}") == ["amount_differs"]
        assert causes(report, f"trd_{trades['status_differs'].id}") == ["status_differs"]
        assert causes(report, f"trd_{trades['in_flight'].id}") == ["in_flight"]
        assert causes(report, twice) == ["done_twice"]
        assert causes(report, unknown) == ["missing_here"]


async def _plant(world: World, trades: dict[str, DeliveryRow]) -> None:
    """Falsify our books, one row for each kind of break."""
    lies: dict[str, dict[str, Any]] = {
        "missing_there": {"id": trades["missing_there"].id + 10**6},
        "amount_differs": {"quantity": 90},
        "status_differs": {"status": "refunded"},
        "in_flight": {"status": "pending"},
    }
    async with world.sessions.begin() as session:
        for name, lie in lies.items():
            await session.execute(update(DeliveryRow).where(DeliveryRow.id == trades[name].id).values(lie))


async def test_a_payment_that_only_one_side_has_is_a_break(world: World) -> None:
    theirs, _ = await a_paid_top_up(world)
    ours, other = await a_top_up(world), await a_top_up(world)
    async with world.sessions.begin() as session:
        await session.execute(update(PaymentRow).where(PaymentRow.id == theirs.id).values(status="declined"))
        await session.execute(
            update(PaymentRow).where(PaymentRow.id == ours.id).values(amount_minor=1500, captured_minor=1500)
        )
        held = await world.payments.authorise(
            customer=await world.payments.create_customer("buyer", fresh("key")), amount_minor=1000, currency="CNY",
            payment_method="pm_card_visa", reference="ref", key=fresh("key"), return_url="https://market.example/",
        )  # fmt: skip
        await session.execute(update(PaymentRow).where(PaymentRow.id == other.id).values(provider_id=held.id))

    with await reported(world) as report:
        assert causes(report, f"pay_{theirs.id}") == ["missing_here"]
        assert causes(report, f"pay_{ours.id}") == ["amount_differs"]
        assert "missing_there" in causes(report, f"pay_{other.id}")


async def test_a_carrier_that_does_not_answer_is_said_to_be_uncompared(world: World) -> None:
    seller = await world.reserved(500)
    trade = await world.traded(seller)
    async with world.working():
        await world.ended(trade.id)
    world.sim.faults(error_rate_percent=100)

    with await reported(world, "CMCC") as report:
        assert causes(report, "CMCC") == ["not_compared"]
        assert the_trade(report, trade).status == "settled"


async def test_a_carriers_report_is_about_its_own_trades(world: World) -> None:
    with await reported(world, "CTCC") as report:
        assert list(report.rows("trade")) == []
        assert list(report.rows("top_up")) == []


def a_report(*rows: Row) -> Report:
    day = datetime(2026, 11, 23, tzinfo=UTC).date()
    report = Report("CMCC", Span(day, day, SHANGHAI), datetime(2026, 11, 24, tzinfo=UTC), "CNY")
    for row in rows:
        report.add(row)
    return report


def a_row(**changes: object) -> Row:
    values = {
        "record": "trade",
        "id": "trd_1",
        "at": "2026-11-23T10:00:00+08:00",
        "carrier": "CMCC",
        "status": "settled",
    }
    return Row(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("evil", ["=1+1", "+1", "-1+2", "@cmd", "\t=1", "\r=1", " =1", "＝1+1", "\x00=1", "|x", "%x"])
def test_no_cell_is_a_formula(evil: str) -> None:
    assert cell(evil).startswith("'")


@pytest.mark.parametrize(
    ("value", "written"), [(-123, "-123"), (0, "0"), (None, ""), ("trd_1", "trd_1"), ("流量", "流量")]
)
def test_numbers_stay_numbers_and_plain_text_stays_plain(value: str | int | None, written: str) -> None:
    assert cell(value) == written


def test_the_csv_has_english_names_a_chinese_line_and_opens_in_excel() -> None:
    stream = io.StringIO(newline="")
    with a_report(a_row(reason="=HYPERLINK(1)", net_minor=-5)) as report:
        write_csv(report, stream)

    text = stream.getvalue()
    lines = list(csv.reader(io.StringIO(text.removeprefix(MARK), newline="")))
    assert text.startswith(MARK)
    assert lines[0] == list(COLUMNS)
    assert lines[1] == [HEADINGS[name] for name in COLUMNS]
    row = dict(zip(COLUMNS, lines[2], strict=True))
    assert (row["id"], row["reason"], row["net_minor"]) == ("trd_1", "'=HYPERLINK(1)", "-5")
    assert lines[-1][0] == "total"


def test_the_workbook_keeps_text_as_text_and_numbers_as_numbers() -> None:
    stream = io.BytesIO()
    with a_report(a_row(reason="=1+1", amount_minor=900), a_row(record="payout", id="wdr_1")) as report:
        write_xlsx(report, stream)

    book = openpyxl.load_workbook(stream)
    assert book.sheetnames == ["说明 About", *SHEETS.values()]
    trades = book[SHEETS["trade"]]
    names = [str(one.value).partition("\n")[2] for one in trades[1]]
    row = dict(zip(names, trades[2], strict=True))
    assert tuple(names) == COLUMNS
    assert (row["reason"].value, row["reason"].data_type) == ("=1+1", "s")
    assert (row["amount_minor"].value, row["amount_minor"].data_type) == (900, "n")


def test_json_carries_head_and_rows() -> None:
    stream = io.StringIO()
    with a_report(a_row(amount_minor=900)) as report:
        write_json(report, stream)

    document = json.loads(stream.getvalue())
    assert document["totals"]["CMCC"]["amount_minor"] == 900
    assert document["rows"][0]["id"] == "trd_1"
    assert document["rows"][-1]["record"] == "total"


def test_a_long_report_is_read_back_whole_from_its_spool() -> None:
    with a_report(*(a_row(id=f"trd_{number}", reason="字" * 300) for number in range(20_000))) as report:
        first, second = report.rows("trade"), report.rows("trade")
        assert next(first).id == next(second).id == "trd_0"
        assert sum(1 for _ in first) == 19_999
