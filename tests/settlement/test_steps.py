"""Every error of the ports has its meaning for an instruction; only a definite one may move money."""

from collections.abc import Iterator
from typing import NoReturn

import pytest

from settlement.carriers import errors as carriers
from settlement.instructions import Contradicted, Lost, Outcome, Refused, Undone
from settlement.payments import errors as payments
from settlement.steps import OUR_FAULT, outcome_of_asking, outcome_of_sending
from tests.settlement.world import World

SENT: list[tuple[Exception, type[Outcome]]] = [
    (carriers.CarrierRefused("INSUFFICIENT_BALANCE", "no"), Refused),
    *((carriers.CarrierRefused(code, "no"), Lost) for code in sorted(OUR_FAULT)),
    (carriers.CarrierUnreachable("no connection"), Undone),
    (carriers.CarrierUnknown("HTTP 500"), Lost),
    (carriers.CarrierDuplicate("known"), Lost),
    (carriers.CarrierMismatch("other amount"), Contradicted),
    (payments.PaymentDeclined("card_declined"), Refused),
    (payments.PaymentRefused("balance_insufficient"), Refused),
    (payments.PaymentUnknown("time-out"), Lost),
    (payments.PaymentUnauthorised("api_key_expired"), Lost),
    (payments.PaymentMismatch("other amount"), Contradicted),
    (payments.PaymentKeyReused("another body"), Contradicted),
    (payments.PaymentUnclassified("new code"), Contradicted),
    (TimeoutError(), Lost),
]


async def _fails(error: Exception) -> NoReturn:
    raise error


@pytest.mark.parametrize(("error", "meaning"), SENT, ids=lambda value: getattr(value, "__name__", repr(value)))
async def test_what_an_error_means_after_sending(error: Exception, meaning: type) -> None:
    assert isinstance(await outcome_of_sending(_fails(error)), meaning)


@pytest.mark.parametrize("error", [error for error, _ in SENT], ids=repr)
async def test_no_error_of_a_question_is_an_answer(error: Exception) -> None:
    assert isinstance(await outcome_of_asking(_fails(error)), Lost | Contradicted)


async def test_no_reason_carries_a_number() -> None:
    spoken = carriers.CarrierRefused("LINE_NOT_FOUND", "There is no +8613800138000 here.")

    assert await outcome_of_sending(_fails(spoken)) == Refused("LINE_NOT_FOUND: There is no ###### here.")


def test_every_error_of_the_ports_is_in_the_table() -> None:
    tested = {type(error) for error, _ in SENT}
    bases = {carriers.CarrierError, payments.PaymentError, payments.PaymentHalted}

    assert {*_leaves(carriers.CarrierError), *_leaves(payments.PaymentError)} - bases - tested == {
        payments.ForgedEvent  # met by webhooks alone
    }


def _leaves(error: type[Exception]) -> Iterator[type[Exception]]:
    yield error
    for below in error.__subclasses__():
        yield from _leaves(below)


@pytest.mark.parametrize(
    "trouble", [carriers.CarrierRefused("NOT_FOUND", "no"), carriers.CarrierUnreachable("no connection")], ids=repr
)
async def test_a_duplicate_that_cannot_be_looked_up_is_unknown(
    world: World, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    custody = await world.reserved(500)
    receiver = world.numbers[world.a_line("9004", remaining_mb=0)]

    async def look_up(external_id: str) -> NoReturn:
        raise trouble

    monkeypatch.setattr(world.carrier, "find_movement", look_up)
    call = world.carrier.settle(str(custody.reservation_id), receiver, 100, f"dup-{custody.id}")
    with pytest.raises(carriers.CarrierUnknown) as unknown:
        await call

    assert type(unknown.value) is carriers.CarrierUnknown
