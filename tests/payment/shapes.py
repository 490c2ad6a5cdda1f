"""Checks of the provider's answers against its published description, and against shapes written here."""

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any, cast

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

ROOT = Path(__file__).parents[2]
SPECS = Path(os.environ.get("SURPLUSFLOW_SPECS", ROOT.parent / "shared" / "specs"))
DESCRIPTION = SPECS / "stripe" / "stripe-reduced-2026-08-26.dahlia.openapi.json"

SHAPES: dict[str, dict[str, type | tuple[type, ...]]] = {
    "payment_intent": {
        "id": str, "amount": int, "amount_capturable": int, "amount_received": int, "capture_method": str,
        "client_secret": str, "created": int, "currency": str, "livemode": bool, "metadata": dict, "status": str,
    },
    "charge": {
        "id": str, "amount": int, "amount_captured": int, "amount_refunded": int, "captured": bool, "created": int,
        "currency": str, "disputed": bool, "livemode": bool, "metadata": dict, "paid": bool, "refunded": bool,
        "status": str, "billing_details": dict,
    },
    "refund": {"id": str, "amount": int, "created": int, "currency": str, "status": str, "metadata": dict},
    "checkout.session": {
        "id": str, "amount_total": int, "automatic_tax": dict, "created": int, "currency": str, "custom_fields": list,
        "expires_at": int, "livemode": bool, "metadata": dict, "mode": str, "payment_method_types": list,
        "payment_status": str, "shipping_options": list, "status": str,
    },
    "customer": {"id": str, "created": int, "livemode": bool, "metadata": dict},
    "payment_method": {"id": str, "billing_details": dict, "card": dict, "created": int, "type": str},
    "account": {"id": str, "payouts_enabled": bool, "requirements": dict, "capabilities": dict, "country": str},
    "account_link": {"created": int, "expires_at": int, "url": str},
    "transfer": {
        "id": str, "amount": int, "amount_reversed": int, "created": int, "currency": str, "destination": (str, dict),
        "livemode": bool, "metadata": dict, "reversals": dict, "reversed": bool,
    },
    "transfer_reversal": {"id": str, "amount": int, "created": int, "currency": str, "transfer": (str, dict)},
    "payout": {
        "id": str, "amount": int, "arrival_date": int, "automatic": bool, "created": int, "currency": str,
        "livemode": bool, "method": str, "reconciliation_status": str, "source_type": str, "status": str, "type": str,
    },
    "balance": {"available": list, "pending": list, "livemode": bool},
    "balance_transaction": {
        "id": str, "amount": int, "available_on": int, "created": int, "currency": str, "fee": int,
        "fee_details": list, "net": int, "reporting_category": str, "status": str, "type": str,
    },
    "event": {
        "id": str, "created": int, "data": dict, "livemode": bool, "pending_webhooks": int, "type": str,
        "request": dict,
    },
    "webhook_endpoint": {"id": str, "created": int, "enabled_events": list, "metadata": dict, "status": str,
                         "url": str},
    "dispute": {"id": str, "amount": int, "balance_transactions": list, "charge": (str, dict), "evidence": dict,
                "reason": str, "status": str},
    "bank_account": {"id": str, "country": str, "currency": str, "last4": str, "status": str},
    "list": {"data": list, "has_more": bool, "url": str},
}  # fmt: skip
"""For a checkout without the published description: the fields that must be there, and their kinds."""


def check_answer(method: str, path: str, status: int, body: Any) -> None:
    """Hold one JSON answer of the API against everything we know about its shape.

    Raises:
        AssertionError: It has another.
    """
    if status >= 400:
        assert isinstance(body["error"]["message"], str), body
        assert body["error"]["type"] in {"api_error", "card_error", "idempotency_error", "invalid_request_error"}
        body_problems = _problems("#/components/schemas/error", body)
    else:
        _check_shape(body)
        body_problems = _problems(_pointer(method, path), body)
    assert not body_problems, f"{method} {path}: {body_problems[:3]}"


def _check_shape(body: dict[str, Any]) -> None:
    if body.get("deleted"):
        return
    for name, kind in SHAPES[body["object"]].items():
        assert type(body[name]) in (kind if isinstance(kind, tuple) else (kind,)), (body["object"], name, body[name])
    if body["object"] == "list":
        for item in body["data"]:
            _check_shape(item)


@cache
def _document() -> dict[str, Any] | None:
    if not DESCRIPTION.exists():
        return None
    described: dict[str, Any] = _with_nulls(json.loads(DESCRIPTION.read_text()))
    return described


def _with_nulls(schema: Any) -> Any:
    """The OpenAPI 3.0 `nullable`, and the unknown fields it lets through, in the words of JSON Schema."""
    if isinstance(schema, list):
        return [_with_nulls(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {name: _with_nulls(part) for name, part in schema.items()}
    if "properties" in changed and changed.get("type") == "object" and "object" in changed["properties"]:
        changed.setdefault("additionalProperties", False)
    return {"anyOf": [changed, {"type": "null"}]} if schema.get("nullable") is True else changed


@cache
def _registry() -> Registry[Any]:
    described: Resource[Any] = DRAFT202012.create_resource(_document())
    return cast("Registry[Any]", Registry().with_resource("urn:api", described))


@cache
def _validator(pointer: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"urn:api{pointer}"}, registry=_registry())


def _problems(pointer: str | None, body: Any) -> list[str]:
    if _document() is None or pointer is None:
        return []
    found = sorted(_validator(pointer).iter_errors(body), key=lambda error: -len(error.absolute_path))
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in found]


def _pointer(method: str, path: str) -> str | None:
    document = _document()
    if document is None:
        return None
    for template in sorted(document["paths"], key=lambda template: template.count("{")):
        pattern = re.sub(r"\{[^}]+\}", "[^/]+", template)
        if re.fullmatch(pattern, path) and method.lower() in document["paths"][template]:
            escaped = template.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")
            return f"#/paths/{escaped}/{method.lower()}/responses/200/content/application~1json/schema"
    raise AssertionError(f"{method} {path} is not in the published description")
