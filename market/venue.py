"""Everything a program of the market works with, built in one place."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from market.database import POOL_SIZE, connect, reads, sessions
from market.gateway import Gateway
from market.settings import Settings
from market.transport import open_redis
from market.vault import Vault
from settlement.carriers.billing import Billing
from settlement.carriers.opening import open_carrier
from settlement.carriers.port import CarrierPort
from settlement.payments.port import Payments


@dataclass(frozen=True)
class Venue:
    """The market as a program sees it: settings, database, transport, carriers, payments, and the way to the engine."""

    settings: Settings
    engine: AsyncEngine
    sessions: async_sessionmaker[AsyncSession]
    reads: async_sessionmaker[AsyncSession]
    """For what only reads: it begins no transaction and ends none."""
    redis: Redis
    carriers: Mapping[str, CarrierPort]
    payments: Payments
    gateway: Gateway
    vault: Vault
    billing: Mapping[str, Billing] = field(default_factory=dict)
    """The carriers that take payments on the phone bill."""


@asynccontextmanager
async def open_venue(settings: Settings, *, pool_size: int = POOL_SIZE) -> AsyncIterator[Venue]:
    """Open all connections, and close them in the opposite order."""
    async with AsyncExitStack() as stack:
        engine = connect(settings.database_url, pool_size=pool_size)
        stack.push_async_callback(engine.dispose)
        redis = open_redis(settings.redis_url, socket_connect_timeout=5, health_check_interval=15)
        stack.push_async_callback(redis.aclose)
        carriers = {
            profile.code: await stack.enter_async_context(open_carrier(profile)) for profile in settings.carriers
        }
        billing = {
            profile.code: await stack.enter_async_context(Billing(profile))
            for profile in settings.carriers
            if profile.phone_bill
        }
        payments = Payments(settings.payment)
        stack.push_async_callback(payments.close)
        maker = sessions(engine)
        gateway = await stack.enter_async_context(Gateway(redis, maker, settings.shards))
        vault = Vault(settings.secret_key)
        yield Venue(settings, engine, maker, reads(engine), redis, carriers, payments, gateway, vault, billing)
