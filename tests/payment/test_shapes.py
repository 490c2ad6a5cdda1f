"""The check of shapes notices a wrong one."""

from typing import Any

import pytest

from tests.payment.making import Http
from tests.payment.shapes import check_answer


@pytest.mark.parametrize("change", [{"amount": "500"}, {"status": None}, {"livemode": "no"}, {"id": 7}])
async def test_a_wrong_field_is_noticed(http: Http, change: dict[str, Any]) -> None:
    intent = await http.post("/v1/payment_intents", {"amount": 500, "currency": "cny"})

    with pytest.raises(AssertionError):
        check_answer("POST", "/v1/payment_intents", 200, intent | change)


async def test_a_missing_field_is_noticed(http: Http) -> None:
    intent = await http.post("/v1/payment_intents", {"amount": 500, "currency": "cny"})
    del intent["created"]

    with pytest.raises((AssertionError, KeyError)):
        check_answer("POST", "/v1/payment_intents", 200, intent)
