"""The engine program: one process serves one shard."""

import asyncio
import signal
import sys

import structlog
import uvloop

from market import logs
from market.engine.engine import Engine
from market.engine.lease import Fenced
from market.settings import Settings
from market.transport import open_redis

log = structlog.get_logger()


def main(settings: Settings, shard: int, shards: int) -> None:
    """Serve a shard until told to stop. Exits with 1 when another engine has taken it."""
    logs.configure()
    try:
        uvloop.run(_serve(settings, shard, shards))
    except Fenced as fenced:
        log.warning("fenced", shard=shard, detail=str(fenced))
        sys.exit(1)


async def _serve(settings: Settings, shard: int, shards: int) -> None:
    redis = open_redis(settings.redis_url, socket_timeout=10, socket_connect_timeout=5)
    engine = Engine(settings.database_dsn, redis, shard, shards, owns_process=True)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, engine.stopping.set)
    try:
        await engine.run()
    finally:
        await redis.aclose()
