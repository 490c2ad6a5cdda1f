"""Secrets and certificates that run out are told a month before (F38), to whoever watches the web."""

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from httpx import ASGITransport, AsyncClient

from market import expiries
from market.settings import Settings
from web.app import create_app

NOW = datetime.now(UTC)


def a_certificate(path: Path, until: datetime) -> Path:
    key, name = Ed25519PrivateKey.generate(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "carrier")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(NOW - timedelta(days=300)).not_valid_after(until)
        .sign(key, None)
    )  # fmt: skip
    path.write_bytes(made.public_bytes(Encoding.PEM))
    return path


@pytest.fixture
def ending(settings: Settings, tmp_path: Path) -> Settings:
    """One key that ends in ten days, one that is good for long, a certificate of each kind."""
    days = {"stripe_api_key": (NOW + timedelta(days=10)).date(), "carrier_CMCC": (NOW + timedelta(days=200)).date()}
    certificates = (
        a_certificate(tmp_path / "old.pem", NOW - timedelta(days=1)),
        a_certificate(tmp_path / "new.pem", NOW + timedelta(days=90)),
    )
    return dataclasses.replace(settings, secrets_until=days, certificates=certificates)


async def test_what_runs_out_within_a_month_is_told_while_everything_still_works(ending: Settings) -> None:
    app = create_app(ending)
    transport = ASGITransport(app=app)  # type: ignore[arg-type]
    async with app.lifespan(), AsyncClient(transport=transport, base_url=ending.public_url) as client:
        ready = (await client.get("/health/ready")).json()
        figures = (await client.get("/metrics")).text

    told = {name: part for name, part in ready["information"].items() if not part["ok"]}
    assert told.keys() == {"stripe_api_key", "certificate_old"}
    assert told["certificate_old"]["note"] == "has run out"
    assert told["stripe_api_key"]["note"] in {"runs out in 10 days", "runs out in 11 days"}
    for name in ("stripe_api_key", "carrier_CMCC", "certificate_old", "certificate_new"):
        assert f'surplusflow_secret_expires_timestamp_seconds{{secret="{name}"}}' in figures


def test_the_soonest_end_of_a_chain_counts(settings: Settings, tmp_path: Path) -> None:
    ends = NOW + timedelta(days=5), NOW + timedelta(days=500)
    chain = tmp_path / "chain.pem"
    parts = [a_certificate(tmp_path / f"{number}.pem", end) for number, end in enumerate(ends)]
    chain.write_bytes(b"".join(part.read_bytes() for part in parts))

    (found,) = expiries.known(dataclasses.replace(settings, certificates=(chain,)))

    assert found.days_left(NOW) in {4, 5}
    assert found.runs_out(NOW)
