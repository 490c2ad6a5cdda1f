"""The words for codes: carriers, places, states and refusals, in the language of the one who reads."""

import re
from datetime import datetime
from functools import cache
from typing import Protocol

from market.refusals import Refusal
from market.step_up import StepUpNeeded
from settlement import breaker, delivery
from web.i18n import N_, messages, month, translated

CARRIERS = {"CMCC": N_("China Mobile"), "CUCC": N_("China Unicom"), "CTCC": N_("China Telecom")}
PLACES = {
    "CN": N_("Nationwide"),
    "AH": N_("Anhui"),
    "BJ": N_("Beijing"),
    "CQ": N_("Chongqing"),
    "FJ": N_("Fujian"),
    "GD": N_("Guangdong"),
    "GS": N_("Gansu"),
    "GX": N_("Guangxi"),
    "GZ": N_("Guizhou"),
    "HA": N_("Henan"),
    "HB": N_("Hubei"),
    "HE": N_("Hebei"),
    "HI": N_("Hainan"),
    "HL": N_("Heilongjiang"),
    "HN": N_("Hunan"),
    "JL": N_("Jilin"),
    "JS": N_("Jiangsu"),
    "JX": N_("Jiangxi"),
    "LN": N_("Liaoning"),
    "NM": N_("Inner Mongolia"),
    "NX": N_("Ningxia"),
    "QH": N_("Qinghai"),
    "SC": N_("Sichuan"),
    "SD": N_("Shandong"),
    "SH": N_("Shanghai"),
    "SN": N_("Shaanxi"),
    "SX": N_("Shanxi"),
    "TJ": N_("Tianjin"),
    "XJ": N_("Xinjiang"),
    "XZ": N_("Tibet"),
    "YN": N_("Yunnan"),
    "ZJ": N_("Zhejiang"),
}
APPS = {"VIDEO": N_("video apps"), "MUSIC": N_("music apps"), "SOCIAL": N_("social apps"), "GAME": N_("games")}

