"""The history checker finds nothing in an honest history, and each lie that is put into one."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.faults.history import (
    Books,
    Breach,
    Fill,
    History,
    Kept,
    Name,
    OrderKept,
    Request,
    Terms,
    Told,
    check,
    told_by_the_api,
    told_by_the_engine,
)

TERMS = Terms(1, "sell", 100, 5)
RESTING = Told(accepted=True, order_id=1, state="open", open=5, version=1)
TAKING = Told(accepted=True, order_id=2, state="filled", filled=5, version=1, fills=(Fill(9, 100, 5),))
REFUSED = Told(accepted=False, code="off_tick", detail="Prices go in steps of 5.")
SELL = Request(7, "sell", "sell 5 at 100", TERMS)
BUY = Request(8, "buy", "buy 5 at 100", TERMS._replace(side="buy"))
BAD = Request(8, "bad", "buy 5 at 101", TERMS._replace(side="buy", price_minor=101))
LATE = Request(8, "late", "buy 1 at 90", Terms(1, "buy", 90, 1))
NEVER = Request(8, "never", "buy 2 at 90", Terms(1, "buy", 90, 2))
BOUGHT_LATE = Told(accepted=True, order_id=4, state="open", open=1, version=1)
BOUGHT_AT_LAST = Told(accepted=True, order_id=5, state="open", open=2, version=1)

Run = tuple[History, Books, dict[Name, Told]]


def an_honest_run() -> Run:
    """A sale, a purchase, a refusal, and two requests whose first try got no answer: one of them had been done."""
    history = History()
    for request, told in ((SELL, RESTING), (BUY, None), (BUY, TAKING), (BAD, REFUSED), (LATE, None), (NEVER, None)):
        ask = history.ask(request)
        if told is not None:
            ask.answer(told)
    answers = {SELL: RESTING, BUY: TAKING, BAD: REFUSED, LATE: BOUGHT_LATE, NEVER: BOUGHT_AT_LAST}
    orders = [
        OrderKept(told.order_id, request.party_id, request.terms)
        for request, told in answers.items()
        if told.order_id is not None and request.terms is not None
    ]
    books = Books([Kept(request.name, told) for request, told in answers.items()], orders, list(TAKING.fills))
    return history, books, {request.name: told for request, told in answers.items()}


def _kinds(breaches: list[Breach]) -> set[str]:
    return {breach.kind for breach in breaches}


def test_an_honest_history_has_no_breach() -> None:
    assert check(*an_honest_run()) == []


def _lose_an_acknowledged_command(run: Run) -> Run:
    history, books, again = run
    return history, replace(books, journal=books.journal[1:], orders=books.orders[1:]), again


def _lose_an_order(run: Run) -> Run:
    history, books, again = run
    return history, replace(books, orders=books.orders[1:]), again


def _lose_a_trade(run: Run) -> Run:
    history, books, again = run
    return history, replace(books, trades=[]), again


def _lose_an_answer(run: Run) -> Run:
    history, books, again = run
    return history, books, {name: told for name, told in again.items() if name != NEVER.name}


def _journal_it_twice(run: Run) -> Run:
    history, books, again = run
    return history, replace(books, journal=[*books.journal, books.journal[0]]), again


def _place_it_twice(run: Run) -> Run:
    history, books, again = run
    return history, replace(books, orders=[*books.orders, books.orders[0]._replace(id=77)]), again


def _do_an_unanswered_one_twice(run: Run) -> Run:
    history, books, again = run
    twice = OrderKept(77, LATE.party_id, LATE.terms or TERMS)
    return history, replace(books, orders=[*books.orders, twice]), again


def _trade_it_twice(run: Run) -> Run:
    history, books, again = run
    return history, replace(books, trades=[*books.trades, *books.trades]), again


def _give_one_order_to_two_keys(run: Run) -> Run:
    history, books, again = run
    stolen = Told(accepted=True, order_id=4, state="open", open=2, version=1)
    journal = [kept if kept.name != NEVER.name else kept._replace(told=stolen) for kept in books.journal]
    return history, replace(books, journal=journal), again | {NEVER.name: stolen}


def _answer_differently_now(run: Run) -> Run:
    history, books, again = run
    return history, books, again | {SELL.name: RESTING._replace(order_id=6)}


def _have_answered_differently_then(run: Run) -> Run:
    history, books, again = run
    history.ask(SELL).answer(RESTING._replace(version=2))
    return history, books, again


def _turn_a_refusal_into_an_acceptance(run: Run) -> Run:
    history, books, again = run
    taken = Told(accepted=True, order_id=6, state="open", open=5, version=1)
    journal = [kept if kept.name != BAD.name else kept._replace(told=taken) for kept in books.journal]
    return history, replace(books, journal=journal), again | {BAD.name: taken}


def _journal_what_nobody_asked(run: Run) -> Run:
    history, books, again = run
    return history, replace(books, journal=[*books.journal, Kept((8, "whose"), REFUSED)]), again


def _change_what_was_ordered(run: Run) -> Run:
    history, books, again = run
    more = books.orders[0]._replace(terms=TERMS._replace(lots=6))
    return history, replace(books, orders=[more, *books.orders[1:]]), again


def _use_a_key_for_two_things(run: Run) -> Run:
    history, books, again = run
    history.ask(replace(SELL, body="sell 50 at 1"))
    return history, books, again


@pytest.mark.parametrize(
    ("doctor", "kind"),
    [
        (_lose_an_acknowledged_command, "lost"),
        (_lose_an_order, "lost"),
        (_lose_a_trade, "lost"),
        (_lose_an_answer, "lost"),
        (_journal_it_twice, "doubled"),
        (_place_it_twice, "invented"),
        (_do_an_unanswered_one_twice, "doubled"),
        (_trade_it_twice, "doubled"),
        (_give_one_order_to_two_keys, "doubled"),
        (_answer_differently_now, "changed"),
        (_have_answered_differently_then, "changed"),
        (_turn_a_refusal_into_an_acceptance, "changed"),
        (_journal_what_nobody_asked, "invented"),
        (_change_what_was_ordered, "lost"),
        (_use_a_key_for_two_things, "invented"),
    ],
)
def test_each_lie_in_a_doctored_history_is_found(doctor: Callable[[Run], Run], kind: str) -> None:
    breaches = check(*doctor(an_honest_run()))

    assert kind in _kinds(breaches)


def test_a_sale_whose_data_was_not_set_aside_is_no_command_and_must_not_be_one() -> None:
    history, books, again = an_honest_run()
    unkept = Request(7, "unkept", "sell 1 at 100", Terms(1, "sell", 100, 1))
    not_set_aside = Told(accepted=False, code="custody_refused", detail="Place a new order.")
    history.ask(unkept).answer(not_set_aside)
    again |= {unkept.name: not_set_aside}
    assert check(history, books, again) == []

    sold_all_the_same = Kept(unkept.name, RESTING._replace(order_id=6))
    assert "changed" in _kinds(check(history, replace(books, journal=[*books.journal, sold_all_the_same]), again))


def test_the_engine_and_the_api_say_the_same_thing_in_their_own_ways() -> None:
    journaled = (
        b'{"key":"k","party_id":8,"accepted":true,"order_id":2,"state":"filled","filled":5,"version":1,'
        b'"fills":[{"trade_id":9,"price_minor":100,"quantity":5}]}'
    )
    shown = {
        "key": "k", "accepted": True, "code": None, "detail": None, "order_id": "ord_2", "state": "filled",
        "reason": None, "open_lots": 0, "filled_lots": 5, "version": 1,
        "fills": [{"trade_id": "trd_9", "price_minor": 100, "lots": 5}],
    }  # fmt: skip
    refused = b'{"key":"k","party_id":8,"accepted":false,"code":"off_tick","detail":"Prices go in steps of 5."}'
    problem = {"title": "Unprocessable", "status": 422, "code": "off_tick", "detail": "Prices go in steps of 5."}

    assert told_by_the_engine(journaled) == told_by_the_api(shown) == TAKING
    assert told_by_the_engine(refused) == told_by_the_api(problem) == REFUSED
