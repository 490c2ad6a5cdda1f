"""What the simulated carrier answers has the shape of TMF654 4.1.0, by hand and by the specification if it is found."""

import itertools
import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.carrier.simulator import ROOT, CarrierProcess, an_id

SPECIFICATIONS = Path(os.environ.get("SURPLUSFLOW_SPECS", ROOT.parent / "shared" / "specs"))
SWAGGERS = sorted(SPECIFICATIONS.glob("tmforum/TMF654-*-v4.1.0.swagger.json"))
MB = {"units": "MB"}

RESOURCES = {
    "bucket": "Bucket",
    "reserveBalance": "ReserveBalance",
    "adjustBalance": "AdjustBalance",
    "transferBalance": "TransferBalance",
    "topupBalance": "TopupBalance",
    "balanceAction": "BalanceAction",
}
EXPECTED_FIELDS = {
    "bucket": {"logicalResource", "remainingValue", "reservedValue", "reserveBalance", "validFor", "scope"},
    "reserveBalance": {"amount", "bucket", "expirationDate", "logicalResource", "requestedDate"},
    "adjustBalance": {"amount", "adjustType", "reserveBalance", "receiverLogicalResource", "impactedBucket"},
    "transferBalance": {"amount", "bucket", "receiverBucket", "receiverLogicalResource", "transferCost"},
    "topupBalance": {"amount", "bucket", "logicalResource", "isAutoTopup", "validFor"},
    "balanceAction": {"amount", "actionType", "impactedBucket", "requestedDate"},
}


@pytest.fixture
def documents(sim: CarrierProcess) -> dict[str, dict[str, Any]]:
    """One document of each resource, from one small story about a seller and a buyer."""
    seller, buyer = sim.a_line(remaining_mb=1000), sim.a_line(remaining_mb=None)
    amount, receiver = {"amount": 100, **MB}, {"receiverLogicalResource": {"value": buyer}}
    bucket = sim.tmf("GET", "/bucket", params={"logicalResource.id": seller}).json()[0]
    end = bucket["validFor"]["endDateTime"]

    def post(resource: str, **body: Any) -> dict[str, Any]:
        answer = sim.tmf("POST", f"/{resource}", json={"amount": amount, "externalIdentifier": an_id(), **body})
        assert answer.status_code == 201, answer.text
        document: dict[str, Any] = answer.json()
        return document

    reservation = post("reserveBalance", bucket={"id": bucket["id"]}, expirationDate=end)
    held = {"reserveBalance": {"id": reservation["id"]}}
    return {
        "bucket": sim.tmf("GET", f"/bucket/{bucket['id']}").json(),
        "reserveBalance": reservation,
        "adjustBalance": post("adjustBalance", adjustType="reservationDebit", **held, **receiver),
        "transferBalance": post("transferBalance", bucket={"id": bucket["id"]}, **receiver),
        "topupBalance": post(
            "topupBalance",
            logicalResource={"value": buyer},
            scope="CN",
            validFor={"endDateTime": end},
        ),
        "balanceAction": sim.tmf("GET", "/balanceAction", params={"logicalResource.id": buyer}).json()[0],
    }


@pytest.mark.parametrize("resource", RESOURCES)
def test_a_resource_has_the_fields_of_the_standard(documents: dict[str, dict[str, Any]], resource: str) -> None:
    document = documents[resource]

    assert document.keys() >= EXPECTED_FIELDS[resource] | {"id", "href", "@type", "status", "usageType"}
    assert document["href"].endswith(f"/tmf-api/prepayBalanceManagement/v4/{resource}/{document['id']}")
    assert document["usageType"] == "data"
    assert document["status"] == ("active" if resource == "bucket" else "confirmed")


def test_each_resource_is_found_again_at_its_address(documents: dict[str, dict[str, Any]], sim: CarrierProcess) -> None:
    for resource in ("adjustBalance", "transferBalance", "topupBalance", "balanceAction"):
        document = documents[resource]
        assert sim.tmf("GET", f"/{resource}/{document['id']}").json() == document
        listed = sim.tmf("GET", f"/{resource}", params={"externalIdentifier": document["externalIdentifier"]}).json()
        assert document in listed


def test_the_impact_of_a_settlement_is_told_per_bucket(documents: dict[str, dict[str, Any]]) -> None:
    debit, credit = documents["adjustBalance"]["impactedBucket"]

    assert (debit["name"], debit["amountBefore"], debit["amountAfter"]) == (
        "reserved",
        {"amount": 100, **MB},
        {"amount": 0, **MB},
    )
    assert debit["item"] == [{"itemType": "debit", "name": "reserved", "amount": {"amount": 100, **MB}}]
    assert (credit["name"], credit["item"][0]["itemType"]) == ("remaining", "credit")
    assert debit["bucket"]["id"] != credit["bucket"]["id"]


def test_lists_have_pages_totals_and_chosen_fields(sim: CarrierProcess) -> None:
    line = sim.a_line(remaining_mb=None)
    for _ in range(3):
        body = {
            "amount": {"amount": 10, **MB},
            "logicalResource": {"value": line},
            "scope": "CN",
            "validFor": {"endDateTime": "2099-01-01T00:00:00Z"},
        }
        assert sim.tmf("POST", "/topupBalance", json=body).status_code == 201

    page = sim.tmf("GET", "/topupBalance", params={"logicalResource.value": line, "offset": 1, "limit": 1})
    beyond = sim.tmf("GET", "/topupBalance", params={"logicalResource.id": line, "offset": 9})
    chosen = sim.tmf("GET", "/topupBalance", params={"logicalResource.id": line, "fields": "amount,status"})
    voice = sim.tmf("GET", "/topupBalance", params={"logicalResource.id": line, "usageType": "voice"})

    assert (page.headers["X-Total-Count"], page.headers["X-Result-Count"], len(page.json())) == ("3", "1", 1)
    assert (beyond.headers["X-Total-Count"], beyond.json()) == ("3", [])
    assert [set(document) for document in chosen.json()] == [{"id", "href", "amount", "status"}] * 3
    assert voice.json() == []
    assert page.headers["Content-Type"] == "application/json;charset=utf-8"


def test_the_older_name_of_the_journal_is_an_alias(sim: CarrierProcess) -> None:
    line = sim.a_line()
    newer = sim.tmf("GET", "/balanceAction", params={"logicalResource.id": line})
    older = sim.tmf("GET", "/balanceActionHistory", params={"logicalResource.id": line})

    assert len(newer.json()) == 1
    assert older.json() == newer.json()


def test_an_error_has_the_standards_fields(sim: CarrierProcess) -> None:
    error = sim.tmf("GET", "/bucket/never-was").json()

    assert error == {
        "@type": "Error",
        "code": "BUCKET_NOT_FOUND",
        "reason": "There is no such bucket.",
        "message": "There is no such bucket.",
        "status": "404",
    }


def test_every_resource_validates_against_each_specification_that_is_here(
    documents: dict[str, dict[str, Any]], sim: CarrierProcess
) -> None:
    """The standard's own files are not part of the project; without them the shapes above are what is held."""
    samples = {**{RESOURCES[name]: document for name, document in documents.items()}}
    samples["Error"] = sim.tmf("GET", "/bucket/never-was").json()
    specifications = [json.loads(swagger.read_text()) for swagger in SWAGGERS]

    for specification, (definition, document) in itertools.product(specifications, samples.items()):
        schema = {"$ref": f"#/definitions/{definition}", "definitions": specification["definitions"]}
        jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker()).validate(document)
