"""Everything a payment call can end in other than success.

PaymentError
├── PaymentDeclined          definite: the card said no, nothing was taken
├── PaymentRefused           definite: the provider said no, nothing was done
├── PaymentUnknown           it may have happened: ask before acting, send again only with the same key
│   └── PaymentUnauthorised  our key is not accepted: nothing moves until an operator mends it
├── PaymentHalted            a person must look before anything else is sent
│   ├── PaymentMismatch      the provider's answer is not what was asked for
│   ├── PaymentKeyReused     our idempotency key was used before with another content
│   └── PaymentUnclassified  a refusal with a code that this program does not know
└── ForgedEvent              a webhook that the provider did not sign
"""


class PaymentError(Exception):
    """Its text is fit for the person who pays; the attributes are for logs and decisions."""


class PaymentDeclined(PaymentError):
    """The card was declined.

    The words are the same for every reason: someone who tries stolen cards must not learn
    which of them are alive. `decline_code` is for our own eyes.
    """

    def __init__(self, code: str, decline_code: str | None = None, payment_id: str | None = None) -> None:
        super().__init__("The payment was declined. Please try another card or ask your bank.")
        self.code = code
        self.decline_code = decline_code
        self.payment_id = payment_id


class PaymentRefused(PaymentError):
    """The provider looked at the request and did nothing; `code` is the provider's own."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__("The payment provider refused this request.")
        self.code = code
        self.detail = detail


class PaymentUnknown(PaymentError):
    """No definite answer came: the provider may or may not have done it."""

    def __init__(self, reason: str) -> None:
        super().__init__("It is not known yet whether the payment went through. Please wait while we ask.")
        self.reason = reason


class PaymentUnauthorised(PaymentUnknown):
    """The provider does not accept our key. Sending again with the same idempotency key, later, is safe."""


class PaymentHalted(PaymentError):
    """Something only a person can judge; nothing may be refunded, repeated or assumed."""

    def __init__(self, detail: str) -> None:
        super().__init__("This payment is being looked at by our staff.")
        self.detail = detail


class PaymentMismatch(PaymentHalted):
    """The provider answered with another object, amount or currency than the request was about."""


class PaymentKeyReused(PaymentHalted):
    """The provider knows this idempotency key from a request with another content."""


class PaymentUnclassified(PaymentHalted):
    """The provider refused with a code that is in none of our tables."""


class ForgedEvent(PaymentError):
    """A webhook whose signature, time or form is wrong. It must change nothing."""

    def __init__(self) -> None:
        super().__init__("This notification was not signed by the payment provider.")
