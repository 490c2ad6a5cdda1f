"""Holds requests against the published descriptions that are found beside the project."""

from functools import cache

import pytest

from tests.carrier.test_shapes import SPECIFICATIONS
from tests.payment.shapes import DESCRIPTION
from tests.wire.descriptions import Description
from tests.wire.extensions import EXTENSIONS, UNDESCRIBED
from tests.wire.requests import Request

CARRIER = (
    SPECIFICATIONS / "tmforum" / "TMF654-PrepayBalance-v4.1.0.swagger.json",
    *(
        SPECIFICATIONS / "camara" / f"{name}.yaml"
        for name in (
            "one-time-password-sms-1.1.1",
            "number-verification-2.1.0",
            "kyc-match-0.4.0",
            "sim-swap-2.1.0",
            "sim-swap-subscriptions-0.3.0",
            "number-recycling-0.2.0",
            "carrier-billing-0.5.0",
            "carrier-billing-refund-0.3.0",
        )
    ),
)
described = pytest.mark.skipif(
    not all(path.exists() for path in (*CARRIER, DESCRIPTION)), reason="the descriptions are not there"
)


@cache
def descriptions() -> list[Description]:
    return [Description(path) for path in (*CARRIER, DESCRIPTION)]


def problems(request: Request, *, extended: bool = True) -> list[str]:
    """What is wrong with a request; without our extensions, if they are not to count."""
    name = f"{request.method} {request.path}"
    for description in descriptions():
        if (operation := description.operation(request)) is not None:
            ours = EXTENSIONS.get(operation.name, {}) if extended else {}
            return operation.problems(request, frozenset(ours))
    return [] if extended and name in UNDESCRIBED else [f"{name} is in no description"]


def operation_name(request: Request) -> str:
    """The operation as it is described, or as it was sent."""
    found = (description.operation(request) for description in descriptions())
    return next((one.name for one in found if one is not None), f"{request.method} {request.path}")
