"""The sentences of notices. What stands in them is told from the notice's facts, in the reader's language."""

from collections.abc import Mapping
from datetime import datetime

from web import i18n
from web.i18n import N_, translated

CURRENCY = "CNY"

NOTICES = {
    "bought": N_("%(quantity_mb)s arrived on your line."),
    "bought_coins": N_("%(coins)s coins are in your wallet."),
    "sold": N_("You sold %(quantity_mb)s and received %(net_minor)s."),
    "sold_coins": N_("You sold %(coins)s coins and received %(net_minor)s."),
    "refunded": N_("A purchase could not be delivered; %(amount_minor)s are back with you."),
    "not_sold": N_("A sale could not be delivered; your data is yours again."),
    "order_ending": N_("Your order %(order)s ends on %(ends_at)s. Renew it if it should stand longer."),
    "price_fell": N_("%(symbol)s is offered at %(best_minor)s."),
    "price_rose": N_("Somebody bids %(best_minor)s for %(symbol)s."),
    "usage": N_("%(percent)s%% of your plan's data is used or sold; %(left_mb)s are left until %(expires_at)s."),
    "expires_soon": N_("%(left_mb)s expire on %(expires_at)s. You can still sell them."),
    "received_suspended": N_(
        "Your new plan does not receive data: your carrier keeps back %(quantity_mb)s that your line received this"
        " month. They are there again if you change back this month."
    ),
    "received_restored": N_("Your plan receives data again: %(quantity_mb)s are there again."),
    "orders_frozen": N_("Your account is on hold, so %(orders)s of your open orders were cancelled."),
    "case_opened": N_("Somebody says that %(trade)s went wrong. You can say what you know about it."),
    "case_asked": N_("Our officers ask you something about %(trade)s. Please answer by %(answer_due_at)s."),
    "case_withdrawn": N_("The case about %(trade)s was withdrawn."),
    "case_abandoned": N_("The case about %(trade)s was closed: no answer came in time."),
    "case_decided_back": N_("The case about %(trade)s was decided: the buyer gets %(amount_minor)s back."),
    "case_decided_nothing": N_("The case about %(trade)s was decided: nothing is paid back."),
    "passkey_added": N_("The passkey %(name)s was added to your account."),
    "passkey_removed": N_("The passkey %(name)s was removed from your account."),
    "name_checked": N_("Your carrier has confirmed your name. Your limits are higher now."),
    "payouts_changed": N_("Your payout settings were changed. Was it not you? Sign out everywhere in the settings."),
    "sim_changed": N_("The SIM card of your line was changed. No money leaves your wallet for 72 hours."),
    "given_to_friend": N_("%(quantity_mb)s that you did not sell went to your friend."),
    "given_to_charity": N_("%(quantity_mb)s of yours went to charity."),
    "given_to_tank": N_("%(quantity_mb)s that you did not sell are in the community tank."),
    "received_from_friend": N_("Somebody gave you %(quantity_mb)s. It is on your line."),
    "received_from_tank": N_("%(quantity_mb)s out of the community tank arrived on your line."),
    "tank_refused": N_("The carrier did not move %(quantity_mb)s out of the community tank to your line."),
    "tank_left": N_("Nobody took %(quantity_mb)s of yours out of the community tank in time."),
    "not_given": N_("The carrier did not move %(quantity_mb)s that you wanted to give; they go back to you."),
    "destiny_given_back": N_("%(quantity_mb)s that you did not sell go back to you: %(reason)s"),
    "gift_claimed": N_("Somebody took your gift of %(coins)s coins."),
    "gift_returned": N_("Nobody took your gift of %(coins)s coins in time. They are yours again."),
    "household_invited": N_("You are asked to join a household."),
    "household_joined": N_("Whom you asked has joined your household."),
    "household_declined": N_("Whom you asked does not want to join your household."),
    "household_left": N_("Somebody has left your household."),
    "household_removed": N_("You were taken out of your household."),
    "household_ended": N_("Your household has ended: the one who paid for it has left."),
    "pilot_sell": N_("Your autopilot put %(amount_mb)s on sale at %(gb_minor)s per GB."),
    "pilot_buy": N_("Your autopilot bids %(gb_minor)s per GB for %(amount_mb)s."),
    "pilot_shrink": N_("Your autopilot made one of its orders smaller, to %(amount_mb)s."),
    "pilot_cancel": N_("Your autopilot took one of its orders back."),
    "pilot_refused": N_("Your autopilot wanted to trade %(amount_mb)s and was refused. Its log says why."),
    "bank_changed": N_(
        "Your bank account for payouts was changed to one that ends in %(last4)s. Nothing is paid out before"
        " %(quiet_until_at)s. Was this not you? Tell us at once."
    ),
}
"""By the notice's kind. Facts are named as in `settlement.notices.tell`."""


def notice_words(kind: str, facts: Mapping[str, object], locale: str) -> str:
    """A notice as a sentence."""
    said = {name: _fact(name, value, locale) for name, value in facts.items() if value is not None}
    return translated(locale, NOTICES[kind]) % said if kind in NOTICES else kind


def _fact(name: str, value: object, locale: str) -> str:
    if isinstance(value, int):
        if name.endswith("_minor"):
            return i18n.money(value, CURRENCY, locale)
        return i18n.data(value, locale) if name.endswith("_mb") else i18n.number(value, locale)
    if name.endswith("_at"):
        return i18n.minute(datetime.fromisoformat(str(value)), locale)
    return i18n.translated(locale, str(value))
