"""A wallet's statement as a file, in the language of whoever asks: CSV, workbook, or document."""

import csv
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from io import TextIOWrapper
from typing import IO, Any

import xlsxwriter
from babel.dates import format_date
from babel.numbers import get_currency_precision

from market.statements import Entry, Statement
from settlement.report_csv import MARK, cell
from settlement.typesetting import typeset
from web.i18n import CLOCK, N_, amount, catalogue, moment, number, plain, tag, translated
from web.pages.words import ENTRIES, word

MOST_IN_DOCUMENT = 1_000
"""Entries of one PDF: some thirty pages, and a second and a half of work. It says so when there are more."""
MOST_IN_WORKBOOK = 20_000
COLUMNS = (N_("When"), N_("What"), N_("Reference"), N_("Change"), N_("Set aside"), N_("Our fee"), N_("Balance"))
TOTALS = (N_("What"), N_("Entries"), N_("In"), N_("Out"), N_("Our fee"))
CUT = N_("Only the first %(shown)s of %(all)s entries are shown here. The sums are of all, and the CSV file has all.")
_DOCUMENT = """
= #data.title
#quiet(data.about)
#v(0.6em)
#facts(data.facts)
== #data.totals_title
#columned((1fr, auto, auto, auto, auto), (1, 2, 3, 4), data.totals_head, data.totals)
== #data.entries_title
#if data.cut != "" [#quiet(data.cut) #v(0.3em)]
#columned((auto, 1fr, 1fr, auto, auto, auto, auto), (3, 4, 5, 6), data.head, data.rows)
#v(0.8em)
#quiet(data.note)
"""


@dataclass(frozen=True)
class Words:
    """What a statement says, in one language."""

    locale: str

    def __call__(self, message: str) -> str:
        return translated(self.locale, message)

    def title(self, statement: Statement) -> str:
        first = statement.month.since.date()
        month = format_date(first, "yyyy年M月" if self.locale == "zh_CN" else "MMMM yyyy", locale=self.locale)
        return self(N_("Statement of %(month)s")) % {"month": month}

    def facts(self, statement: Statement) -> Iterator[tuple[str, str]]:
        """What stands at the top, name by value."""
        yield self(N_("Account of")), f"{statement.member.name} (party_{statement.member.party_id})"
        first, last = statement.month.since.date(), statement.month.until.date() - timedelta(days=1)
        days = (format_date(each, "medium", locale=self.locale) for each in (first, last))
        yield self(N_("Days, Beijing time")), " – ".join(days)
        made = moment(statement.made_at, self.locale)
        running = self(N_("The month is not over yet."))
        yield self(N_("Made")), f"{made} · {running}" if statement.is_running else made
        yield self(N_("Currency")), statement.currency
        for name, minor in self.figures(statement):
            yield name, amount(minor, statement.currency, self.locale)

    def figures(self, statement: Statement) -> Iterator[tuple[str, int]]:
        """The sums, in minor units."""
        yield self(N_("Opening balance")), statement.opening_minor
        yield self(N_("Came in")), statement.in_minor
        yield self(N_("Went out")), -statement.out_minor
        yield self(N_("Closing balance")), statement.closing_minor
        yield self(N_("of which set aside")), statement.held_minor
        yield self(N_("Our fees, taken off what sales brought")), statement.fee_minor

    def kind(self, code: str) -> str:
        return word(ENTRIES, code, self.locale)

    def cut(self, shown: int, statement: Statement) -> str:
        """What a document says that does not hold every entry; nothing when it does."""
        if shown >= statement.entries:
            return ""
        return self(CUT) % {"shown": number(shown, self.locale), "all": number(statement.entries, self.locale)}

    def counted(self, statement: Statement) -> str:
        words = catalogue(self.locale).ngettext("%(num)s entry", "%(num)s entries", statement.entries)
        return words % {"num": number(statement.entries, self.locale)}


async def write_csv(statement: Statement, entries: AsyncIterator[Entry], stream: IO[bytes], locale: str) -> None:
    """Every entry, between a line with the opening and one with the closing balance. UTF-8 with its mark."""
    words, currency = Words(locale), statement.currency
    lines_to = TextIOWrapper(stream, encoding="utf-8", newline="")
    lines_to.write(MARK)
    lines = csv.writer(lines_to, lineterminator="\r\n")
    lines.writerow(["at", "kind", "what", "reference", "change", "set_aside", "fee", "balance_after", "currency"])
    opening = plain(statement.opening_minor, currency)
    lines.writerow([statement.month.since.isoformat(), "opening", words(N_("Opening balance")), "", "", "", "", opening,
                    currency])  # fmt: skip
    async for entry in entries:
        amounts = (entry.change_minor, entry.held_minor, entry.fee_minor, entry.balance_minor)
        told = [entry.at.astimezone(CLOCK).isoformat(), entry.kind, cell(words.kind(entry.kind)), cell(entry.reference)]
        lines.writerow([*told, *(plain(minor, currency) for minor in amounts), currency])
    closing = plain(statement.closing_minor, currency)
    lines.writerow([statement.month.until.isoformat(), "closing", words(N_("Closing balance")), "", "", "", "", closing,
                    currency])  # fmt: skip
    lines_to.flush()
    lines_to.detach()


