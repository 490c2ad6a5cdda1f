"""What we send beyond the standards, on purpose: each with its reason. All else has to be as it is described."""

from collections.abc import Mapping

TMF = "/tmf-api/prepayBalanceManagement/v4"
OUR_ID = "our id of the operation: the standard has none, and without one a lost answer could not be found again"
BY_OUR_ID = "asks for what was made under our id, which is an extension itself"

EXTENSIONS: Mapping[str, Mapping[str, str]] = {
    f"POST {TMF}/reserveBalance": {"externalIdentifier": OUR_ID},
    f"POST {TMF}/transferBalance": {"externalIdentifier": OUR_ID},
    f"POST {TMF}/adjustBalance": {
        "externalIdentifier": OUR_ID,
        "receiverLogicalResource": "who gets the data: debit and credit are one act, as in the standard's own transfer",
    },
    f"POST {TMF}/topupBalance": {
        "externalIdentifier": OUR_ID,
        "scope": "where the new data may be used: the standard leaves it to the product behind the bucket",
        "validFor": "when the new data ends: the bucket has the field, the top-up that makes the bucket has not",
    },
    f"GET {TMF}/reserveBalance": {"externalIdentifier": BY_OUR_ID},
    f"GET {TMF}/adjustBalance": {"externalIdentifier": BY_OUR_ID},
    f"GET {TMF}/transferBalance": {"externalIdentifier": BY_OUR_ID},
    f"GET {TMF}/topupBalance": {"externalIdentifier": BY_OUR_ID},
    "POST /v1/webhook_endpoints": {
        "api_version": "the version that the provider's client speaks, newer than the description at hand",
    },
}
"""By operation: body fields and query parameters that its description does not have."""

UNDESCRIBED: Mapping[str, str] = {
    "POST /sms/v1/messages": "no standard covers texting a notice",
}
"""Operations that no description has."""
