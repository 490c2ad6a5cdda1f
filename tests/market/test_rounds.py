"""Work beside a program: what goes wrong in one round does not end those that would follow."""

import asyncio

import pytest

from market.refusals import Unavailable
from market.rounds import Rounds, beside
from market.venue import Venue
from tests.market.town import Town


@pytest.mark.parametrize("error", [Unavailable("The carrier does not answer."), ZeroDivisionError()])
async def test_after_a_round_that_failed_the_next_one_comes(town: Town, error: Exception) -> None:
    again, times = asyncio.Event(), 0

    async def work(venue: Venue) -> None:
        nonlocal times
        assert venue is town.venue
        times += 1
        if times == 1:
            raise error
        again.set()

    async with beside(town.venue, Rounds("a test", work, 0.01)):
        await asyncio.wait_for(again.wait(), 5)
