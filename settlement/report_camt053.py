"""A settlement report as a bank statement, ISO 20022 camt.053.001.08: the money that was settled, entry by entry.

It is a turnover statement: its balance counts from zero on the first day. A trade is
what its buyer paid, what its seller received and our fee, and comes to nothing; top-ups
and card payments bring money in, refunds and payouts take it out. What has not ended,
releases and breaks are no booked money and are not in it; the other formats have them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Final, Literal, NamedTuple, TextIO
from xml.sax.saxutils import XMLGenerator
from xml.sax.xmlreader import AttributesImpl

from babel.numbers import get_currency_precision

from settlement.report import Report, Row

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"
ISSUER = "surplusflow"
LONGEST_REFERENCE = 35
LONGEST_INFORMATION = 500
Direction = Literal["CRDT", "DBIT"]
CREDIT: Final = "CRDT"
DEBIT: Final = "DBIT"
PARTY_OF = {"Dbtr": "buyer", "Cdtr": "seller"}


class Entry(NamedTuple):
    """One booked movement, in minor units."""

    code: str
    """What it was: ``paid`` and ``received`` of a trade, ``fee``, ``top_up``, ``card``, ``refund`` or ``payout``."""
    direction: Direction
    amount_minor: int
    row: Row


@dataclass(slots=True)
class _Sums:
    """What the entries come to."""

    credits: int = 0
    debits: int = 0
    credit_minor: int = 0
    debit_minor: int = 0

    def add(self, entry: Entry) -> None:
        if entry.direction == CREDIT:
            self.credits += 1
            self.credit_minor += entry.amount_minor
        else:
            self.debits += 1
            self.debit_minor += entry.amount_minor

    @property
    def net_minor(self) -> int:
        return self.credit_minor - self.debit_minor


@dataclass
class _Writer:
    """XML, element by element, with everything escaped."""

    stream: TextIO
    _xml: XMLGenerator = field(init=False)

    def __post_init__(self) -> None:
        # It takes a stream of text as well, which its types don't say.
        self._xml = XMLGenerator(self.stream, encoding="UTF-8", short_empty_elements=True)  # type: ignore[arg-type]
        self._xml.startDocument()

    @contextmanager
    def within(self, name: str, **attributes: str) -> Iterator[None]:
        self._xml.startElement(name, AttributesImpl(attributes))
        yield
        self._xml.endElement(name)

    def text(self, path: str, value: str, **attributes: str) -> None:
        """An element with a text, inside others when the path has several names."""
        *around, name = path.split("/")
        for each in around:
            self._xml.startElement(each, AttributesImpl({}))
        self._xml.startElement(name, AttributesImpl(attributes))
        self._xml.characters(_printable(value))
        self._xml.endElement(name)
        for each in reversed(around):
            self._xml.endElement(each)


def write_camt053(report: Report, stream: TextIO) -> None:
    """Write the whole report, row by row: it is read twice, for its sums stand before its entries."""
    sums = _Sums()
    for entry in entries_of(report):
        sums.add(entry)
    out = _Writer(stream)
    with out.within("Document", xmlns=NAMESPACE), out.within("BkToCstmrStmt"):
        name = _reference(f"{report.carrier}-{report.span.first_day:%Y%m%d}-{report.span.last_day:%Y%m%d}")
        with out.within("GrpHdr"):
            out.text("MsgId", _reference(f"{name}-{report.made_at:%H%M%S}"))
            out.text("CreDtTm", report.span.moment(report.made_at) or "")
        with out.within("Stmt"):
            _write_head(out, report, name)
            _write_balance(out, report, "OPBD", 0, report.span.first_day.isoformat())
            _write_balance(out, report, "CLBD", sums.net_minor, report.span.last_day.isoformat())
            _write_summary(out, report, sums)
            for entry in entries_of(report):
                _write_entry(out, report, entry)
            out.text("AddtlStmtInf", _about(report))


def entries_of(report: Report) -> Iterator[Entry]:
    """The booked money of a report, in its order."""
    for row in report.rows():
        amount = row.amount_minor or 0
        match row.record:
            case "trade" if row.status == "settled":
                yield Entry("paid", DEBIT, amount, row)
                yield Entry("received", CREDIT, row.net_minor or 0, row)
                if row.fee_minor:
                    yield Entry("fee", CREDIT, row.fee_minor, row)
            case "top_up" if row.status in {"succeeded", "refunded"}:
                yield Entry("top_up", CREDIT, amount, row)
            case "card_hold" if amount:
                yield Entry("card", CREDIT, amount, row)
            case "refund":
                yield Entry("refund", DEBIT, amount, row)
            case "payout" if row.status == "paid":
                yield Entry("payout", DEBIT, amount, row)


def _write_head(out: _Writer, report: Report, name: str) -> None:
    out.text("Id", name)
    out.text("CreDtTm", report.span.moment(report.made_at) or "")
    with out.within("FrToDt"):
        out.text("FrDtTm", report.span.since.isoformat())
        out.text("ToDtTm", (report.span.until - timedelta(seconds=1)).isoformat())
    with out.within("Acct"):
        out.text("Id/Othr/Id", f"SETTLEMENT-{report.carrier}")
        out.text("Ccy", report.currency)
        out.text("Nm", "Settlement turnover")


def _write_balance(out: _Writer, report: Report, code: str, minor: int, day: str) -> None:
    with out.within("Bal"):
        out.text("Tp/CdOrPrtry/Cd", code)
        out.text("Amt", _major(report, abs(minor)), Ccy=report.currency)
        out.text("CdtDbtInd", DEBIT if minor < 0 else CREDIT)
        out.text("Dt/Dt", day)


def _write_summary(out: _Writer, report: Report, sums: _Sums) -> None:
    with out.within("TxsSummry"):
        with out.within("TtlNtries"):
            out.text("NbOfNtries", str(sums.credits + sums.debits))
            out.text("Sum", _major(report, sums.credit_minor + sums.debit_minor))
            with out.within("TtlNetNtry"):
                out.text("Amt", _major(report, abs(sums.net_minor)))
                out.text("CdtDbtInd", DEBIT if sums.net_minor < 0 else CREDIT)
        for name, count, minor in (
            ("TtlCdtNtries", sums.credits, sums.credit_minor),
            ("TtlDbtNtries", sums.debits, sums.debit_minor),
        ):
            with out.within(name):
                out.text("NbOfNtries", str(count))
                out.text("Sum", _major(report, minor))


def _write_entry(out: _Writer, report: Report, entry: Entry) -> None:
    row, amount = entry.row, _major(report, entry.amount_minor)
    with out.within("Ntry"):
        out.text("NtryRef", _reference(row.id))
        out.text("Amt", amount, Ccy=report.currency)
        out.text("CdtDbtInd", entry.direction)
        out.text("Sts/Cd", "BOOK")
        out.text("BookgDt/DtTm", row.settled_at or row.at)
        out.text("ValDt/DtTm", row.settled_at or row.at)
        out.text("AcctSvcrRef", _reference(f"{row.id}/{entry.code}"))
        with out.within("BkTxCd"), out.within("Prtry"):
            out.text("Cd", entry.code)
            out.text("Issr", ISSUER)
        with out.within("NtryDtls"), out.within("TxDtls"):
            _write_details(out, report, entry, amount)


def _write_details(out: _Writer, report: Report, entry: Entry, amount: str) -> None:
    row = entry.row
    references = {
        "our_reference": row.our_reference,
        "carrier": row.carrier_reference,
        **{f"payment_{number}": each for number, each in enumerate((row.payment_reference or "").split(), start=1)},
    }
    printable = {name: _printable(value or "").strip() for name, value in references.items()}
    held = {name: value for name, value in printable.items() if value}
    with out.within("Refs"):
        out.text("EndToEndId", _reference(row.id))
        for name, value in held.items():
            if len(value) <= LONGEST_REFERENCE:
                with out.within("Prtry"):
                    out.text("Tp", name)
                    out.text("Ref", value)
    out.text("Amt", amount, Ccy=report.currency)
    out.text("CdtDbtInd", entry.direction)
    parties = [(role, getattr(row, name)) for role, name in PARTY_OF.items() if getattr(row, name)]
    if parties:
        with out.within("RltdPties"):
            for role, party in parties:
                out.text(f"{role}/Pty/Id/PrvtId/Othr/Id", party)
    long = "; ".join(f"{name}: {value}" for name, value in held.items() if len(value) > LONGEST_REFERENCE)
    told = "; ".join(part for part in (row.carrier or "", row.asset or "", _quantity(row), long) if part)
    if told:
        out.text("AddtlTxInf", told[:LONGEST_INFORMATION])


def _quantity(row: Row) -> str:
    return "" if row.quantity_mb is None else f"{row.quantity_mb} {'MB' if row.carrier else 'coins'}"


def _about(report: Report) -> str:
    return (
        "Turnover of the settled money of these days; balances count from zero on the first day. A trade is what the "
        "buyer paid, what the seller received and the fee. "
        f"Not booked and not in here: {report.counts['release']} releases, what has not ended, and "
        f"{report.counts['break']} breaks."
    )[:LONGEST_INFORMATION]


def _reference(text: str) -> str:
    assert len(text) <= LONGEST_REFERENCE, text
    return text


def _printable(text: str) -> str:
    """Without what XML cannot hold, escaped or not."""
    return "".join(
        each
        for each in text
        if each in "\t\n\r" or (each >= " " and not "\ud800" <= each <= "\udfff" and each not in "\ufffe\uffff")
    )


def _major(report: Report, minor: int) -> str:
    return f"{Decimal(minor).scaleb(-get_currency_precision(report.currency)):f}"
