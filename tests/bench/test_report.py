"""The measure of reconciliation finds what it planted and nothing else: figures of wrong books would mean nothing."""

from web.bench import report

TRADES = 2_000


async def test_the_breaks_that_are_planted_are_found_and_no_others() -> None:
    figures, _ = await report.run(TRADES)

    assert figures["trades"] == TRADES
    assert (figures["breaks_found"], figures["breaks_as_planted"]) == (figures["breaks_planted"], 1)
