"""Challenges that passkeys sign: kept in Redis under a hash, for five minutes and one purpose, each good once."""

import json
from collections.abc import Mapping
from hashlib import sha256
from secrets import token_bytes
from typing import Any

from webauthn.helpers import base64url_to_bytes

from market import limits
from market.limits import Limit
from market.refusals import BadInput
from market.venue import Venue

LENGTH_BYTES = 32
LIFE_SECONDS = 300
RESPONSE_CHARACTERS = 20_000
OF_A_CLIENT = Limit("passkey challenges of a client", count=60, seconds=600)


class WrongPasskey(BadInput):
    """The answer of a passkey does not hold; what is wrong with it is not told."""

    def __init__(self) -> None:
        super().__init__("This passkey could not be used here. Try again, or use a code.", code="wrong_passkey")


async def issue(venue: Venue, purpose: str, client: str) -> bytes:
    """A new challenge.

    Raises:
        LimitReached: the client has asked for too many.
    """
    await limits.take(venue.redis, venue.vault, OF_A_CLIENT.of(client))
    challenge = token_bytes(LENGTH_BYTES)
    await venue.redis.set(_key(challenge), purpose.encode(), ex=LIFE_SECONDS)
    return challenge


async def spend(venue: Venue, sent: Mapping[str, Any], purpose: str) -> bytes:
    """The challenge that an answer says it answers; it ends with this, and must have been issued for this purpose.

    Raises:
        WrongPasskey: it was used up, is too old, or was issued for something else or to somebody else.
    """
    try:
        client_data = json.loads(base64url_to_bytes(sent["response"]["clientDataJSON"]))
        challenge = base64url_to_bytes(client_data["challenge"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WrongPasskey from error
    if await venue.redis.getdel(_key(challenge)) != purpose.encode():
        raise WrongPasskey
    return challenge


def decoded(response: str) -> Mapping[str, Any]:
    """An answer as the browser's form brought it.

    Raises:
        WrongPasskey: it is none.
    """
    if len(response) > RESPONSE_CHARACTERS:
        raise WrongPasskey
    try:
        sent = json.loads(response)
    except (ValueError, RecursionError) as error:
        raise WrongPasskey from error
    if not isinstance(sent, dict):
        raise WrongPasskey
    return sent


def _key(challenge: bytes) -> str:
    return f"surplusflow:challenge:{sha256(challenge).hexdigest()}"
