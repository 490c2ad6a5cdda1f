"""Where a member wanted to go when a payment came in between: kept while they are at the bank's page."""

from redis.asyncio import Redis

from market.parties import Member
from web.edge.redirects import local_path

KEPT_SECONDS = 3_600


async def keep(redis: Redis, member: Member, payment_id: int, path: str) -> None:
    """Remember where the owner of a payment goes when it is done."""
    await redis.set(_name(member, payment_id), path, ex=KEPT_SECONDS)


async def take(redis: Redis, member: Member, payment_id: int) -> str | None:
    """The page to go to after a payment, if its owner came from one; it is told once."""
    kept = await redis.getdel(_name(member, payment_id))
    path = "" if kept is None else kept.decode() if isinstance(kept, bytes) else str(kept)
    return path if path and local_path(path.partition("?")[0]) == path.partition("?")[0] else None


def _name(member: Member, payment_id: int) -> str:
    return f"surplusflow:way-back:{member.party_id}:{payment_id}"
