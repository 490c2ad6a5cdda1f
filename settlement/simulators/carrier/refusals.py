"""The refusals this carrier publishes: code, HTTP status and reason. The standard leaves the codes to each carrier."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    status: int
    reason: str


REFUSALS: Mapping[str, Entry] = {
    # data
    "BUCKET_EXPIRED": Entry(409, "The data of this bucket has expired."),
    "BUCKET_NOT_EMPTY": Entry(409, "A bucket that holds or ever reserved data cannot be deleted."),
    "BUCKET_NOT_FOUND": Entry(404, "There is no such bucket."),
    "DUPLICATE": Entry(409, "This external identifier is known."),
    "EXPIRATION_BEYOND_BUCKET": Entry(409, "A reservation cannot outlive its bucket."),
    "INSUFFICIENT_BALANCE": Entry(409, "There is not enough data."),
    "LINE_NOT_FOUND": Entry(404, "There is no such subscriber."),
    "NOT_TRANSFERABLE": Entry(409, "The data of this bucket cannot be passed on."),
    "RECEIVER_NOT_ELIGIBLE": Entry(409, "The receiver cannot receive data."),
    "RESERVATION_EXPIRED": Entry(409, "The reservation has expired."),
    "RESERVATION_NOT_FOUND": Entry(404, "There is no such live reservation."),
    "SAME_SUBSCRIBER": Entry(409, "Sender and receiver are the same line."),
    "TRANSFER_LIMIT": Entry(409, "The amount is above the limit of one movement."),
    # the phone bill
    "ALREADY_EXISTS": Entry(409, "The resource that a client attempted to create already exists."),
    "CARRIER_BILLING.PAYMENT_CANCELLED": Entry(409, "The payment has been cancelled."),
    "CARRIER_BILLING.PAYMENT_CONFIRMED": Entry(409, "The payment has been confirmed."),
    "CARRIER_BILLING.UNAUTHORIZED_AMOUNT": Entry(422, "The amount cannot be charged."),
    "CARRIER_BILLING.USER_AMOUNT_THRESHOLD_OVERPASSED": Entry(422, "The month's limit of this line is reached."),
    "CARRIER_BILLING_REFUND.INVALID_PAYMENT_STATUS": Entry(422, "Only a payment that was charged can be refunded."),
    "IDENTIFIER_NOT_FOUND": Entry(404, "The phone number is not known here."),
    "SERVICE_NOT_APPLICABLE": Entry(422, "This line cannot pay on its bill."),
    # requests
    "INVALID_ARGUMENT": Entry(400, "The request is not valid."),
    "INVALID_REQUEST": Entry(400, "The request is not valid."),
    "METHOD_NOT_ALLOWED": Entry(405, "This is not offered here."),
    "MISSING_IDENTIFIER": Entry(422, "The phone number is missing."),
    "NOT_FOUND": Entry(404, "There is nothing here."),
    "OUT_OF_RANGE": Entry(400, "A value is out of its range."),
    "PAYLOAD_TOO_LARGE": Entry(413, "The request is too large."),
    "PERMISSION_DENIED": Entry(403, "This is not allowed."),
    "UNAUTHENTICATED": Entry(401, "The credential is missing or not valid."),
    "UNSUPPORTED_MEDIA_TYPE": Entry(415, "Only application/json is understood."),
    # people
    "KNOW_YOUR_CUSTOMER.INVALID_PARAM_COMBINATION": Entry(400, "There is nothing to compare."),
    "NUMBER_VERIFICATION.USER_NOT_AUTHENTICATED_BY_MOBILE_NETWORK": Entry(
        403,
        "Client must authenticate via the mobile network to use this service.",
    ),
    "ONE_TIME_PASSWORD_SMS.INVALID_OTP": Entry(400, "The provided OTP is not valid for this authenticationId."),
    "ONE_TIME_PASSWORD_SMS.MAX_OTP_CODES_EXCEEDED": Entry(403, "Too many OTPs have been requested. Try later."),
    "ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_BLOCKED": Entry(403, "The phone number is blocked."),
    "ONE_TIME_PASSWORD_SMS.VERIFICATION_EXPIRED": Entry(400, "The authenticationId is no longer valid."),
    "ONE_TIME_PASSWORD_SMS.VERIFICATION_FAILED": Entry(400, "The maximum number of attempts was exceeded."),
    # us
    "INTERNAL": Entry(500, "Something went wrong here."),
    "UNAVAILABLE": Entry(503, "The service is not available at the moment."),
}


class Refusal(Exception):
    """A no with its published code; `message` says it for this case."""

    def __init__(self, code: str, message: str = "") -> None:
        entry = REFUSALS[code]
        super().__init__(code)
        self.code = code
        self.status = entry.status
        self.reason = entry.reason
        self.message = message or entry.reason
