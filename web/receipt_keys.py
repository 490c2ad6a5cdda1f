"""The public keys of receipts, for whoever holds one and trusts nobody's word."""

from typing import Any

from litestar import get

from market.installation import mark
from market.receipts import public_keys
from settlement.receipts.document import FORM, Signer
from web.edge.venue import Venue


@get("/.well-known/surplusflow-receipts.json", include_in_schema=False)
async def receipt_keys(venue: Venue) -> dict[str, Any]:
    """Every key that receipts were signed with, in the form that `surplusflow verify-receipt --key` reads."""
    async with venue.reads() as session:
        found = await public_keys(session, Signer(venue.settings.secret_key))
        issuer = await mark(session)
    return {"form": FORM, "issuer": issuer, "keys": [key._asdict() for key in found]}


routes = [receipt_keys]
