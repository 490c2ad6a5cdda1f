"""How TMF654 4.1.0 says it: our rows as the standard's resources, with extension fields beside them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from settlement.simulators.carrier.ledger import Entry

TMF = "/tmf-api/prepayBalanceManagement/v4"

Document = dict[str, Any]
Row = Any


def quantity(amount_mb: int) -> Document:
    return {"amount": amount_mb, "units": "MB"}


def moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def msisdn(number: str) -> Document:
    return {"@type": "MSISDN", "@baseType": "logicalResource", "id": number, "value": number}


def href(carrier: str, resource: str, identifier: str) -> str:
    return f"/{carrier.lower()}{TMF}/{resource}/{identifier}"


def reference(carrier: str, resource: str, identifier: str) -> Document:
    return {"id": identifier, "href": href(carrier, resource, identifier)}


def present(document: Mapping[str, Any]) -> Document:
    """The fields that have a value: the standard leaves out what it does not know."""
    return {field: value for field, value in document.items() if value is not None}


def bucket(row: Row, reservation_ids: Sequence[str], now: datetime) -> Document:
    carrier = row["carrier"]
    return present(
        {
            **reference(carrier, "bucket", row["id"]),
            "@type": "DataBucket",
            "@baseType": "Bucket",
            "usageType": "data",
            "isShared": False,
            "status": "active" if row["expires_at"] > now else "expired",
            "logicalResource": [msisdn(row["msisdn"])],
            "remainingValue": quantity(row["remaining_mb"]),
            "remainingValueName": f"{row['remaining_mb']} MB",
            "reservedValue": quantity(row["reserved_mb"]),
            "reserveBalance": [reference(carrier, "reserveBalance", identifier) for identifier in reservation_ids],
            "validFor": {"startDateTime": moment(row["created_at"]), "endDateTime": moment(row["expires_at"])},
            "scope": row["scope"],
            "appScope": row["app_scope"],
            "transferable": row["transferable"],
            "distributable": row["distributable"],
            "totalValue": quantity(row["total_mb"]),
        },
    )


def reservation(row: Mapping[str, Any]) -> Document:
    carrier = row["carrier"]
    return present(
        {
            **reference(carrier, "reserveBalance", row["id"]),
            "@type": "ReserveBalance",
            "usageType": "data",
            "amount": quantity(row["open_mb"]),
            "bucket": reference(carrier, "bucket", row["bucket_id"]),
            "logicalResource": msisdn(row["msisdn"]),
            "status": row["status"],
            "requestedDate": moment(row["requested_at"]),
            "confirmationDate": moment(row["requested_at"]),
            "expirationDate": moment(row["expires_at"]),
            "externalIdentifier": row["external_id"],
        },
    )


def impacts(carrier: str, entries: Iterable[Entry]) -> list[Document]:
    """The entries of an act that touched a bucket; the carrier's own side is nobody's bucket and is left out."""
    return [
        {
            "bucket": reference(carrier, "bucket", entry.bucket_id),
            "name": entry.account,
            "amountBefore": quantity(entry.before_mb or 0),
            "amountAfter": quantity(entry.after_mb or 0),
            "item": [
                {
                    "itemType": "credit" if entry.change_mb > 0 else "debit",
                    "name": entry.account,
                    "amount": quantity(abs(entry.change_mb)),
                },
            ],
        }
        for entry in entries
        if entry.bucket_id is not None
    ]


def action(row: Row, entries: Iterable[Entry]) -> Document:
    carrier = row["carrier"]
    return present(
        {
            **reference(carrier, "balanceAction", row["id"]),
            "@type": "BalanceAction",
            "usageType": "data",
            "actionType": row["kind"],
            "subject": {"id": row["subject_id"]} if row["subject_id"] else None,
            "amount": quantity(row["amount_mb"]),
            "logicalResource": msisdn(row["msisdn"]) if row["msisdn"] else None,
            "receiverLogicalResource": msisdn(row["receiver_msisdn"]) if row["receiver_msisdn"] else None,
            "status": "confirmed",
            "requestedDate": moment(row["at"]),
            "confirmationDate": moment(row["at"]),
            "externalIdentifier": row["external_id"],
            "impactedBucket": impacts(carrier, entries),
        },
    )
