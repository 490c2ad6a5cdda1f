"""How an instrument goes from one state into another, and what an auction would come to: decisions in plain values."""

from itertools import islice
from typing import NamedTuple

import msgspec

from market.engine.commands import Command, SetState
from market.engine.instruments import Instrument, Standing
from market.engine.refusing import NotTaken
from matching.orders import Order
from matching.rules import MarketState

CALL_US = 120_000_000
"""How long orders are collected, at the least, for an auction that nobody had planned for this time."""
STOPPING = ("halted", "cancel_only")
LET_GO_AT_ONCE = 1_000
"""Orders that one command ends in a closed market: at the end of a month there may be a hundred thousand."""


class Step(NamedTuple):
    """What a command comes to: first an auction, if one is to be held, then how the instrument stands."""

    standing: Standing
    auction: bool = False


class Indicated(msgspec.Struct, frozen=True):
    """What everybody sees while orders are collected. With no price nothing could trade yet."""

    state: str
    ends_us: int | None
    """When the auction is held at the earliest, microseconds since the epoch."""
    price_minor: int | None = None
    volume: int = 0
    surplus: int = 0
    """Lots left over at that price: of buyers when positive, of sellers when negative."""


def stops(command: Command) -> bool:
    """Whether a command is to stop the trading: nothing that the time asks for may trade first."""
    return isinstance(command, SetState) and command.state in STOPPING


def closes_quietly(instrument: Instrument, command: Command) -> bool:
    """Whether a command closes a market without an auction, so that it ends orders and trades none."""
    return isinstance(command, SetState) and command.state == "closed" and not instrument.terms.state.collects


def leftovers(instrument: Instrument) -> list[Order]:
    """The next orders that a market ends because it closes: the best price first, then first come first.

    The clock asks for the rest of them, so that nobody else's commands wait for all.
    """
    return list(islice(instrument.book.all_orders(), LET_GO_AT_ONCE))


def is_letting_go(instrument: Instrument) -> bool:
    """Whether a closed market has orders left to end."""
    return instrument.terms.state is MarketState.CLOSED and bool(instrument.book.orders)


def pause_is_over(instrument: Instrument, now_us: int) -> bool:
    """Whether the auction that ends a pause is due."""
    return instrument.paused_until_us is not None and instrument.paused_until_us <= now_us


def paused(now_us: int) -> Standing:
    """How an instrument stands after a breach of its dynamic band."""
    return Standing("paused", paused_until_us=now_us + CALL_US, call_ends_us=now_us + CALL_US)


def indication(instrument: Instrument) -> Indicated | None:
    """What an auction would come to now; None when no orders are collected."""
    if not instrument.terms.state.collects:
        return None
    state, found = str(instrument.terms.state), instrument.book.indicative()
    if found is None:
        return Indicated(state, instrument.call_ends_us)
    return Indicated(state, instrument.call_ends_us, found.price, found.volume, found.surplus)


def step(instrument: Instrument, command: SetState, now_us: int) -> Step:
    """Decide what becomes of a command; nothing is changed yet.

    Raises:
        NotTaken: the instrument can't come into that state, or not by whoever asks.
    """
    stands = instrument.standing
    if stands.state == "closed":
        if command.state == "closed":
            return Step(stands)
        raise NotTaken("market_closed", "This market is closed for good.")
    if command.state == "closed":
        return Step(Standing("closed"), auction=instrument.terms.state.collects)
    match command.by:
        case "schedule":
            return _scheduled(stands, command)
        case "switch":
            return _switched(instrument, command.state, now_us)
        case "carrier":
            return _of_carrier(instrument, command.state, now_us)
        case "officer":
            return _by_hand(instrument, command, now_us)


def _scheduled(stands: Standing, command: SetState) -> Step:
    """The plan never overrules a person, and what is open already gets no second auction."""
    if stands.stopped_by is not None:
        raise NotTaken("stopped", "An officer has stopped this market. The plan waits until it is opened again.")
    if command.state == "open":
        return Step(stands) if stands.state == "open" else Step(Standing("open"), auction=True)
    return Step(Standing(command.state, call_ends_us=command.call_ends_us))


def _by_hand(instrument: Instrument, command: SetState, now_us: int) -> Step:
    terms = instrument.terms
    if command.state in STOPPING:
        return Step(Standing(command.state, stopped_by="officer"))
    if command.state == "paused":
        return Step(paused(now_us))
    if command.state != "open":
        return Step(Standing(command.state, call_ends_us=command.call_ends_us))
    if now_us >= terms.closes_at:
        raise NotTaken("market_closed", "The time of this market is over. It can't be opened again.")
    if now_us < terms.opens_at:  # it has an opening auction before it, which the plan holds
        return Step(Standing("pre_open", call_ends_us=terms.opens_at))
    return Step(instrument.standing) if instrument.standing.state == "open" else Step(Standing("open"), auction=True)


def _switched(instrument: Instrument, state: str, now_us: int) -> Step:
    """The switch for the whole market: what it halts it also restores, and nothing else."""
    stands = instrument.standing
    if state not in {"halted", "open"}:
        raise NotTaken("bad_state", "The switch halts all markets, or opens them again.")
    if state == "open":
        return _restored(instrument, now_us) if stands.stopped_by == "switch" else Step(stands)
    if stands.state == "halted" and stands.stopped_by is not None:
        return Step(stands)
    return Step(Standing("halted", call_ends_us=stands.call_ends_us, stopped_by="switch", state_before=stands.state))


def _of_carrier(instrument: Instrument, state: str, now_us: int) -> Step:
    """A carrier that is away lets its orders only go, and what that has stopped is opened again, and nothing else."""
    stands = instrument.standing
    if state not in {"cancel_only", "open"}:
        raise NotTaken("bad_state", "A carrier stops its markets, or lets go of them.")
    if state == "open":
        return _restored(instrument, now_us) if stands.stopped_by == "carrier" else Step(stands)
    if stands.stopped_by is not None:
        return Step(stands)
    before, call_ends_us = stands.state, stands.call_ends_us
    return Step(Standing("cancel_only", call_ends_us=call_ends_us, stopped_by="carrier", state_before=before))


def _restored(instrument: Instrument, now_us: int) -> Step:
    """What collected goes on for a while, so that everybody may look again before the auction."""
    stands = instrument.standing
    match stands.state_before:
        case "paused":
            return Step(paused(now_us))
        case "pre_open" | "auction" as before:
            return Step(Standing(before, call_ends_us=max(stands.call_ends_us or 0, now_us + CALL_US)))
        case "cancel_only":
            return Step(Standing("cancel_only", stopped_by="officer"))
        case "open" if now_us < instrument.terms.closes_at:
            return Step(Standing("open"), auction=True)  # falling asks may have come to meet bids meanwhile
        case _:
            return Step(Standing("halted"))
