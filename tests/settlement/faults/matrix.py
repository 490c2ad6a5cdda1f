"""The faults that touch settlement, the outcome that each must have, and the tests that show it."""

from dataclasses import dataclass

HERE = "tests/settlement/faults"
SETTLEMENT = "tests/settlement"


@dataclass(frozen=True)
class Row:
    """One fault. ``not_shown`` says what of it no test shows, and why."""

    fault: str
    outcome: str
    tests: tuple[str, ...] = ()
    not_shown: str = ""


RANDOM = f"{HERE}/test_random_run.py::test_every_trade_is_settled_or_refunded_and_three_ledgers_agree"
WIRE = f"{HERE}/test_wire_faults.py"
PROCESS = f"{HERE}/test_process_faults.py"
SERVER = f"{HERE}/test_server_faults.py"
BAD = f"{HERE}/test_bad_input.py"
GATEWAY = f"{SETTLEMENT}/test_gateway.py"
COPIES = f"{HERE}/test_copies.py"
STOPS = "tests/market/test_stops.py"
FULL = "tests/faults/test_disk_full.py"
ENGINE_FULL = "tests/faults/test_engine_disk_full.py"
EXPIRY = f"{SETTLEMENT}/test_expiry.py"
LINES = "tests/market/test_line_events.py"
SINCE_THE_MATCH = (
    f"{SETTLEMENT}/test_line_events.py::test_a_line_with_an_event_since_the_match_is_refused_before_anything_is_sent"
)
AMBIGUOUS = f"{WIRE}::test_an_answer_that_is_no_answer_is_waited_out_asked_about_and_settles_once"
COMMIT = f"{PROCESS}::test_a_commit_of_unknown_outcome_is_read_again_and_nothing_is_sent_twice"
LOCK = f"{PROCESS}::test_a_lock_that_lasts_costs_time_and_nothing_else"
WAITED_OUT = f"{SETTLEMENT}/test_delivery.py::test_a_fault_is_waited_out_and_asked_and_settles_once"
PATIENCE = f"{SETTLEMENT}/test_crashes.py::test_with_patience_the_same_carrier_moves_it_once"
CONTROL = f"{SETTLEMENT}/test_crashes.py::test_asking_too_early_and_sending_again_moves_the_data_twice"

