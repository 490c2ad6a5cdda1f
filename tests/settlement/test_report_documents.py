"""The settlement report as a bank statement and as a document: valid, complete, and adding up."""

import io
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from settlement.report import Report, Row, Span, a_break
from settlement.report_camt053 import NAMESPACE, write_camt053
from settlement.report_pdf import MOST_ROWS, write_pdf
from tests.carrier.test_shapes import SPECIFICATIONS
from tests.settlement.schema import Schema
from tests.settlement.test_report import reported
from tests.settlement.world import World

SPAN = Span(date(2026, 11, 1), date(2026, 11, 30), ZoneInfo("Asia/Shanghai"))
AT = "2026-11-05T10:00:00+08:00"
XSD = SPECIFICATIONS / "iso20022" / "camt.053.001.08.xsd"
with_schema = pytest.mark.skipif(not XSD.exists(), reason="the schema is not there")

amounts = st.integers(0, 10**9)
texts = st.text(max_size=60)
trades = st.builds(
    lambda amount, share, status, number, reference: Row(
        record="trade", id=f"trd_{number}", at=AT, carrier="CMCC", asset="CMCC-CN-2611", quantity_mb=100,
        amount_minor=amount, fee_minor=amount * share // 100, net_minor=amount - amount * share // 100, currency="CNY",
        status=status, seller="party_3", buyer="party_4", our_reference=f"sf-abc-deliver-{number}",
        carrier_reference=reference, settled_at=AT if status == "settled" else None,
    ),
    amounts, st.integers(0, 20), st.sampled_from(["settled", "refunded", "pending"]), st.integers(1, 2**62), texts,
)  # fmt: skip
payments = st.builds(
    lambda record, amount, status, number: Row(
        record=record, id=f"pay_{number}", at=AT, amount_minor=amount, currency="CNY", status=status, buyer="party_4",
        payment_reference=f"tr_{'9' * 24} po_{'8' * 40}", our_reference=f"sf-{'m' * 20}-transfer-{number}",
    ),
    st.sampled_from(["top_up", "card_hold", "refund", "payout"]), amounts,
    st.sampled_from(["succeeded", "paid", "refused", "requested"]), st.integers(1, 2**62),
)  # fmt: skip


@cache
def schema() -> Schema:
    return Schema.of(XSD)


def a_report(*rows: Row) -> Report:
    report = Report("CMCC", SPAN, datetime(2026, 12, 1, tzinfo=UTC), "CNY")
    for row in rows:
        report.add(row)
    return report


def statement_of(report: Report) -> bytes:
    stream = io.StringIO()
    write_camt053(report, stream)
    return stream.getvalue().encode()


def minor(element: ET.Element, path: str) -> int:
    text = element.findtext(path.replace("/", f"/{{{NAMESPACE}}}").join((f"{{{NAMESPACE}}}", "")))
    assert text is not None, path
    return int(Decimal(text) * 100)


def signed(element: ET.Element) -> int:
    direction = element.findtext(f"{{{NAMESPACE}}}CdtDbtInd")
    return minor(element, "Amt") * (1 if direction == "CRDT" else -1)


def check_sums(document: bytes) -> list[ET.Element]:
    """Opening and entries come to closing, and the summary says so; gives the entries."""
    root = ET.fromstring(document)  # noqa: S314 - our own report
    opening, closing = root.iter(f"{{{NAMESPACE}}}Bal")
    entries = list(root.iter(f"{{{NAMESPACE}}}Ntry"))
    assert signed(opening) + sum(map(signed, entries)) == signed(closing)
    (summary,) = root.iter(f"{{{NAMESPACE}}}TxsSummry")
    assert summary.findtext(f"{{{NAMESPACE}}}TtlNtries/{{{NAMESPACE}}}NbOfNtries") == str(len(entries))
    assert minor(summary, "TtlCdtNtries/Sum") == sum(max(signed(entry), 0) for entry in entries)
    assert minor(summary, "TtlDbtNtries/Sum") == -sum(min(signed(entry), 0) for entry in entries)
    return entries


