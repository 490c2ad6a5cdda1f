"""The pages people see."""

import pytest

from tests.payment.making import Http, Wallet, fresh


async def _market_day(wallet: Wallet, http: Http, seller: str) -> dict[str, str]:
    paid = await wallet.charge(123_456, reference=fresh("<b>top-up"))
    refund = await wallet.payments.refund(paid.id, 100, "r", fresh("key"))
    transfer = await wallet.payments.transfer(seller, 5_000, "CNY", group="g", reference="t", key=fresh("key"))
    payout = await wallet.payments.pay_out(seller, 4_000, "CNY", "p", fresh("key"))
    return {"payment": paid.id, "refund": refund.id, "transfer": transfer.id, "payout": payout.id}


@pytest.mark.parametrize(("language", "words"), [("zh", "最近付款"), ("en", "Latest payments")])
async def test_the_overview_shows_what_happened(
    wallet: Wallet, http: Http, seller: str, language: str, words: str
) -> None:
    made = await _market_day(wallet, http, seller)

    page = await http.page("GET", f"/?lang={language}")

    assert page.status_code == 200
    assert words in page.text
    assert all(made_id in page.text for made_id in made.values())
    assert "¥1,234.56" in page.text.replace("CN¥", "¥")
    assert "&lt;b&gt;top-up" in page.text
    assert f'<html lang="{"zh-CN" if language == "zh" else "en"}">' in page.text


async def test_the_browser_chooses_the_language(http: Http) -> None:
    assert "余额" in (await http.page("GET", "/", headers={"Accept-Language": "zh-CN,zh;q=0.9"})).text
    assert "Balance" in (await http.page("GET", "/", headers={"Accept-Language": "fr"})).text


async def test_faults_that_are_on_are_shown(http: Http) -> None:
    await http.control("PUT", "faults", {"latency_ms": 1})
    page = await http.page("GET", "/?lang=en")
    await http.control("PUT", "faults", {"latency_ms": 0})

    assert "latency_ms=1" in page.text


@pytest.mark.parametrize("path", ["/", "/3ds/none", "/onboarding/none"])
async def test_pages_load_nothing_from_elsewhere_and_run_no_scripts(http: Http, path: str) -> None:
    page = await http.page("GET", path)

    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "<script" not in page.text
    assert "style=" not in page.text
    assert "http://" not in page.text.replace("http://127.0.0.1", "")
    assert page.headers["cache-control"] == "no-store"


async def test_the_way_back_is_the_only_place_a_form_may_lead(wallet: Wallet, http: Http) -> None:
    asked = await wallet.charge(card="pm_card_threeDSecure2Required")
    assert asked.next_action_url is not None

    page = await http.page("GET", asked.next_action_url)

    assert "form-action 'self' https://market.example" in page.headers["content-security-policy"]
    assert (await http.page("POST", asked.next_action_url, {"answer": "perhaps"})).status_code == 400


async def test_the_style_sheet_serves_light_and_dark(http: Http) -> None:
    style = await http.page("GET", "/style.css")

    assert style.headers["content-type"].startswith("text/css")
    assert "prefers-color-scheme: dark" in style.text