MATRIX = {
    "F1": Row(
        "kill -9 at any point",
        "the claim's row decides: its outcome is asked for, and the data moves once",
        (f"{SETTLEMENT}/test_crashes.py::test_a_worker_killed_anywhere_leaves_exactly_one_movement", RANDOM),
    ),
    "F2": Row(
        "PostgreSQL killed",
        "calls on their way are asked for after the reconnection",
        (
            f"{SERVER}::test_a_database_that_is_killed_under_a_worker_costs_time_and_nothing_else",
            "tests/faults/test_kill.py::test_killing_each_program_and_server_loses_and_doubles_nothing",
        ),
    ),
    "F3": Row("connection lost before COMMIT", "as F4", (COMMIT, RANDOM)),
    "F4": Row("connection lost at COMMIT", "the row is read again; nothing is sent twice", (COMMIT, RANDOM)),
    "F5": Row("lock wait", "waited for; what lapsed meanwhile is asked for", (LOCK,)),
    "F6": Row(
        "deadlock",
        "accounts are locked in one order; whoever loses one all the same writes its outcome again",
        (
            f"{SERVER}::test_a_worker_that_loses_a_deadlock_writes_its_outcome_again",
            f"{SETTLEMENT}/test_accounts.py::test_transfers_in_all_directions_at_once_neither_deadlock_nor_lose_anything",
        ),
    ),
    "F7": Row(
        "disk full",
        "cancel-only, then read-only, before it is full; what is open is finished; what fails is done later, once",
        (
            f"{HERE}/test_disk_full.py::test_statements_that_find_no_room_are_done_later_and_settle_once",
            f"{HERE}/test_disk_full.py::test_a_server_that_dies_of_its_full_volume_and_comes_back_has_every_trade_settled_once",
            f"{ENGINE_FULL}::test_a_batch_that_finds_no_room_is_taken_again_and_nothing_acknowledged_is_lost",
            f"{ENGINE_FULL}::test_an_engine_that_answers_before_it_has_found_room_is_caught",
            f"{FULL}::test_the_market_lets_go_then_only_shows_itself_and_opens_again",
            f"{FULL}::test_without_the_watch_a_volume_that_is_nearly_full_is_noticed_by_nobody",
            f"{FULL}::test_a_disk_that_runs_full_at_once_loses_and_doubles_nothing",
            "tests/market/test_storage.py::test_a_volume_that_runs_full_ends_new_orders_before_it_is_full_and_opens_again",
            "tests/web/test_read_only.py::test_with_its_storage_full_the_market_is_only_read",
        ),
        "tables and log fill up together, on a volume in memory; where none may be mounted, nothing is shown",
    ),
    "F8": Row(
        "Redis lost", "workers look by themselves", (f"{PROCESS}::test_a_worker_without_its_transport_looks_by_itself",)
    ),
    "F12": Row(
        "two workers, one instruction; one of them stopped and let go on",
        "one claim at a time; a late result counts for nothing",
        (
            f"{PROCESS}::test_a_worker_that_was_stopped_past_its_claims_changes_nothing_when_it_goes_on",
            f"{SETTLEMENT}/test_claims.py::test_a_result_that_comes_after_the_claim_has_lapsed_counts_for_nothing",
            f"{SETTLEMENT}/test_claims.py::test_workers_at_once_never_take_the_same_instruction",
        ),
    ),
    "F13": Row("time-out after the work", "waited out, found by our id, settled once", (WAITED_OUT, PATIENCE, CONTROL)),
    "F14": Row("request lost", "waited out, not found, sent again under the same id", (AMBIGUOUS, WAITED_OUT)),
    "F15": Row("5xx, reset, truncated, not JSON, redirect, huge, dripping", "ambiguous: as F13", (AMBIGUOUS, RANDOM)),
    "F16": Row(
        "definite refusal of the only attempt",
        "buyer refunded in full, seller's data free",
        (f"{SETTLEMENT}/test_delivery.py::test_a_refused_delivery_leaves_buyer_and_seller_whole",),
    ),
    "F17": Row(
        "refusal of a later attempt",
        "not definite: waited, asked, only then refunded",
        (
            f"{WIRE}::test_a_refusal_of_a_second_attempt_refunds_only_when_the_first_is_surely_gone",
            f"{SETTLEMENT}/test_instructions.py::test_a_refusal_of_a_second_attempt_waits_and_asks_before_it_counts",
        ),
    ),
    "F18": Row(
        "the carrier says duplicate",
        "fetched and compared",
        (
            "tests/carrier/test_faults.py::test_9004_answers_duplicate_and_the_port_compares",
            f"{GATEWAY}::test_f18_a_known_serial_number_with_another_amount_stops_for_a_person",
            RANDOM,
        ),
    ),
    "F19": Row(
        "done twice, another amount, another unit",
        "stops for a person, no money moves, the report names it; too many breaks stop the carrier's markets",
        (
            f"{WIRE}::test_an_answer_about_something_else_stops_for_a_person_and_moves_no_money",
            f"{BAD}::test_a_delivery_that_is_answered_otherwise_pays_nobody",
            f"{BAD}::test_a_lost_answer_that_is_asked_for_and_told_otherwise_pays_nobody",
            f"{GATEWAY}::test_f19_another_amount_stops_for_a_person_and_moves_no_money",
            f"{SETTLEMENT}/test_report.py::test_each_kind_of_break_is_found_and_named",
            f"{STOPS}::test_a_carrier_that_contradicts_us_too_often_waits_for_an_officer",
        ),
    ),
    "F20": Row(
        "a carrier's callback early, late, twice, forged, about nothing of ours",
        "stored once, believed in nothing, a reason to ask; strangers are put aside",
        (
            f"{GATEWAY}::test_f20_however_the_push_comes_the_trade_settles_once",
            f"{GATEWAY}::test_f20_an_early_push_waits_until_the_request_is_answered",
            f"{GATEWAY}::test_f20_a_push_that_lies_is_not_believed",
            f"{GATEWAY}::test_f20_a_push_about_nothing_of_ours_is_put_aside",
            f"{GATEWAY}::test_f20_a_late_push_changes_nothing",
            "tests/web/test_carrier_callbacks.py::test_a_forged_push_changes_nothing",
            "tests/web/test_carrier_callbacks.py::test_a_huge_push_is_not_read",
        ),
    ),
    "F21": Row(
        "a carrier down for hours",
        "its lane is left alone, one call on trial now and then; its markets let orders go, and reopen by themselves; "
        "a buyer who won't wait has the money back for what was not sent",
        (
            f"{SETTLEMENT}/test_giving_up.py::test_what_was_never_sent_is_refunded_while_its_carrier_is_away",
            f"{SETTLEMENT}/test_giving_up.py::test_what_was_sent_without_an_answer_is_asked_about_before_anybody_is_paid_back",
            f"{PROCESS}::test_carriers_that_are_away_are_left_alone_and_everything_settles_when_they_are_back",
            f"{SETTLEMENT}/test_breaker.py::test_pauses_double_with_each_failed_trial_up_to_the_longest",
            f"{STOPS}::test_a_carrier_that_is_away_too_long_only_lets_orders_go_and_opens_again_when_it_is_back",
            f"{STOPS}::test_a_carrier_that_comes_back_opens_nothing_that_an_officer_has_stopped",
        ),
        "seconds stand for hours",
    ),
    "F22": Row(
        "provider's time-out after capture",
        "asked for, captured once",
        (
            f"{SETTLEMENT}/test_card_holds.py::test_a_capture_whose_answer_was_lost_is_asked_for_and_settled_once",
            f"{BAD}::test_a_capture_of_another_amount_or_currency_pays_nobody",
            RANDOM,
        ),
    ),
    "F23": Row(
        "500 kept under the key",
        "the object is read again",
        (f"{SETTLEMENT}/test_card_holds.py::test_an_error_that_the_provider_repeats_under_an_old_key_is_got_over",),
    ),
    "F24": Row(
        "capture refused after delivery",
        "the seller is paid, the house covers it",
        (f"{SETTLEMENT}/test_card_holds.py::test_the_house_pays_the_seller_when_a_capture_is_refused_after_delivery",),
    ),
    "F25": Row(
        "webhooks lost",
        "events are fetched",
        (f"{SETTLEMENT}/test_inbox.py::test_events_whose_webhooks_never_came_are_fetched",),
    ),
    "F26": Row(
        "webhook twice, out of order, forged, old, huge",
        "stored once, refused, or told by the object alone",
        (
            f"{SETTLEMENT}/test_inbox.py::test_the_order_of_events_does_not_matter",
            f"{SETTLEMENT}/test_inbox.py::test_an_event_that_lies_changes_nothing",
            f"{BAD}::test_a_forged_old_or_huge_webhook_is_refused_and_the_true_one_is_still_taken",
            f"{BAD}::test_an_event_of_an_unknown_type_is_put_away",
            f"{BAD}::test_a_top_up_of_another_amount_or_currency_is_parked_and_credits_nothing",
            "tests/web/test_webhooks.py::test_an_old_event_changes_nothing",
            "tests/web/test_webhooks.py::test_a_huge_event_is_not_read",
        ),
    ),
    "F27": Row(
        "a dispute after delivery",
        "the trade is opened again, its owner frozen, the bank told what was delivered; the data stays",
        (
            f"{SETTLEMENT}/test_disputes.py::test_a_disputed_card_payment_opens_its_trades_again_and_freezes_its_owner",
            f"{SETTLEMENT}/test_disputes.py::test_a_dispute_is_answered_with_the_record_of_what_was_delivered",
        ),
    ),
    "F28": Row(
        "payout fails",
        "the money returns to the wallet; never paid again on doubt",
        (
            f"{SETTLEMENT}/test_payouts.py::test_a_payout_that_fails_comes_back_to_the_wallet",
            f"{SETTLEMENT}/test_payouts.py::test_a_lost_answer_to_a_transfer_pays_once",
            f"{BAD}::test_a_transfer_to_another_or_of_another_amount_leaves_the_withdrawals_money_set_aside",
        ),
    ),
    "F29": Row(
        "clocks that jump",
        "deadlines are the database's time",
        (
            f"{HERE}/test_matrix.py::test_no_deadline_of_settlement_is_read_off_the_workers_own_clock",
            f"{EXPIRY}::test_an_expiry_is_a_moment_whatever_zone_it_is_written_in",
            f"{HERE}/test_clock_faults.py::test_a_worker_whose_clock_jumps_by_hours_settles_each_trade_once",
            f"{HERE}/test_clock_faults.py::test_a_database_whose_clock_jumps_by_hours_settles_each_trade_once",
        ),
        "what statements read as the database's time jumps, and not the clock of its server",
    ),
    "F30": Row(
        "month end racing a trade",
        "delivered before it: settled, though the answer was lost; else refunded, and the seller's data written off",
        (
            f"{EXPIRY}::test_a_trade_whose_data_expired_first_refunds_the_buyer_and_frees_the_seller",
            f"{EXPIRY}::test_a_trade_that_was_delivered_before_the_expiry_is_settled_although_the_answer_was_lost",
            "tests/engine/test_closing.py::test_closing_ends_the_first_orders_and_the_clock_the_rest",
        ),
    ),
    "F31": Row(
        "reservation lost at the carrier",
        "delivery refused, buyer refunded",
        (
            f"{WIRE}::test_data_that_the_carrier_gave_back_behind_our_back_is_not_sold",
            f"{LINES}::test_a_reservation_that_lapsed_is_noticed_its_ask_ended_and_the_books_emptied",
        ),
    ),
    "F32": Row(
        "number ported, recycled, its SIM swapped, its plan changed",
        "the carrier is asked; what it stands by ends the line's orders, and a trade under way is refused and refunded",
        (
            f"{WIRE}::test_a_number_that_left_the_carrier_gets_no_data_and_its_owner_the_money",
            SINCE_THE_MATCH,
            f"{LINES}::test_an_event_that_the_carrier_stands_by_ends_the_lines_orders",
            f"{LINES}::test_a_recycled_number_sells_nothing_any_more",
            f"{LINES}::test_a_swapped_sim_signs_out_everywhere_and_pauses_withdrawals_for_three_days",
        ),
    ),
    "F33": Row(
        "old and new code at once",
        "the older one leaves the newer one's steps alone; else as F12",
        (f"{COPIES}::test_an_older_release_leaves_a_newer_ones_steps_alone_and_the_newer_one_does_them",),
        "the older release is this one without a step, not a release of its own",
    ),
    "F35": Row(
        "restored from a backup",
        "asked before anything is sent",
        (f"{COPIES}::test_restored_books_ask_before_they_send",),
        "a copy of a server's files that is started just as it is can't be told from the original",
    ),
    "F36": Row(
        "corruption",
        "checksums and recomputation show it",
        (
            f"{SERVER}::test_a_bit_that_flips_on_the_disk_is_noticed_and_never_read_as_a_balance",
            f"{SERVER}::test_a_bit_that_flips_in_an_index_is_noticed_and_finds_no_wrong_row",
            "tests/engine/test_verify.py::test_every_planted_breach_is_found",
        ),
        "the embedded server has no amcheck, so an index with sound pages is not compared with its table",
    ),
    "F37": Row("killed for memory", "as F1", (RANDOM,)),
    "F38": Row(
        "secret replaced or expired",
        "two are good while it is replaced; an expired one refunds nobody; a month before, it is told",
        (
            f"{WIRE}::test_our_own_expired_credential_refunds_nobody_and_its_successor_settles",
            "tests/payment/test_webhooks.py::test_while_a_secret_is_replaced_both_are_good",
            "tests/web/test_expiries.py::test_what_runs_out_within_a_month_is_told_while_everything_still_works",
        ),
        "of a key that carries no end of its own, only what the settings say is known",
    ),
}
"""The rows of the fault matrix that touch settlement and are shown here, by their number there."""