MARKET_STATES = {
    "pre_open": N_("Before the opening"),
    "auction": N_("Before an auction"),
    "open": N_("Trading"),
    "paused": N_("Paused"),
    "cancel_only": N_("Cancel only"),
    "halted": N_("Halted"),
    "closed": N_("Closed"),
}
ORDER_STATES = {"open": N_("Open"), "filled": N_("Filled"), "cancelled": N_("Ended")}
REASONS = {
    "cancelled": N_("You cancelled it"),
    "expired": N_("Its time ran out"),
    "closed": N_("The market closed"),
    "ioc_remainder": N_("The rest was cancelled at once, as you asked"),
    "fok_unfilled": N_("It could not be filled as a whole"),
    "post_only_would_cross": N_("It would have traded at once"),
    "self_trade": N_("It would have traded with your own order"),
    "linked": N_("The other of its pair traded or ended"),
    "sim_swapped": N_("The SIM card of this line was changed"),
    "recycled": N_("This number was given to somebody else"),
    "ported_out": N_("This number left its carrier"),
    "plan_changed": N_("The plan of this line was changed"),
    "line_closed": N_("This line was closed"),
    "reservation_lapsed": N_("The carrier no longer sets this data aside"),
    "frozen": N_("Your account was put on hold"),
    "rules_changed": N_("The carrier's rules changed, and this can't be delivered any more"),
    "sales_used_up": N_("This line has sold as often this month as its carrier allows"),
    "sales_used_up_today": N_("This line has sold as often today as its carrier allows"),
    "receipts_used_up": N_("This line has received as often this month as its carrier allows"),
    "receipts_used_up_today": N_("This line has received as often today as its carrier allows"),
    "receive_cap": N_("This line has received as much this month as its carrier allows"),
    "receive_cap_today": N_("This line has received as much today as its carrier allows"),
    "plans_do_not_match": N_("The carrier does not transfer between these two kinds of plan"),
    "other_province": N_("The carrier transfers within a province only"),
    "outside_hours": N_("The carrier does not transfer at this hour"),
    "too_early": N_("The carrier transfers this data in its last days only"),
    "line_unknown": N_("It was not known which line this order was for"),
    "plan_not_eligible": N_("This kind of plan can't take part in transfers"),
    "province_unknown": N_("The carrier transfers within a province, and that of this line is not known"),
    "resale_forbidden": N_("The carrier does not allow data to be sold"),
    "off_step": N_("The carrier transfers whole steps only"),
    "transfer_too_large": N_("One lot is more than the carrier transfers at once"),
    "band_breached": N_("The next trade would have been too far from the last price"),
}
TIMES_IN_FORCE = {
    "gtc": N_("Until cancelled or the market closes"),
    "day": N_("Until the end of today"),
    "gtd": N_("Until a set time"),
    "ioc": N_("At once, cancel the rest"),
    "fok": N_("All at once or not at all"),
}
SELF_TRADES = {
    "cancel_newest": N_("The new order gives way"),
    "cancel_oldest": N_("The order that waits gives way"),
    "cancel_both": N_("Both end"),
    "decrement": N_("Both shrink, and nothing trades"),
}
ORDER_KINDS = {
    "plain": N_("Straight into the book"),
    "stop": N_("Stop: wait for a price"),
    "pair": N_("Pair: this price, or a stop"),
    "iceberg": N_("Iceberg: show only a part"),
    "minimum": N_("Smallest fill"),
    "all_or_none": N_("All or none"),
    "pegged": N_("Pegged: follow the last price"),
}
DELIVERIES = {
    "pending": N_("On its way"),
    "delivered": N_("Moved, payment next"),
    "settled": N_("Completed"),
    "refunded": N_("Refunded"),
}
STEPS = {
    "requested": N_("Asked for"),
    "requires_action": N_("Waiting for your bank's confirmation"),
    "authorised": N_("Held on your card"),
    "succeeded": N_("Received"),
    "voided": N_("Released"),
    "declined": N_("Declined"),
    "refunded": N_("Refunded"),
    "unknown": N_("Being checked"),
    "transferred": N_("On its way to your bank"),
    "paid": N_("Paid out"),
    "refused": N_("Refused"),
    "done": N_("Done"),
}
INSTRUCTIONS = {
    "ready": N_("Waiting for its turn"),
    "claimed": N_("The carrier is being asked"),
    "unknown": N_("The carrier has not answered yet; it is asked again before anything is repeated"),
    "done": N_("Done"),
    "refused": N_("The carrier refused"),
    "dead": N_("A person is looking into it"),
}
ENTRIES = {
    "hold": N_("Set aside for an order"),
    "release": N_("Given back by an order"),
    "settled": N_("Trade"),
    "refunded": N_("Trade refunded"),
    "topped_up": N_("Top-up"),
    "top_up_refunded": N_("Top-up refunded"),
    "refund_returned": N_("Refund returned"),
    "taken_back": N_("Card payment taken back"),
    "given_again": N_("Card payment returned to you"),
    "payout_held": N_("Set aside for a withdrawal"),
    "paid_out": N_("Withdrawal"),
    "billed": N_("Top-up on the phone bill"),
    "bill_refunded": N_("Taken off the phone bill"),
    "payout_returned": N_("Withdrawal returned"),
    "gift_link_held": N_("Set aside for a gift"),
    "gift_link_claimed": N_("Gift"),
    "gift_link_returned": N_("Gift came back"),
    "carrier_reversed": N_("Delivery taken back by the carrier"),
    "paid_back_outside": N_("Payment taken back after delivery"),
    "debt_paid": N_("Paid on what was owed"),
    "reopening_withdrawn": N_("Reopened trade closed again"),
    "buy_in_funded": N_("Set aside to buy a trade in"),
    "buy_in_closed": N_("Left over from a buy-in"),
    "uncaptured": N_("Card payment covered by us"),
    "adjusted": N_("Corrected by our officers"),
    "case_paid_back": N_("Paid back by decision of our officers"),
}
CAUSES = {
    "missing_there": N_("We have it, they do not"),
    "missing_here": N_("They have it, we do not"),
    "amount_differs": N_("The amounts differ"),
    "status_differs": N_("Disagreement on how it ended"),
    "done_twice": N_("They did it more than once"),
    "in_flight": N_("It has not ended yet"),
    "not_compared": N_("They could not be asked"),
    "unreadable": N_("A line of theirs makes no sense"),
    "ledger_differs": N_("Our documents and our ledger disagree"),
    "not_cleared": N_("An account is not empty that should be"),
    "custody_lapsed": N_("The reservation has run out"),
    "balance_differs": N_("The balance is not what the books come to"),
}
RECORDS = {
    "trade": N_("Trades"),
    "top_up": N_("Top-ups"),
    "card_hold": N_("Card payments"),
    "refund": N_("Refunds"),
    "payout": N_("Withdrawals"),
    "release": N_("Releases"),
    "break": N_("Breaks"),
}
TASKS = {
    "deliver": N_("Move data to the buyer"),
    "bundle": N_("Move the data of several trades to the buyer"),
    "reserve": N_("Set the seller's data aside"),
    "release": N_("Give data back to the seller"),
    "capture": N_("Capture a card hold"),
    "void": N_("Release a card hold"),
    "finish_payment": N_("Finish a card payment"),
    "transfer": N_("Send money to a bank"),
    "payout": N_("Pay out"),
    "refund": N_("Refund a top-up"),
    "refund_part": N_("Refund a part of a top-up"),
    "evidence": N_("Answer a dispute"),
    "redeem": N_("Turn coins into data"),
    "handout": N_("Hand data out"),
    "give": N_("Move given data to its receiver"),
    "tank_release": N_("Give data of the tank back at the carrier"),
    "reverse": N_("Take a transfer back"),
    "bill_prepare": N_("Reserve a payment on the phone bill"),
    "bill_confirm": N_("Charge a phone bill"),
    "bill_cancel": N_("Let a payment on the phone bill go"),
    "bill_refund": N_("Take a payment off the phone bill"),
}
DESTINIES = {
    "back": N_("Back to me"),
    "price_steps": N_("Lower the price day by day, then back to me"),
    "last_auction": N_("Wait for the closing auctions, then back to me"),
    "friend": N_("To a friend"),
    "tank": N_("Into the community tank"),
    "charity": N_("To charity"),
}
WAITS = {
    breaker.WAITING: N_(
        "The carrier does not answer. Nothing is sent until it does, and it is tried again from time to time."
    ),
    delivery.BUNDLED: N_("It moves by one call with other trades of the same two lines."),
    delivery.GIVEN_UP: N_("The buyer did not want to wait any longer."),
}
TRACKED = {
    "matched": N_("Matched"),
    "held": N_("Money and goods are set aside"),
    "sent": N_("Sent to the carrier"),
    "delivered": N_("Delivered"),
    "captured": N_("Taken from your card"),
    "paid": N_("Paid"),
    "refunded": N_("Refunded"),
    "carrier_reversed": N_("Taken back by the carrier"),
    "carrier_reversed_withdrawn": N_("Not taken back after all"),
    "disputed": N_("Payment taken back by the bank"),
    "disputed_withdrawn": N_("The bank gave the payment back"),
    "refunded_outside": N_("Payment refunded outside"),
    "refunded_outside_withdrawn": N_("The refund outside failed"),
    "case_decided": N_("Decided by our officers"),
    "case_decided_withdrawn": N_("The decision was taken back"),
}
AWAITED = {
    "turn": N_("Waiting for its turn"),
    "answer": N_("The carrier is being asked"),
    "asking": N_("The carrier has not answered yet; it is asked again before anything is repeated"),
    "trying": N_("It did not get through; we try again"),
    "person": N_("A person is looking into it"),
    "ending": N_("Something else of this trade has to end first"),
    "card_turn": N_("The card payment is taken next"),
    "card_answer": N_("The payment provider is being asked"),
    "card_asking": N_("The payment provider has not answered yet; it is asked again before anything is repeated"),
    "card_trying": N_("The payment provider was not reached; we try again"),
    "card_person": N_("A person is looking into it"),
}
LANE_STATES = {
    "closed": N_("In order"),
    "open": N_("Does not answer"),
    "half_open": N_("Being tried again"),
}
LANES = {"provider": N_("Payment provider"), "house": N_("Our own books")}
NOTICED = {
    "self_trade": N_("Own order met own order"),
    "outside_band": N_("Price outside the band"),
    "band_breach": N_("A price jumped out of the band"),
    "skipped": N_("Kept apart by the carrier's rules"),
}
LINE_STATES = {"active": N_("Active"), "suspended": N_("Suspended"), "closed": N_("Closed")}
PLANS = {"prepaid": N_("Prepaid"), "postpaid": N_("Postpaid")}

