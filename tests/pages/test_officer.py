"""The compliance desk: who sees what, the report as page and file, and the halt switch."""

import io
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from litestar import Litestar
from openpyxl import load_workbook
from sqlalchemy import select

from market.refusals import BadInput, Forbidden
from market.session_tables import SessionRow
from market.tables import AuditLinkRow, InstrumentRow, OfficerRow
from tests.pages.conftest import Browser

DATA = "CMCC-CN-3001"
DAYS = "carrier=all&from=2026-11-01&to=2026-11-30"

SignsIn = Callable[..., Awaitable[Browser]]


@pytest.fixture
def officer(page_app: Litestar, browsers: Callable[[], Browser]) -> SignsIn:
    """Sign a new officer in."""

    async def enter(carrier: str | None = None, role: str = "compliance") -> Browser:
        browser = browsers()
        async with page_app.state.venue.sessions.begin() as session:
            taken = len(list(await session.scalars(select(OfficerRow.id))))
            row = OfficerRow(login=f"officer{taken}", password_hash="-", role=role, carrier=carrier)
            session.add(row)
            await session.flush()
            number = row.id
        await browser.get("/officer/sign-in")
        await browser.post(f"/tests/officers/{number}", browser.shown["/preferences"])
        await browser.get("/officer")
        return browser

    return enter


async def test_an_officer_of_the_house_sees_every_market(officer: SignsIn) -> None:
    browser = await officer()

    assert browser.text.count("<option") > 2
    assert f'value="{DATA}"' in browser.text
    assert 'value="COIN"' in browser.text


async def test_an_officer_of_a_carrier_sees_that_carrier_alone(officer: SignsIn) -> None:
    browser = await officer("CUCC")

    assert f'value="{DATA}"' not in browser.text
    assert 'value="all"' not in browser.text
    response = await browser.get(f"/officer/report?{DAYS}")
    assert response.status_code == 403
    assert 'id="report-carrier-error"' in response.text
    assert (await browser.get(f"/officer/report.csv?{DAYS}")).status_code == 403


async def test_an_officers_session_is_no_members(officer: SignsIn) -> None:
    browser = await officer()

    response = await browser.get("/wallet")

    assert response.url.path == "/sign-in"


async def test_the_report_is_shown_with_its_breaks(officer: SignsIn) -> None:
    browser = await officer()

    await browser.get(f"/officer/report?{DAYS}")

    assert 'value="2026-11-01"' in browser.text
    assert "Breaks" in browser.text


async def test_the_report_comes_as_csv(officer: SignsIn) -> None:
    browser = await officer()

    response = await browser.get(f"/officer/report.csv?{DAYS}")

    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"] == (
        'attachment; filename="settlement-all-2026-11-01-2026-11-30.csv"'
    )
    assert "record" in response.text.splitlines()[0]


async def test_the_report_comes_as_a_workbook(officer: SignsIn) -> None:
    browser = await officer()

    response = await browser.get(f"/officer/report.xlsx?{DAYS}")

    assert load_workbook(io.BytesIO(response.content)).sheetnames


async def test_who_took_a_report_is_on_the_audit_trail(officer: SignsIn, page_app: Litestar) -> None:
    browser = await officer()

    await browser.get(f"/officer/report.csv?{DAYS}")

    newest = select(AuditLinkRow.payload).where(AuditLinkRow.chain == "house").order_by(AuditLinkRow.number.desc())
    async with page_app.state.venue.sessions() as session:
        payload = await session.scalar(newest.limit(1))
    assert payload is not None
    assert b'"action":"download"' in payload
    assert b'"form":"csv"' in payload


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("carrier=all&from=nonsense&to=2026-11-30", "report-from"),
        ("carrier=all&from=2026-11-30&to=2026-11-01", "report-to"),
        ("carrier=XXXX&from=2026-11-01&to=2026-11-30", "report-carrier"),
    ],
)
async def test_a_report_that_cannot_be_made_says_why_beside_its_field(officer: SignsIn, query: str, field: str) -> None:
    browser = await officer()

    response = await browser.get(f"/officer/report?{query}")

    assert response.status_code == 400
    assert f'id="{field}-error"' in response.text


