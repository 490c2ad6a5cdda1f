"""Statements of a wallet: figures that agree with the ledger whatever moved when, and files that open."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar import Litestar
from sqlalchemy import text

from market import statements
from market.parties import Member
from market.statements import Entry, Month, Statement
from settlement.ledger import Kind
from tests.pages.test_orders import counted
from tests.web.making import Market
from web import statement_files
from web.i18n import CLOCK

LONG_NAME = "深圳市前海某某供应链管理与国际信息技术服务股份有限公司华南区第二分公司 " * 2
NOW = datetime.now(UTC)
_POST = text("""
    with transfer as materialized (select nextval('transfer_number') as id)
    insert into posting (transfer_id, account_id, kind, reference, available_change, held_change, at)
    select transfer.id, side.account, :kind, :reference, side.available, side.held, :at
    from transfer cross join unnest(
        cast(:accounts as bigint[]), cast(:available as bigint[]), cast(:held as bigint[])
    ) as side (account, available, held)
""")
_MOVE = text("""
    update account set available = available + :available, held = held + :held where id = :account
""")
_ACCOUNTS = text("""
    select max(account.id) filter (where account.party_id = :party and account.kind = 'wallet') as wallet,
        max(account.id) filter (where account.party_id <> :party and account.kind = 'provider') as provider
    from account join asset on asset.id = asset_id where asset.code = 'CNY'
