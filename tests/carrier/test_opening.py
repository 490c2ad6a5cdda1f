"""Which module speaks with a carrier is said by its entry in the configuration."""

from dataclasses import replace

import pytest

from market.settings import BadSettings, Settings
from settlement.carriers.client import Carrier
from settlement.carriers.opening import open_carrier
from settlement.carriers.values import CarrierProfile

PROFILE = CarrierProfile("CMCC", "移动", "Mobile", "https://carrier.example/cmcc", "Kx81-credential")
ENTRY = """
[[carrier]]
code = "CMCC"
name_zh = "移动"
name_en = "Mobile"
base_url = "https://carrier.example/cmcc"
credential = "Kx81-credential"
dialect = "smoke-signals"
"""


def test_a_carrier_that_names_no_dialect_speaks_tmf654() -> None:
    carrier = open_carrier(PROFILE)

    assert isinstance(carrier, Carrier)
    assert carrier.capabilities.codes


def test_a_dialect_that_nobody_here_speaks_is_not_opened() -> None:
    with pytest.raises(KeyError):
        open_carrier(replace(PROFILE, dialect="smoke-signals"))


def test_a_start_is_refused_over_a_dialect_that_nobody_here_speaks() -> None:
    with pytest.raises(BadSettings, match="dialect of CMCC is not one of recharge, tmf654"):
        Settings.from_environment({"SURPLUSFLOW_CARRIERS": ENTRY})


def test_a_start_is_refused_over_a_gateway_that_does_not_know_who_we_are() -> None:
    with pytest.raises(BadSettings, match="partner_no of CMCC is missing"):
        Settings.from_environment({"SURPLUSFLOW_CARRIERS": ENTRY.replace("smoke-signals", "recharge")})