REFUSALS = {
    "account_missing": N_("There is no account for what this order would earn."),
    "amend_below_filled": N_("More than that has already been filled."),
    "amend_would_cross": N_("At this price the order would trade at once, and it may only rest."),
    "bad_decay": N_("Choose a lowest price below the first one, and steps that lead there on the price step."),
    "bad_display": N_("An iceberg shows at least 1 lot at a time, and fewer than it has."),
    "bad_expiry": N_("The time until which the order stands is not valid."),
    "bad_input": N_("Something that was entered is not valid. Please check it."),
    "bad_minimum": N_("The smallest fill is at least 1 lot, and no more than the order has."),
    "bad_pair": N_("These two orders don't make a pair."),
    "bad_quantity": N_("The quantity is not valid in this market."),
    "condition_stands_alone": N_("Such a condition can't be combined with the other choices."),
    "conflict": N_("It has changed since you looked. Look again, then decide."),
    "csrf": N_("This page has been open for too long. Please load it again."),
    "custody_is_fixed": N_("Only the reserved data can be sold. Place another order to sell more."),
    "custody_missing": N_("The data must be reserved at the carrier first."),
    "decay_is_for_sales": N_("Only what you sell can get cheaper by itself."),
    "decay_stands_alone": N_("A price that falls can't be combined with the other choices."),
    "expiry_after_close": N_("The market closes before that time."),
    "expiry_missing": N_("The order needs a time until which it stands."),
    "expiry_passed": N_("That time has already passed."),
    "expiry_too_far": N_("An order may not stand for that long."),
    "expiry_unexpected": N_("Such an order has no time until which it stands."),
    "fill_or_kill_instead": N_("Choose all at once or not at all, and leave the other condition out."),
    "forbidden": N_("You may not do this."),
    "foreign_origin": N_("This request came from another site."),
    "idempotency_key_reused": N_("This form was already sent with other values. Please load the page again."),
    "insufficient_coins": N_("You don't have that many coins available."),
    "insufficient_data": N_("You don't have that much available to sell."),
    "insufficient_funds": N_("There is not enough available in your wallet."),
    "insufficient_money": N_("There is not enough money available in your wallet."),
    "internal": N_("Something went wrong on our side. It has been noted under the number shown here."),
    "line_missing": N_("Choose the line that gets the data."),
    "line_unknown": N_("It is not known which line this order is for. Choose the line."),
    "market_cancel_only": N_("The market takes no new orders now; you can cancel."),
    "market_closed": N_("This market has closed."),
    "market_collecting": N_("Orders are being collected for an auction: only one that can wait is taken now."),
    "market_halted": N_("This market is halted for now."),
    "market_not_open": N_("This market is not open yet."),
    "method_not_allowed": N_("This address does not know that method."),
    "must_rest": N_("Such an order has to wait in the book: name a price, and choose how long it stands."),
    "no_reference": N_("There is no last price yet that an order could follow."),
    "not_allowed": N_("The rules of the market or of the carrier don't allow this."),
    "not_found": N_("There is nothing at this address, or it is not yours."),
    "not_signed_in": N_("Please sign in."),
    "off_step": N_("This carrier transfers whole steps only. Choose a multiple of its step."),
    "off_tick": N_("The price is not a multiple of the price step."),
    "other_shard": N_("These orders are of markets that are matched apart from each other."),
    "outcome_unknown": N_("It is not known yet whether this took effect. Send it again: it will not happen twice."),
    "outside_band": N_("The price is outside the band of this market."),
    "payment_failed": N_("The card was declined."),
    "peg_off_tick": N_("The distance is not a multiple of the price step."),
    "peg_stands_alone": N_("An order that follows the last price can't have a stop or a price that falls too."),
    "plan_not_eligible": N_("Your kind of plan can't take part in transfers."),
    "post_only_must_rest": N_("An order that may only rest can't be one that trades at once."),
    "price_unexpected": N_("An order that follows the last price has no price of its own. Leave the price out."),
    "province_unknown": N_("This carrier transfers within a province, and that of your line is not known."),
    "queue_full": N_("The market is very busy. Try again in a few seconds."),
    "receipts_used_up": N_("This line has received as often this month as its carrier allows."),
    "receipts_used_up_today": N_("This line has received as often today as its carrier allows."),
    "receive_cap": N_("This line has received as much this month as its carrier allows."),
    "receive_cap_today": N_("This line has received as much today as its carrier allows."),
    "refused": N_("This was refused."),
    "resale_forbidden": N_("This carrier does not allow data to be sold."),
    "sales_used_up": N_("This line has sold as often this month as its carrier allows."),
    "sales_used_up_today": N_("This line has sold as often today as its carrier allows."),
    "stale_version": N_("The order has changed since you looked. Look again, then decide."),
    "stop_reached": N_("The market is already at this price. Choose one further away."),
    "stop_takes": N_("A stop may trade at once when its price is reached, so it can't be one that may only rest."),
    "terms_are_fixed": N_("This order moves by itself. Cancel it and place a new one."),
    "too_large": N_("The request is larger than this address accepts."),
    "too_many_orders": N_("You have too many open orders. Cancel some first."),
    "too_many_requests": N_("That was too often. Please wait a moment."),
    "too_many_special_orders": N_("This market takes no more orders with conditions just now."),
    "too_slow": N_("The request did not arrive in time."),
    "transfer_too_large": N_("One lot is more than this carrier transfers at once."),
    "unavailable": N_("A part of the market does not answer. Please try again in a moment."),
    "unknown_account": N_("There is no such account for this order."),
    "unknown_instrument": N_("There is no such instrument."),
    "unknown_order": N_("This order is not open any more, or it is not yours."),
    "wrong_media_type": N_("This address does not read that kind of content."),
}


