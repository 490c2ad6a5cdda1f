"""Which of our errors each of the provider's errors is.

A code decides before a kind of error does, for the provider says the most in its codes. A code
that stands in no table halts the payment for a person: guessing would move money.
"""

from enum import Enum, auto

import stripe

from settlement.payments.errors import (
    PaymentDeclined,
    PaymentError,
    PaymentKeyReused,
    PaymentRefused,
    PaymentUnauthorised,
    PaymentUnclassified,
    PaymentUnknown,
)


class Verdict(Enum):
    DECLINED = auto()
    REFUSED = auto()
    UNKNOWN = auto()
    UNAUTHORISED = auto()
    KEY_REUSED = auto()
    BY_CODE = auto()
    """Only the code says; with no code the provider checked the request and refused it."""


KINDS: dict[type[stripe.StripeError], Verdict] = {
    stripe.StripeError: Verdict.UNKNOWN,
    stripe.APIError: Verdict.UNKNOWN,
    stripe.APIConnectionError: Verdict.UNKNOWN,
    stripe.RateLimitError: Verdict.UNKNOWN,
    stripe.AuthenticationError: Verdict.UNAUTHORISED,
    stripe.PermissionError: Verdict.UNAUTHORISED,
    stripe.IdempotencyError: Verdict.KEY_REUSED,
    stripe.CardError: Verdict.DECLINED,
    stripe.InvalidRequestError: Verdict.BY_CODE,
}
"""The kinds that the calls of this port can meet. The client's other kinds belong to calls it never makes."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DECLINED = _words(
    """
    authentication_required bank_account_declined card_decline_rate_limit_exceeded card_declined
    charge_exceeds_source_limit charge_exceeds_transaction_limit debit_not_authorized expired_card
    expired_payment_method incorrect_address incorrect_cvc incorrect_number incorrect_postal_code incorrect_zip
    india_recurring_payment_mandate_canceled insufficient_funds invalid_card_type invalid_cvc invalid_expiry_month
    invalid_expiry_year invalid_number payment_intent_authentication_failure
    payment_intent_konbini_rejected_confirmation_number payment_intent_payment_attempt_expired
    payment_intent_payment_attempt_failed payment_method_customer_decline payment_method_provider_decline
    payment_method_restricted processing_error refer_to_customer request_blocked
    three_d_secure_authentication_not_supported three_d_secure_authentication_upstream_error
    """
)

UNKNOWN = _words(
    """
    forwarding_api_retryable_upstream_error forwarding_api_upstream_connection_error
    forwarding_api_upstream_connection_timeout forwarding_api_upstream_error idempotency_key_in_use lock_timeout
    payment_intent_rate_limit_exceeded payment_method_provider_timeout rate_limit terminal_reader_timeout
    """
)

UNAUTHORISED = _words(
    """
    api_key_expired livemode_mismatch platform_api_key_expired secret_key_required testmode_charges_only
    tls_version_unsupported
    """
)

REFUSED = _words(
    """
    account_closed account_country_invalid_address account_error_country_change_requires_additional_steps
    account_information_mismatch account_invalid account_number_invalid account_token_required_for_v2_account
    acss_debit_session_incomplete action_blocked alipay_upgrade_required amount_too_large amount_too_small
    anomalous_money_movement_request application_fees_not_allowed approval_required authentication_failure
    balance_insufficient balance_invalid_parameter bank_account_bad_routing_numbers bank_account_exists
    bank_account_restricted bank_account_unusable bank_account_unverified bank_account_verification_failed
    billing_invalid_mandate bitcoin_upgrade_required capability_not_active capture_charge_authorization_expired
    capture_unauthorized_payment cardholder_phone_number_required charge_already_captured charge_already_refunded
    charge_disputed charge_expired_for_capture charge_invalid_parameter charge_not_refundable
    clearing_code_unsupported country_code_invalid country_unsupported coupon_expired customer_max_payment_methods
    customer_max_subscriptions customer_session_expired customer_tax_location_invalid
    dispute_evidence_page_limit_exceeded email_invalid failed_tax_calculation
    financial_account_balance_does_not_support_currency financial_account_capability_not_enabled
    financial_account_capability_restricted financial_connections_account_inactive
    financial_connections_account_pending_account_numbers financial_connections_account_unavailable_account_numbers
    financial_connections_consent_locale_invalid financial_connections_consent_locale_unsupported
    financial_connections_no_successful_transaction_refresh forwarding_api_inactive forwarding_api_invalid_parameter
    instant_payouts_config_disabled instant_payouts_currency_disabled instant_payouts_limit_exceeded
    instant_payouts_unsupported insufficient_capabilities_for_transfer intent_invalid_state
    intent_verification_method_missing invalid_canceled_subscription_fields invalid_characters invalid_charge_amount
    invalid_mandate_reference_prefix_format invalid_source_usage invalid_tax_location
    invoice_no_customer_line_items invoice_no_payment_method_types invoice_no_subscription_line_items
    invoice_not_editable invoice_on_behalf_of_not_editable invoice_payment_intent_requires_action
    invoice_upcoming_none missing no_account not_allowed_on_standard_account out_of_inventory
    ownership_declaration_not_allowed parameter_invalid_empty parameter_invalid_integer
    parameter_invalid_string_blank parameter_invalid_string_empty parameter_missing parameter_unknown
    parameters_exclusive payment_evaluation_on_api_version_not_supported payment_intent_action_required
    payment_intent_incompatible_payment_method payment_intent_invalid_parameter payment_intent_mandate_invalid
    payment_intent_unexpected_state payment_method_bank_account_already_verified
    payment_method_bank_account_blocked payment_method_billing_details_address_missing
    payment_method_configuration_failures payment_method_currency_mismatch payment_method_invalid_parameter
    payment_method_invalid_parameter_testmode payment_method_microdeposit_failed
    payment_method_microdeposit_processing_error payment_method_microdeposit_verification_amounts_invalid
    payment_method_microdeposit_verification_amounts_mismatch
    payment_method_microdeposit_verification_attempts_exceeded
    payment_method_microdeposit_verification_descriptor_code_mismatch
    payment_method_microdeposit_verification_timeout payment_method_not_available payment_method_unactivated
    payment_method_unexpected_state payment_method_unsupported_type payout_reconciliation_not_ready
    payouts_limit_exceeded payouts_not_allowed platform_account_required postal_code_invalid product_inactive
    progressive_onboarding_limit_exceeded refund_disputed_payment resource_already_exists resource_missing
    return_intent_already_processed routing_number_invalid sepa_unsupported_account
    service_period_coupon_with_metered_tiered_item_unsupported setup_attempt_failed
    setup_intent_authentication_failure setup_intent_invalid_parameter setup_intent_mandate_invalid
    setup_intent_mobile_wallet_unsupported setup_intent_setup_attempt_expired setup_intent_unexpected_state
    shipping_address_invalid shipping_calculation_failed siret_invalid sku_inactive smart_disputes_not_available
    state_unsupported status_transition_invalid storer_capability_missing storer_capability_not_active
    stripe_tax_inactive subscription_update_trial_after_billing_cycle_anchor tax_id_invalid tax_id_prohibited
    taxes_calculation_failed terminal_location_country_unsupported terminal_reader_busy
    terminal_reader_hardware_fault terminal_reader_invalid_location_for_activation
    terminal_reader_invalid_location_for_payment terminal_reader_offline token_already_used
    token_card_network_invalid token_in_use transfer_source_balance_parameters_mismatch transfers_not_allowed
    url_invalid
    """
)

CODES: dict[str, Verdict] = (
    dict.fromkeys(DECLINED, Verdict.DECLINED)
    | dict.fromkeys(UNKNOWN, Verdict.UNKNOWN)
    | dict.fromkeys(UNAUTHORISED, Verdict.UNAUTHORISED)
    | dict.fromkeys(REFUSED, Verdict.REFUSED)
)


def classify(error: stripe.StripeError) -> PaymentError:
    """The error of ours that stands for the provider's."""
    code = code_of(error)
    verdict = _verdict(error, code)
    if verdict is None:
        return PaymentUnclassified(f"{type(error).__name__} with code {code!r}")
    if verdict is Verdict.DECLINED:
        return PaymentDeclined(code or "card_declined", _field(error, "decline_code"), _payment_id(error))
    if verdict is Verdict.REFUSED:
        return PaymentRefused(code or "invalid_request_error", error.user_message or "")
    if verdict is Verdict.UNAUTHORISED:
        return PaymentUnauthorised(code or type(error).__name__)
    if verdict is Verdict.KEY_REUSED:
        return PaymentKeyReused(error.user_message or "")
    return PaymentUnknown(code or f"{type(error).__name__} {error.http_status or ''}".strip())


def code_of(error: stripe.StripeError) -> str | None:
    return error.code or _field(error, "code")


def _verdict(error: stripe.StripeError, code: str | None) -> Verdict | None:
    kind = KINDS.get(type(error))
    if kind in {Verdict.UNKNOWN, Verdict.KEY_REUSED, None}:
        return kind  # without a definite status the code of a refusal proves nothing
    if code is not None and code in CODES:
        return CODES[code]
    if kind is Verdict.BY_CODE:
        return Verdict.REFUSED if code is None else None
    return kind


def _field(error: stripe.StripeError, name: str) -> str | None:
    body = error.json_body
    details = body.get("error") if isinstance(body, dict) else None
    value = details.get(name) if isinstance(details, dict) else None
    return value if isinstance(value, str) else None


def _payment_id(error: stripe.StripeError) -> str | None:
    body = error.json_body
    details = body.get("error") if isinstance(body, dict) else None
    intent = details.get("payment_intent") if isinstance(details, dict) else None
    return intent.get("id") if isinstance(intent, dict) else None
