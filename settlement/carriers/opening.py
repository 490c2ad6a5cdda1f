"""Which module speaks with a carrier: the one its profile's dialect names."""

from collections.abc import Callable, Mapping

from settlement.carriers.client import Carrier
from settlement.carriers.port import CarrierPort
from settlement.carriers.recharge.client import RechargeCarrier
from settlement.carriers.values import CarrierProfile

DIALECTS: Mapping[str, Callable[[CarrierProfile], CarrierPort]] = {"tmf654": Carrier, "recharge": RechargeCarrier}


def open_carrier(profile: CarrierProfile) -> CarrierPort:
    """The port to one carrier.

    Raises:
        KeyError: nobody here speaks its dialect.
    """
    return DIALECTS[profile.dialect](profile)
