"""Why data is not given, for readers of any language: the sentences of `market.giving`, by the same codes."""

from web.i18n import N_

OBSTACLES = {
    "gifts_forbidden": N_("This carrier does not allow data to be given."),
    "line_not_active": N_("The line that would get it is not active."),
    "plan_not_eligible": N_("The plan of the line that would get it can't take part in transfers."),
    "off_step": N_("This carrier transfers whole steps only. Choose a multiple of its step."),
    "receipts_used_up_today": N_("The line that would get it has received as often today as its carrier allows."),
    "receipts_used_up": N_("The line that would get it has received as often this month as its carrier allows."),
    "receive_cap_today": N_("The line that would get it has received as much today as its carrier allows."),
    "receive_cap": N_("The line that would get it has received as much this month as its carrier allows."),
    "sales_used_up_today": N_("The giving line has sent as often today as its carrier allows."),
    "sales_used_up": N_("The giving line has sent as often this month as its carrier allows."),
    "other_carrier": N_("Data is given within one carrier only."),
    "own_line": N_("This is the line that the data is on."),
    "plans_do_not_match": N_("The carrier does not transfer between these two kinds of plan."),
    "province_unknown": N_("This carrier transfers within a province, and that of one of the lines is not known."),
    "other_province": N_("The carrier transfers within a province only."),
    "transfer_too_large": N_("This is more than the carrier transfers at once."),
    "outside_hours": N_("The carrier does not transfer at this hour."),
    "too_early": N_("The carrier transfers this data in its last days only."),
    "no_charity": N_("No charity receives data at this carrier."),
    "too_late": N_("Its date had passed."),
}