""")
moves = st.lists(
    st.tuples(st.integers(-500, 900), st.booleans(), st.integers(0, 120), st.sampled_from([40, 51, 53, 90])),
    max_size=25,
)


async def post(app: Litestar, party: int, steps: Sequence[tuple[int, bool, int, int]]) -> int:
    """Postings of the last months: amounts that come or go, or are held; gives what the wallet has in the end."""
    async with app.state.venue.sessions.begin() as session:
        found = (await session.execute(_ACCOUNTS, {"party": party})).one()
        for number, (amount, is_hold, days, kind) in enumerate(steps):
            at = NOW - timedelta(days=days, minutes=number)
            code = int(Kind.HOLD) if is_hold else kind
            held = abs(amount) if is_hold else 0
            changes = [{"account": found.wallet, "available": -held if is_hold else amount, "held": held}]
            if not is_hold:
                changes.append({"account": found.provider, "available": -amount, "held": 0})
            reference = f"test_{party}_{number}_{NOW.timestamp()}_{len(steps)}"
            sides = {
                "accounts": [change["account"] for change in changes],
                "available": [change["available"] for change in changes],
                "held": [change["held"] for change in changes],
            }
            await session.execute(_POST, {"kind": code, "reference": reference, "at": at, **sides})
            await session.execute(_MOVE, changes)
        balance = text("select available + held from account where id = :account")
        return int(await session.scalar(balance, {"account": found.wallet}) or 0)


async def read(app: Litestar, party: int, month: Month) -> tuple[Statement, list[Entry]]:
    member = Member(party, party, "subscriber", "Somebody", "en")
    async with statements.snapshot(app.state.venue) as session:
        statement = await statements.head(session, member, month, "CNY")
        return statement, [entry async for entry in statements.entries(session, statement)]


async def a_party(app: Litestar, **more: Any) -> int:
    """Somebody whom no browser belongs to."""
    return (await Market(None, app.state.venue).partner(kind="subscriber", **more)).party_id  # type: ignore[arg-type]


@given(steps=moves)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_balances_of_all_months_join_and_end_at_the_ledgers(
    page_app: Litestar, steps: list[tuple[int, bool, int, int]]
) -> None:
    party = await a_party(page_app, money_minor=100_000)
    balance = await post(page_app, party, steps)

    month, expected_closing = Month.of(NOW, CLOCK), balance
    for _ in range(7):
        statement, entries = await read(page_app, party, month)
        assert statement.closing_minor == expected_closing
        assert statement.opening_minor + sum(entry.change_minor for entry in entries) == statement.closing_minor
        assert statement.opening_minor + statement.in_minor - statement.out_minor == statement.closing_minor
        assert [entry.balance_minor for entry in entries[-1:]] in ([], [statement.closing_minor])
        assert statement.entries == len(entries)
        month, expected_closing = month.before, statement.opening_minor
    assert expected_closing == 0


async def test_the_page_tells_the_month_and_offers_three_files(signed_in: Any, page_app: Litestar) -> None:
    browser = await signed_in(money_minor=12_345)
    await post(page_app, browser.party_id, [(-300, False, 40, 51), (700, False, 70, 40)])

    await browser.get("/wallet/statement")
    assert 'data-opening="400"' in browser.text
    assert 'data-closing="12745"' in browser.text
    before = Month.of(NOW, CLOCK).before
    await browser.get(f"/wallet/statement?month={before.name}")
    assert f'<option value="{before.name}" selected>' in browser.text
    assert 'data-closing="400"' in browser.text
    for form in ("pdf", "xlsx", "csv"):
        assert f'href="/wallet/statement.{form}?month={before.name}"' in browser.text


@pytest.mark.parametrize("month", ["nonsense", "2026-13", "0001-01", "9999-12", "2026-11-01"])
async def test_a_month_that_is_none_is_refused_in_words(signed_in: Any, month: str) -> None:
    browser = await signed_in()

    assert (await browser.get(f"/wallet/statement?month={month}")).status_code in {200, 400}
    assert (await browser.get(f"/wallet/statement.csv?month={month}")).status_code in {200, 400}
    assert (await browser.get("/wallet/statement?month=nonsense")).status_code == 400
    assert "Please choose a month." in browser.text


async def test_the_three_files_say_the_same_and_open(signed_in: Any, page_app: Litestar) -> None:
    browser = await signed_in(money_minor=50_000)
    await post(page_app, browser.party_id, [(-1_234, False, 0, 51), (200, True, 0, 1), (999, False, 0, 90)])
    statement, entries = await read(page_app, browser.party_id, Month.of(NOW, CLOCK))

    lines = list(csv.DictReader(io.StringIO((await browser.get("/wallet/statement.csv")).text.removeprefix("\ufeff"))))
    book = openpyxl.load_workbook(io.BytesIO((await browser.get("/wallet/statement.xlsx")).content))
    document = await browser.get("/wallet/statement.pdf")

    assert [line["kind"] for line in lines[1:-1]] == [entry.kind for entry in entries]
    assert lines[-1]["balance_after"] == f"{statement.closing_minor / 100:.2f}"
    rows = list(book.worksheets[1].iter_rows(min_row=2, values_only=True))
    assert [round(float(str(row[6])) * 100) for row in rows] == [entry.balance_minor for entry in entries]
    assert [str(row[2]) for row in rows] == [entry.reference for entry in entries]
    assert document.headers["content-type"].startswith("application/pdf")
    assert document.content.startswith(b"%PDF-")
    assert "statement-" in document.headers["content-disposition"]


async def test_a_formula_in_a_reference_stays_text_in_every_file(page_app: Litestar) -> None:
    party = await a_party(page_app)
    statement, entries = await read(page_app, party, Month.of(NOW, CLOCK))
    evil = [Entry(1, NOW, "=cmd|' /C calc'!A0", "#set page(); =1+1", 5, 0, 0, 5), *entries]

    async def feed() -> Any:
        for entry in evil:
            yield entry

    text_file, book_file = io.BytesIO(), io.BytesIO()
    await statement_files.write_csv(statement, feed(), text_file, "en")
    statement_files.write_xlsx(statement, evil, book_file, "en")

    assert ",'=cmd" in text_file.getvalue().decode()
    cells = openpyxl.load_workbook(book_file).worksheets[1]
    assert (cells["B2"].data_type, cells["B2"].value) == ("s", "=cmd|' /C calc'!A0")
    assert statement_files.as_pdf(statement, evil, "en").startswith(b"%PDF-")


async def test_a_long_name_and_a_long_month_are_cut_and_say_so(page_app: Litestar) -> None:
    party = await a_party(page_app)
    statement, (first, *_) = await read(page_app, party, Month.of(NOW, CLOCK))
    many = [first] * statement_files.MOST_IN_DOCUMENT
    long = Statement(
        Member(party, party, "partner", LONG_NAME, "zh_CN"), statement.month, "CNY", NOW, 0, 5, 0,
        (statements.Total("topped_up", 5_000, 5, 0, 0),),
    )  # fmt: skip

    document = statement_files.as_pdf(long, many, "zh_CN")

    assert document.startswith(b"%PDF-")
    assert len(document) < 5_000_000
    assert "1,000" in statement_files.Words("en").cut(len(many), long)


async def test_files_are_made_so_often_and_no_oftener(signed_in: Any) -> None:
    browser = await signed_in()

    answers = [(await browser.get("/wallet/statement.csv")).status_code for _ in range(12)]

    assert answers[:10] == [200] * 10
    assert answers[-1] == 429


async def test_ten_thousand_entries_cost_the_page_what_a_few_do(signed_in: Any, page_app: Litestar) -> None:
    browser = await signed_in()
    await browser.get("/wallet/statement")
    with counted(page_app) as few:
        await browser.get("/wallet/statement")
    async with page_app.state.venue.sessions.begin() as session:
        found = (await session.execute(_ACCOUNTS, {"party": browser.party_id})).one()
        many = text("""
            insert into posting (transfer_id, account_id, kind, reference, available_change, held_change, at)
            select nextval('transfer_number'), :account, 1 + n % 2, 'ord_' || n, 1 - 2 * (n % 2), 2 * (n % 2) - 1, now()
            from generate_series(1, 10000) n
        """)
        await session.execute(many, {"account": found.wallet})

    with counted(page_app) as grown:
        await browser.get("/wallet/statement")

    assert len(grown) == len(few)
    assert browser.text.count('data-testid="statement-row"') == 200
    assert "Only the first 200 of 10,001 entries" in browser.text
    lines = (await browser.get("/wallet/statement.csv")).text.splitlines()
    assert len(lines) == 10_001 + 3
