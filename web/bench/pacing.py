"""A client in a process of its own: sends orders at an even rate, and prints how long each answer took.

`python -m web.bench.pacing REDIS_URL RATE SECONDS SEED FIRST_KEY`, whether or not answers come. A wait begins when its
order was due, so a client that falls behind shows. What is sent in the first second does not count: an engine that has
just started still prepares its statements.
"""

import asyncio
import json
import random
import sys
from time import perf_counter_ns
from typing import Any

import msgspec
from redis.asyncio import Redis

from market.engine.commands import Envelope, encode, stream_of
from matching.orders import Order, Side
from web.bench.orders import placed

CHANNEL = "bench-paced"
PARTIES = 1_000
HIGHEST_BID = 400
WARM_UP_SECONDS = 1
ANSWERS_SECONDS = 60
NANOSECONDS = 1_000_000_000


async def waits_of(redis_url: str, rate: int, seconds: int, seed: int, first_key: int) -> list[int]:
    """Nanoseconds from each order's due time to its answer, measured by a process of its own."""
    arguments = [redis_url, *map(str, (rate, seconds, seed, first_key))]
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "web.bench.pacing", *arguments, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await client.communicate()
    if client.returncode:
        raise RuntimeError(f"The client ended with {client.returncode}.")
    return msgspec.json.decode(printed, type=list[int])


async def pace(redis: Redis, rate: int, seconds: int, seed: int, first_key: int) -> list[int]:
    """Send bids of the members that the bench has, and wait for all answers."""
    draw = random.Random(seed)
    rate = max(1, rate)
    warm_up = rate * WARM_UP_SECONDS
    count = warm_up + rate * seconds
    answered: dict[int, int] = {}
    async with redis.pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.subscribe(CHANNEL)
        await pubsub.get_message(timeout=1)
        listener = asyncio.create_task(_listen(pubsub, answered, count))
        started_at_ns = perf_counter_ns()
        sent = 0
        while sent < count:
            due = min(count, (perf_counter_ns() - started_at_ns) * rate // NANOSECONDS + 1)
            pipe = redis.pipeline(transaction=False)
            for number in range(sent, due):
                order = Order(number, draw.randrange(PARTIES), 0, Side.BUY, draw.randint(1, HIGHEST_BID), 1, 1)
                command = placed(order, -first_key - number - 1)
                pipe.xadd(stream_of(0), {"c": encode(Envelope(command, CHANNEL, number))})
            if due > sent:
                await pipe.execute()
            sent = due
            await asyncio.sleep(0.001)
        await asyncio.wait_for(listener, ANSWERS_SECONDS)
    return [answered[number] - started_at_ns - number * NANOSECONDS // rate for number in range(warm_up, count)]


async def _listen(pubsub: Any, answered: dict[int, int], count: int) -> None:
    decode = msgspec.json.Decoder(list[tuple[int, msgspec.Raw]]).decode
    while len(answered) < count:
        message = await pubsub.get_message(timeout=None)
        if message is not None:
            now_ns = perf_counter_ns()
            answered.update((number, now_ns) for number, _ in decode(message["data"]))


async def _main() -> None:
    redis_url, *numbers = sys.argv[1:]
    rate, seconds, seed, first_key = map(int, numbers)
    async with Redis.from_url(redis_url) as redis:
        waits = await pace(redis, rate, seconds, seed, first_key)
    sys.stdout.write(json.dumps(waits))


if __name__ == "__main__":
    asyncio.run(_main())