async def test_a_market_is_halted_with_a_reason_and_opened_again(officer: SignsIn, page_app: Litestar) -> None:
    browser = await officer()

    await browser.send("/officer/markets", symbol=DATA, state="halted", reason="Odd prices since noon.")
    assert f'data-testid="halted-{DATA}"' in browser.text
    await browser.get(f"/instruments/{DATA}")
    assert 'data-testid="market-state" data-state="halted"' in browser.text

    await browser.get("/officer")
    await browser.send("/officer/markets", symbol=DATA, state="open", reason="It was a mistake.")
    assert f'data-testid="halted-{DATA}"' not in browser.text
    async with page_app.state.venue.sessions() as session:
        links = await session.scalars(select(AuditLinkRow.payload).order_by(AuditLinkRow.number))
        kept = b"".join(payload or b"" for payload in links)
    assert b"Odd prices since noon." in kept
    assert b"It was a mistake." in kept


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"reason": ""}, BadInput.status, "reason"),
        ({"reason": "Called +8613800138000."}, BadInput.status, "reason"),
        ({"state": "closed", "reason": "For good."}, BadInput.status, "state"),
    ],
)
async def test_a_switch_that_may_not_be_is_refused_beside_its_field(
    officer: SignsIn, changes: dict[str, str], status: int, field: str
) -> None:
    browser = await officer()

    response = await browser.send("/officer/markets", {"symbol": DATA, "state": "halted", **changes})

    assert response.status_code == status
    assert f'id="switch-{field}-error"' in response.text


async def test_an_officer_halts_no_other_carriers_market(officer: SignsIn) -> None:
    browser = await officer("CUCC")

    response = await browser.send("/officer/markets", symbol=DATA, state="halted", reason="Because.")

    assert response.status_code == Forbidden.status


async def test_the_page_shows_how_each_market_stands_and_what_comes_next(officer: SignsIn, page_app: Litestar) -> None:
    async with page_app.state.venue.sessions.begin() as session:
        instrument_id = await session.scalar(select(InstrumentRow.id).where(InstrumentRow.symbol == DATA))
        begins_at = datetime.now(UTC) + timedelta(days=1)
        session.add(
            SessionRow(
                instrument_id=instrument_id,
                kind="closing",
                begins_at=begins_at,
                ends_at=begins_at + timedelta(minutes=10),
                window_seconds=60,
            )
        )
    browser = await officer()

    assert f'data-testid="session-{DATA}" data-next="closing"' in browser.text
    assert 'data-testid="session-COIN" data-next="close"' in browser.text


async def test_an_operations_officer_halts_every_market_by_a_form_and_opens_them_again(officer: SignsIn) -> None:
    browser = await officer(role="operations")

    await browser.send("/officer/markets/halt", reason="The carrier's clearing is down.", confirmed="yes")
    assert "Every market is halted" in browser.text
    assert {f'data-testid="halted-{symbol}"' in browser.text for symbol in (DATA, "COIN")} == {True}
    await browser.get("/officer")
    await browser.send("/officer/markets/open", reason="It is up again.", confirmed="yes")

    assert "What the switch had halted goes on" in browser.text
    assert 'data-testid="halted-' not in browser.text


async def test_halting_every_market_has_to_be_confirmed(officer: SignsIn) -> None:
    browser = await officer(role="operations")

    response = await browser.send("/officer/markets/halt", reason="Because.")

    assert response.status_code == BadInput.status
    assert 'id="all-halted-confirmed-error"' in response.text
    assert 'value="Because."' in response.text
    assert 'data-testid="halted-' not in (await browser.get("/officer")).text


@pytest.mark.parametrize("who", [{"role": "compliance"}, {"role": "operations", "carrier": "CMCC"}])
async def test_only_an_operations_officer_of_the_house_has_the_switch(officer: SignsIn, who: dict[str, str]) -> None:
    browser = await officer(**who)

    assert "/officer/markets/halt" not in browser.shown
    fields = {**browser.shown["/officer/markets"], "reason": "Because.", "confirmed": "yes"}
    response = await browser.post("/officer/markets/halt", fields)
    assert response.status_code == Forbidden.status