PLAINER = frozenset({"off_tick", "outside_band", "insufficient_money", "peg_off_tick", "bad_decay"})
"""Codes whose sentence speaks of minor units: people get ours instead."""
VALUE = re.compile(r"\{(\w+)\}")
NUMBERED = re.compile(r"Order \d+ of \d+: ")
"""How a refusal of one order among several begins: a page has one form, and needs no number."""


class Named(Protocol):
    """What an instrument is named by."""

    @property
    def kind(self) -> str: ...
    @property
    def symbol(self) -> str: ...
    @property
    def carrier(self) -> str | None: ...


CASE_REASONS = {
    "not_received": N_("The data never arrived"),
    "wrong_amount": N_("Less arrived than I bought"),
    "expired_early": N_("It expired earlier than it said"),
    "not_paid": N_("I was not paid"),
    "other": N_("Something else"),
}
CASE_STATES = {
    "open": N_("Unresolved"),
    "decided": N_("Decided"),
    "withdrawn": N_("Withdrawn"),
    "abandoned": N_("Given up: no answer came in time"),
}


def word(table: dict[str, str], code: str | None, locale: str) -> str:
    """The word for a code; a code that nobody gave words to is shown as it is."""
    if code is None:
        return ""
    return translated(locale, table[code]) if code in table else code