def write_xlsx(statement: Statement, entries: list[Entry], stream: IO[bytes], locale: str) -> None:
    """A sheet with the sums and a sheet with the entries. Amounts are numbers, in the currency's major unit."""
    words = Words(locale)
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(stream, options) as book:
        bold = book.add_format({"bold": True, "text_wrap": True, "bg_color": "#E8EEF4"})
        wrapped = book.add_format({"text_wrap": True, "valign": "top"})
        money = book.add_format({"num_format": "#,##0." + "0" * get_currency_precision(statement.currency)})
        clock = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss", "valign": "top", "align": "left"})
        _write_sums(book.add_worksheet(words(N_("Sums"))), statement, words, (bold, wrapped, money))
        _write_entries(
            book.add_worksheet(words(N_("Entries"))), statement, entries, words, (bold, wrapped, money, clock)
        )


Formats = tuple[Any, ...]


def _write_sums(sheet: Any, statement: Statement, words: Words, formats: Formats) -> None:
    bold, wrapped, money = formats
    sheet.set_column(0, 0, 34)
    sheet.set_column(1, 4, 22)
    sheet.write_string(0, 0, words.title(statement), bold)
    amounts = dict(words.figures(statement))
    row = 1
    for name, value in words.facts(statement):
        sheet.write_string(row, 0, name, wrapped)
        if name in amounts:
            sheet.write_number(row, 1, _major(amounts[name], statement), money)
        else:
            sheet.write_string(row, 1, value, wrapped)
        row += 1
    row += 1
    for column, name in enumerate(TOTALS):
        sheet.write_string(row, column, words(name), bold)
    for total in statement.totals:
        row += 1
        sheet.write_string(row, 0, words.kind(total.kind), wrapped)
        sheet.write_number(row, 1, total.entries)
        for column, minor in enumerate((total.in_minor, total.out_minor, total.fee_minor), start=2):
            sheet.write_number(row, column, _major(minor, statement), money)


def _write_entries(sheet: Any, statement: Statement, entries: list[Entry], words: Words, formats: Formats) -> None:
    bold, wrapped, money, clock = formats
    scale = Decimal(1).scaleb(-get_currency_precision(statement.currency))
    sheet.set_column(0, 2, 24)
    sheet.set_column(3, 6, 14)
    sheet.freeze_panes(1, 0)
    for column, name in enumerate(COLUMNS):
        sheet.write_string(0, column, words(name), bold)
    row = 0
    for row, entry in enumerate(entries, start=1):
        sheet.write_datetime(row, 0, entry.at.astimezone(CLOCK).replace(tzinfo=None), clock)
        sheet.write_string(row, 1, words.kind(entry.kind), wrapped)
        sheet.write_string(row, 2, entry.reference, wrapped)
        amounts = (entry.change_minor, entry.held_minor, entry.fee_minor, entry.balance_minor)
        for column, minor in enumerate(amounts, start=3):
            sheet.write_number(row, column, minor * scale, money)
    if cut := words.cut(len(entries), statement):
        sheet.write_string(row + 1, 0, cut)


def as_pdf(statement: Statement, entries: list[Entry], locale: str) -> bytes:
    """A document to print and to keep. It takes a while: call it in a thread."""
    words, currency = Words(locale), statement.currency

    def shown(minor: int) -> str:
        return amount(minor, currency, locale) if minor else "–"

    return typeset(
        _DOCUMENT,
        {
            "lang": tag(locale)[:2],
            "title": words.title(statement),
            "about": " · ".join([words(N_("Surplusflow")), words(N_("Wallet")), words.counted(statement)]),
            "facts": list(words.facts(statement)),
            "totals_title": words(N_("By kind")),
            "totals_head": [words(name) for name in TOTALS],
            "totals": [
                [words.kind(each.kind), number(each.entries, locale), *map(shown, (each.in_minor, each.out_minor,
                                                                                  each.fee_minor))]
                for each in statement.totals
            ],
            "entries_title": words(N_("Entries")),
            "cut": words.cut(len(entries), statement),
            "head": [words(name) for name in COLUMNS],
            "rows": [
                [moment(each.at, locale), words.kind(each.kind), each.reference, shown(each.change_minor),
                 shown(each.held_minor), shown(each.fee_minor), amount(each.balance_minor, currency, locale)]
                for each in entries
            ],
            "note": words(N_("Balances count what is set aside for orders and deliveries; it is still yours.")),
        },
    )  # fmt: skip


def _major(minor: int, statement: Statement) -> Decimal:
    """A workbook's numbers have fifteen digits, which is more than any wallet holds."""
    return Decimal(minor).scaleb(-get_currency_precision(statement.currency))