@with_schema
@given(rows=st.lists(trades | payments, max_size=12))
@settings(max_examples=40, deadline=None)
def test_any_report_is_a_valid_statement_that_adds_up(rows: list[Row]) -> None:
    with a_report(*rows) as report:
        document = statement_of(report)

    assert schema().problems(document) == []
    check_sums(document)


@with_schema
@pytest.mark.parametrize(
    ("pattern", "broken"),
    [
        (rb"<Sts><Cd>BOOK</Cd></Sts>", b""),
        (rb"<CdtDbtInd>CRDT</CdtDbtInd>", b"<CdtDbtInd>PLUS</CdtDbtInd>"),
        (rb"(<Ccy>CNY</Ccy>)(<Nm>[^<]*</Nm>)", rb"\2\1"),
        (rb' Ccy="CNY"', b""),
        (rb"<NtryRef>[^<]*", b"<NtryRef>" + b"x" * 36),
        (rb"<OPBD>|<Dt>2026", b"<Dt>26"),
    ],
)
def test_what_breaks_the_schema_is_noticed(pattern: bytes, broken: bytes) -> None:
    with a_report(Row(record="top_up", id="pay_1", at=AT, amount_minor=5, status="succeeded")) as report:
        document = statement_of(report)

    assert schema().problems(re.sub(pattern, broken, document, count=1)) != []


def test_a_trade_comes_to_nothing_and_money_from_outside_is_left() -> None:
    trade = Row(record="trade", id="trd_7", at=AT, carrier="CMCC", quantity_mb=100, amount_minor=900, fee_minor=45,
                net_minor=855, status="settled", buyer="party_4", seller="party_3", settled_at=AT)  # fmt: skip
    top_up = Row(record="top_up", id="pay_1", at=AT, amount_minor=1_000, status="succeeded")
    payout = Row(record="payout", id="wdr_2", at=AT, amount_minor=300, status="paid")
    unpaid = Row(record="payout", id="wdr_3", at=AT, amount_minor=500, status="requested")

    with a_report(trade, top_up, payout, unpaid) as report:
        entries = check_sums(statement_of(report))

    told = [(entry.findtext(f"{{{NAMESPACE}}}AcctSvcrRef"), signed(entry)) for entry in entries]
    assert told == [
        ("trd_7/paid", -900),
        ("trd_7/received", 855),
        ("trd_7/fee", 45),
        ("pay_1/top_up", 1_000),
        ("wdr_2/payout", -300),
    ]


async def test_a_day_of_the_market_is_a_statement_with_our_references(world: World) -> None:
    seller = await world.reserved(1000)
    sold = await world.traded(seller, quantity=300, amount_minor=900, fee_minor=45)
    async with world.working():
        await world.ended(sold.id)

    with await reported(world) as report:
        document = statement_of(report)
        pdf = io.BytesIO()
        write_pdf(report, pdf)

    check_sums(document)
    assert f"<EndToEndId>trd_{sold.id}</EndToEndId>".encode() in document
    if XSD.exists():
        assert schema().problems(document) == []
    assert pdf.getvalue().startswith(b"%PDF-")


def test_an_empty_report_and_a_long_one_make_documents() -> None:
    row = Row(record="trade", id="trd_1", at=AT, carrier="CMCC", quantity_mb=100, amount_minor=1, fee_minor=0,
              net_minor=1, status="settled", our_reference="#evil()", reason="=1+1")  # fmt: skip
    for report in (a_report(), a_report(*[row] * (MOST_ROWS + 5))):
        with report:
            report.add_break(a_break(SPAN, "trd_1", "missing_there", "*bold* $x$ 差异", AT))
            stream = io.BytesIO()
            write_pdf(report, stream)
        assert stream.getvalue().startswith(b"%PDF-")
        assert len(stream.getvalue()) < 8_000_000