def refusal_words(code: str, detail: str, locale: str) -> str:
    """A refusal in the reader's language: word for word if the catalogue knows it, else what its code means."""
    if code in PLAINER:
        return word(REFUSALS, code, locale)
    detail = NUMBERED.sub("", detail, count=1)
    if locale == "en":
        return detail
    own = translated(locale, detail)
    if own == detail:
        own = next(
            (told for told in (_told(pattern, words, detail) for pattern, words in _patterns(locale)) if told), ""
        )
    return own or word(REFUSALS, code, locale) if code in REFUSALS else own or detail


@cache
def _patterns(locale: str) -> list[tuple[re.Pattern[str], str]]:
    """Translated refusals with values in them, and how to find the values in the English sentence."""
    with_values = ((english, words) for english, words in messages(locale).items() if VALUE.search(english))
    return [(re.compile(_as_pattern(english), re.DOTALL), words) for english, words in with_values]


def _as_pattern(english: str) -> str:
    """The sentence as a pattern: every other part is the name of a value."""
    parts = VALUE.split(english)
    return "".join(f"(?P<v_{part}>.+?)" if place % 2 else re.escape(part) for place, part in enumerate(parts))


def _told(pattern: re.Pattern[str], words: str, detail: str) -> str:
    found = pattern.fullmatch(detail)
    return VALUE.sub(lambda value: found.group(f"v_{value[1]}"), words) if found else ""


def said(error: Refusal, locale: str) -> str:
    """A refusal in the reader's language. One that asks for a proof is no words on this page: it leads to another.

    Raises:
        StepUpNeeded: it was that.
    """
    if isinstance(error, StepUpNeeded):
        raise error
    return refusal_words(error.code, error.detail, locale)


def instrument_name(instrument: Named, locale: str) -> str:
    """An instrument as people say it: carrier, place, month and app."""
    if instrument.kind == "coin":
        return translated(locale, "Coins")
    return f"{word(CARRIERS, instrument.carrier, locale)} · {short_name(instrument, locale)}"


def short_name(instrument: Named, locale: str) -> str:
    """The same without the carrier, for where that is said already."""
    if instrument.kind == "coin":
        return translated(locale, "Coins")
    _, place, expiry, *apps = instrument.symbol.split("-")
    parts = [word(PLACES, place, locale), _month_of(expiry, locale), *(word(APPS, code, locale) for code in apps)]
    return " · ".join(parts)


def _month_of(expiry: str, locale: str) -> str:
    """``2611`` in words."""
    from_symbol = datetime.strptime(expiry + "+0800", "%y%m%z")
    return month(from_symbol.replace(day=2), locale)
