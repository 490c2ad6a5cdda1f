"""Every refusal has its true status, in the form that its reader can use, and never tells of our inside."""

from httpx import AsyncClient

from tests.web.making import Visitor, a_key


async def test_g1_a_commit_that_fails_is_no_success(visitor: Visitor) -> None:
    await visitor.market.partner()

    response = await visitor.post("/tests/deferred")

    assert response.status_code == 500


async def test_a_program_gets_a_problem_document(client: AsyncClient) -> None:
    response = await client.get("/api/v1/nothing", headers={"X-Request-ID": "my-request-1"})

    assert response.headers["content-type"] == "application/problem+json"
    assert response.json() == {
        "title": "Not Found",
        "status": 404,
        "detail": "There is nothing at this address.",
        "code": "not_found",
        "instance": "/api/v1/nothing",
        "trace_id": "my-request-1",
    }


async def test_a_wrong_method_is_told_which_are_right(client: AsyncClient) -> None:
    response = await client.put("/api/v1/wallet")

    assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
    assert "GET" in response.headers["allow"]


async def test_g7_htmx_gets_a_fragment_for_the_toast_with_the_true_status(visitor: Visitor) -> None:
    response = await visitor.get("/tests/refused", {"HX-Request": "true"})

    assert response.status_code == 422
    assert (response.headers["hx-retarget"], response.headers["hx-reswap"]) == ("#toast", "innerHTML")
    assert response.headers["content-type"].startswith("text/html")
    assert "<html" not in response.text
    assert "<b>You</b>" not in response.text


async def test_g7_htmx_without_a_session_is_sent_to_sign_in_from_its_page(visitor: Visitor) -> None:
    page = "http://127.0.0.1:8000/orders?secret=1"
    response = await visitor.get("/tests/mine", {"HX-Request": "true", "HX-Current-URL": page})

    assert response.status_code == 401
    assert response.headers["hx-redirect"] == "/sign-in?next=/orders"


async def test_g7_a_foreign_current_url_leads_nowhere_else(visitor: Visitor) -> None:
    page = "https://evil.example//evil.example/x"
    response = await visitor.get("/tests/mine", {"HX-Request": "true", "HX-Current-URL": page})

    assert response.headers["hx-redirect"] == "/sign-in?next=/"


async def test_a_page_without_a_session_leads_to_sign_in_and_back(visitor: Visitor) -> None:
    response = await visitor.get("/tests/mine")

    assert (response.status_code, response.headers["location"]) == (303, "/sign-in?next=/tests/mine")


async def test_a_browser_gets_a_page_for_what_is_not_there(visitor: Visitor) -> None:
    response = await visitor.get("/nowhere")

    assert response.status_code == 404
    assert "<html" in response.text


async def test_our_own_failure_shows_its_number_and_nothing_else(visitor: Visitor) -> None:
    response = await visitor.get("/tests/broken", {"X-Request-ID": "trace-of-test"})

    assert response.status_code == 500
    assert "trace-of-test" in response.text
    assert "canary" not in response.text
    assert "Traceback" not in response.text


async def test_f5_a_database_that_is_too_slow_is_503_and_says_when_to_come_back(visitor: Visitor) -> None:
    response = await visitor.get("/tests/slow-database")

    assert (response.status_code, response.headers["retry-after"]) == (503, "2")


async def test_a_value_that_no_column_holds_is_the_senders_fault(visitor: Visitor) -> None:
    assert (await visitor.get("/tests/huge-number")).status_code == 400


async def test_an_officers_page_leads_to_the_officers_door(visitor: Visitor) -> None:
    response = await visitor.get("/officer")

    assert response.headers["location"] == "/officer/sign-in?next=/officer"


async def test_a_refusal_is_kept_by_nobody(client: AsyncClient) -> None:
    assert (await client.get("/api/v1/wallet")).headers["cache-control"] == "no-store"


async def test_every_answer_carries_the_headers_that_guard_the_browser(client: AsyncClient) -> None:
    for path in ("/health/live", "/nowhere", "/api/v1/wallet", "/schema/openapi.json"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "same-origin"


async def test_a_host_that_is_not_ours_gets_nothing(client: AsyncClient) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example"):
        response = await client.get("/tests/form", headers={"Host": host})
        assert (response.status_code, response.json()["code"]) == (421, "unknown_host")


async def test_forwarded_hosts_change_no_address(visitor: Visitor) -> None:
    forged = {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example", "X-Original-URL": "/metrics"}
    response = await visitor.get("/tests/mine", forged)

    assert response.headers["location"] == "/sign-in?next=/tests/mine"


async def test_a_body_beyond_the_limit_is_not_read(client: AsyncClient, visitor: Visitor) -> None:
    partner = await visitor.market.partner()
    headers = {"Idempotency-Key": a_key(), "Content-Type": "application/json"}
    response = await partner.send("POST", "/orders", content=b" " * 20_000, headers=headers)

    assert (response.status_code, response.json()["code"]) == (413, "too_large")


async def test_a_form_of_ten_thousand_parts_is_refused(visitor: Visitor) -> None:
    files = {f"part{number}": b"x" for number in range(10_000)}

    response = await visitor.client.post("/tests/form", files=files, headers={"Origin": visitor.origin})

    assert response.status_code in {400, 413}
