"""The documented test cards and how each behaves."""

from dataclasses import dataclass

MESSAGES = {
    "generic_decline": "Your card was declined.",
    "insufficient_funds": "Your card has insufficient funds.",
    "lost_card": "Your card was declined.",
    "stolen_card": "Your card was declined.",
    "fraudulent": "Your card was declined.",
    "card_velocity_exceeded": "Your card was declined for making repeated attempts too frequently.",
    "expired_card": "Your card has expired.",
    "incorrect_cvc": "Your card's security code is incorrect.",
    "processing_error": "An error occurred while processing your card. Try again in a little bit.",
    "authentication_required": "Your card was declined. This transaction requires authentication.",
}
OWN_CODE = frozenset({"expired_card", "incorrect_cvc", "processing_error", "authentication_required"})


@dataclass(frozen=True)
class Card:
    last4: str
    brand: str = "visa"
    decline: str | None = None
    """The decline code a charge meets."""
    is_challenged: bool = False
    """The buyer must confirm on the 3-D Secure page."""
    is_disputed: bool = False
    is_available_at_once: bool = False
    refund: str = "succeeds"
    """`succeeds`, `is_pending` (succeeds a little later) or `fails` (a little later)."""


def error_code(decline: str) -> str:
    return decline if decline in OWN_CODE else "card_declined"


CARDS = {
    "pm_card_visa": Card("4242"),
    "pm_card_visa_debit": Card("5556"),
    "pm_card_mastercard": Card("4444", "mastercard"),
    "pm_card_amex": Card("8431", "amex"),
    "pm_card_unionpay": Card("0005", "unionpay"),
    "pm_card_bypassPending": Card("0077", is_available_at_once=True),
    "pm_card_visa_chargeDeclined": Card("0002", decline="generic_decline"),
    "pm_card_chargeDeclined": Card("0002", decline="generic_decline"),
    "pm_card_visa_chargeDeclinedInsufficientFunds": Card("9995", decline="insufficient_funds"),
    "pm_card_chargeDeclinedInsufficientFunds": Card("9995", decline="insufficient_funds"),
    "pm_card_visa_chargeDeclinedLostCard": Card("9987", decline="lost_card"),
    "pm_card_visa_chargeDeclinedStolenCard": Card("9979", decline="stolen_card"),
    "pm_card_chargeDeclinedFraudulent": Card("0019", decline="fraudulent"),
    "pm_card_visa_chargeDeclinedExpiredCard": Card("0069", decline="expired_card"),
    "pm_card_chargeDeclinedExpiredCard": Card("0069", decline="expired_card"),
    "pm_card_visa_chargeDeclinedIncorrectCvc": Card("0127", decline="incorrect_cvc"),
    "pm_card_chargeDeclinedIncorrectCvc": Card("0127", decline="incorrect_cvc"),
    "pm_card_visa_chargeDeclinedProcessingError": Card("0119", decline="processing_error"),
    "pm_card_chargeDeclinedProcessingError": Card("0119", decline="processing_error"),
    "pm_card_visa_chargeDeclinedVelocityLimitExceeded": Card("6975", decline="card_velocity_exceeded"),
    "pm_card_chargeCustomerFail": Card("0341", decline="generic_decline"),
    "pm_card_threeDSecure2Required": Card("3220", is_challenged=True),
    "pm_card_threeDSecureRequired": Card("3063", is_challenged=True),
    "pm_card_authenticationRequired": Card("3184", is_challenged=True),
    "pm_card_threeDSecureRequiredChargeDeclined": Card("3097", is_challenged=True, decline="generic_decline"),
    "pm_card_createDispute": Card("0259", is_disputed=True),
    "pm_card_pendingRefund": Card("7726", refund="is_pending"),
    "pm_card_refundFail": Card("5126", refund="fails"),
}

NUMBERS = {
    "4242424242424242": "pm_card_visa",
    "4000056655665556": "pm_card_visa_debit",
    "5555555555554444": "pm_card_mastercard",
    "371449635398431": "pm_card_amex",
    "6200000000000005": "pm_card_unionpay",
    "4000000000000077": "pm_card_bypassPending",
    "4000000000000002": "pm_card_visa_chargeDeclined",
    "4000000000009995": "pm_card_visa_chargeDeclinedInsufficientFunds",
    "4000000000009987": "pm_card_visa_chargeDeclinedLostCard",
    "4000000000009979": "pm_card_visa_chargeDeclinedStolenCard",
    "4100000000000019": "pm_card_chargeDeclinedFraudulent",
    "4000000000000069": "pm_card_visa_chargeDeclinedExpiredCard",
    "4000000000000127": "pm_card_visa_chargeDeclinedIncorrectCvc",
    "4000000000000119": "pm_card_visa_chargeDeclinedProcessingError",
    "4000000000006975": "pm_card_visa_chargeDeclinedVelocityLimitExceeded",
    "4000000000000341": "pm_card_chargeCustomerFail",
    "4000000000003220": "pm_card_threeDSecure2Required",
    "4000000000003063": "pm_card_threeDSecureRequired",
    "4000002760003184": "pm_card_authenticationRequired",
    "4000000000003097": "pm_card_threeDSecureRequiredChargeDeclined",
    "4000000000000259": "pm_card_createDispute",
    "4000000000007726": "pm_card_pendingRefund",
    "4000000000005126": "pm_card_refundFail",
}
"""The test numbers that the hosted page takes, and the card that each of them is."""

BANK_FAILURES = {
    "000111111116": ("no_account", "The bank account could not be located."),
    "000111111113": ("account_closed", "The bank account has been closed."),
    "000333333335": ("debit_not_authorized", "Debit transactions are not approved on the bank account."),
}
"""Test account numbers whose payouts fail instead of arriving."""

RETURNED_AFTER_PAID = "000999999991"
"""A number of this simulator's own: the bank sends the money back after the payout was reported as paid."""
