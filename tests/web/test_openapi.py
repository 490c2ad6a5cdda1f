"""The API's description: the API and nothing else, each route with its key, its refusals and its examples (G16)."""

from typing import Any

import pytest
from httpx import AsyncClient

from tests.web.making import settings_of
from web.app import create_app

SCHEMA: dict[str, Any] = create_app(settings_of()).openapi_schema.to_schema()
OPERATIONS = [(path, method, operation) for path, item in SCHEMA["paths"].items() for method, operation in item.items()]
NAMES = [operation["operationId"] for _, _, operation in OPERATIONS]


async def test_the_description_is_served_without_a_key(client: AsyncClient) -> None:
    response = await client.get("/schema/openapi.json")

    assert response.status_code == 200
    assert response.json()["info"]["title"] == "Surplusflow"
    assert response.json()["openapi"].startswith("3.1")


def test_g16_pages_streams_and_webhooks_stay_out_of_it() -> None:
    assert [path for path in SCHEMA["paths"] if not path.startswith("/api/v1/")] == []


def test_g16_every_route_asks_for_the_key_and_nothing_else() -> None:
    assert SCHEMA["components"]["securitySchemes"].keys() == {"bearer"}
    assert [path for path, _, operation in OPERATIONS if operation["security"] != [{"bearer": []}]] == []


def test_every_operation_has_a_name_of_its_own() -> None:
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=NAMES)
def test_every_operation_tells_how_it_is_refused(path: str, method: str, operation: dict[str, Any]) -> None:
    refusals = {status: answer for status, answer in operation["responses"].items() if status >= "400"}

    assert {"400", "401", "429", "503"} <= refusals.keys()
    assert all(list(answer["content"]) == ["application/problem+json"] for answer in refusals.values())
    assert ("404" in refusals) or ("{" not in path)
    assert ("415" in refusals) == ("requestBody" in operation)


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=NAMES)
def test_every_operation_is_described_in_words(path: str, method: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["tags"][0] in {tag["name"] for tag in SCHEMA["tags"]}
    assert not any("follows" in answer["description"] for answer in operation["responses"].values())


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=NAMES)
def test_what_changes_something_requires_a_key(path: str, method: str, operation: dict[str, Any]) -> None:
    keys = [each for each in operation.get("parameters", []) if each["name"] == "Idempotency-Key"]

    if method in {"post", "patch"}:
        assert [key["required"] for key in keys] == [True]
    if method == "get":
        assert keys == []


@pytest.mark.parametrize("name", ["OrderBody", "AmendBody", "BulkBody", "LegBody", "HandoutBody"])
def test_every_number_that_is_taken_is_bounded_and_shown(name: str) -> None:
    fields = SCHEMA["components"]["schemas"][name]["properties"].items()
    numbers = {field: form for field, form in fields if "integer" in str(form.get("type", form.get("oneOf")))}

    assert [field for field, form in numbers.items() if not {"minimum", "maximum", "examples"} <= form.keys()] == []


@pytest.mark.parametrize("name", ["OrderBody", "LegBody", "HandoutBody"])
def test_every_text_that_is_taken_has_a_form(name: str) -> None:
    fields = SCHEMA["components"]["schemas"][name]["properties"].items()
    texts = {field: form for field, form in fields if "string" in str(form.get("type", form.get("oneOf")))}

    assert [
        field for field, form in texts.items() if not {"pattern", "enum"} & form.keys() and "date" not in str(form)
    ] == []
