"""Members who trade through the gateway while things die, each asking under the same key until it knows."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from market.engine.commands import Answer, CancelOrder, Command, PlaceOrder, encode
from market.gateway import Gateway
from market.refusals import OutcomeUnknown, Unavailable
from tests.engine.factories import Floor, Member
from tests.faults.history import History, Request, Terms, Told, told_by_the_engine
from tests.faults.traffic import KNOWING_SECONDS, Traffic

MEMBERS = 24
PRICES = (95, 105)
MOST_LOTS = 5
CANCELLING_SHARE = 0.3
HASTY_SHARE = 0.15
HASTY_SECONDS = 0.05
"""Some clients hang up so early that their second try is in the stream beside the first."""
THINKING_SECONDS = 0.01
PAUSE_SECONDS = 0.05
AT_ONCE = 200


@dataclass(kw_only=True)
class Crowd(Traffic):
    """A number of clients at work, and what they have asked and heard."""

    floor: Floor
    members: Sequence[Member]
    seed: int = 1
    history: History = field(default_factory=History)
    commands: dict[tuple[int, str], Command] = field(default_factory=dict)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def trade(self) -> None:
        """Place and cancel orders until told to stop; every request that was begun is brought to its end."""
        async with asyncio.TaskGroup() as clients:
            for number, member in enumerate(self.members):
                clients.create_task(self._trade(member, random.Random(self.seed * 1000 + number)))

    def stop(self) -> None:
        self._stopping.set()

    async def ask_again(self) -> dict[tuple[int, str], Told]:
        """What each key is told now, all asked once more."""
        again: dict[tuple[int, str], Told] = {}
        names, gateway = list(self.commands), self.floor.gateway
        for at in range(0, len(names), AT_ONCE):
            some = names[at : at + AT_ONCE]
            answers = await asyncio.gather(*(ask_until_told(gateway, self.commands[name]) for name in some))
            again |= {name: told_by_the_engine(encode(answer)) for name, answer in zip(some, answers, strict=True)}
        return again

    async def _trade(self, member: Member, draw: random.Random) -> None:
        open_orders: list[int] = []
        number = 0
        while not self._stopping.is_set():
            number += 1
            key = f"{self.seed}-{number}"
            if open_orders and draw.random() < CANCELLING_SHARE:
                order_id = open_orders.pop(draw.randrange(len(open_orders)))
                await self._do(CancelOrder(member.id, key, key.encode(), 1, order_id), None, draw)
            else:
                command = self._order(member, key, draw)
                terms = Terms(1, command.side, command.price_minor, command.quantity)
                answer = await self._do(command, terms, draw)
                if answer.state == "open" and answer.order_id is not None:
                    open_orders.append(answer.order_id)
            await asyncio.sleep(draw.uniform(0, THINKING_SECONDS))

    def _order(self, member: Member, key: str, draw: random.Random) -> PlaceOrder:
        side = draw.choice(("buy", "sell"))
        lots = draw.randint(1, MOST_LOTS)
        return self.floor.order(member, side, draw.randint(*PRICES), lots, key=key, body_hash=key.encode())  # type: ignore[arg-type]

    async def _do(self, command: Command, terms: Terms | None, draw: random.Random) -> Answer:
        request = Request(command.party_id, command.key, encode(command).decode(), terms)
        self.commands[request.name] = command
        async with asyncio.timeout(KNOWING_SECONDS):
            while True:
                ask = self.history.ask(request)
                if (answer := await self._try(command, hasty=draw.random() < HASTY_SHARE)) is not None:
                    ask.answer(told_by_the_engine(encode(answer)))
                    return answer
                await asyncio.sleep(draw.uniform(0, PAUSE_SECONDS))

    async def _try(self, command: Command, *, hasty: bool) -> Answer | None:
        try:
            async with asyncio.timeout(HASTY_SECONDS if hasty else None):
                with self.asking():
                    answer = await self.floor.gateway.submit(command)
        except (OutcomeUnknown, Unavailable, TimeoutError):
            return None
        self.heard_one()
        return answer


async def ask_until_told(gateway: Gateway, command: Command) -> Answer:
    """Ask under the same key until there is a definite answer."""
    async with asyncio.timeout(KNOWING_SECONDS):
        while True:
            with contextlib.suppress(OutcomeUnknown, Unavailable):
                return await gateway.submit(command)
            await asyncio.sleep(PAUSE_SECONDS)


@asynccontextmanager
async def trading_crowd(floor: Floor, *, members: int = MEMBERS, seed: int = 1) -> AsyncIterator[Crowd]:
    """A crowd at work for the length of the block; after it, each of its requests has its answer."""
    crowd = Crowd(floor=floor, members=[await floor.member() for _ in range(members)], seed=seed)
    async with asyncio.TaskGroup() as group:
        group.create_task(crowd.trade())
        yield crowd
        crowd.stop()
