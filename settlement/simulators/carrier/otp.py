"""One-time codes by SMS: six digits, ten minutes, three tries; only a salted hash of the code is kept."""

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from uuid import uuid4

from settlement.simulators.carrier import lines, messages
from settlement.simulators.carrier.database import Connection
from settlement.simulators.carrier.refusals import Refusal

CODE_DIGITS = 6
LIFETIME = timedelta(minutes=10)
WINDOW = timedelta(minutes=10)
TRIES = 3
PLACEHOLDER = "{{code}}"


async def send(
    connection: Connection,
    carrier: str,
    msisdn: str,
    message: str,
    now: datetime,
    *,
    limit: int,
) -> str:
    """Text a fresh code and return the id by which it can be checked; at most `limit` codes go to a number a window."""
    line = (await lines.lock(connection, carrier, msisdn)).get(msisdn)
    if line is None:
        raise Refusal("NOT_FOUND", "There is no such subscriber.")
    if line["status"] != "active":
        raise Refusal("ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_BLOCKED")
    sent = await connection.fetchval(
        "SELECT count(*) FROM otp WHERE carrier = $1 AND msisdn = $2 AND sent_at > $3",
        carrier,
        msisdn,
        now - WINDOW,
    )
    if sent >= limit:
        raise Refusal("ONE_TIME_PASSWORD_SMS.MAX_OTP_CODES_EXCEEDED")

    code = f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}"
    authentication_id, salt = str(uuid4()), secrets.token_hex(16)
    await connection.execute(
        "INSERT INTO otp (id, carrier, msisdn, salt, code_hash, sent_at, expires_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7)",
        authentication_id,
        carrier,
        msisdn,
        salt,
        _hashed(salt, code),
        now,
        now + LIFETIME,
    )
    await messages.deliver(connection, carrier, msisdn, message.replace(PLACEHOLDER, code), now)
    return authentication_id


async def validate(
    connection: Connection,
    carrier: str,
    authentication_id: str,
    code: str,
    now: datetime,
) -> Refusal | None:
    """None for the right code, which is then used up; else the refusal to answer with.

    A wrong try must be counted, so its refusal is returned and not raised: raising would roll the count back.
    """
    row = await connection.fetchrow(
        "SELECT * FROM otp WHERE carrier = $1 AND id = $2 FOR UPDATE",
        carrier,
        authentication_id,
    )
    if row is None:
        return Refusal("NOT_FOUND", "There is no such authenticationId.")
    if row["used"] or row["expires_at"] <= now:
        return Refusal("ONE_TIME_PASSWORD_SMS.VERIFICATION_EXPIRED")
    if row["wrong_tries"] >= TRIES:
        return Refusal("ONE_TIME_PASSWORD_SMS.VERIFICATION_FAILED")
    if not hmac.compare_digest(_hashed(row["salt"], code), row["code_hash"]):
        await connection.execute("UPDATE otp SET wrong_tries = wrong_tries + 1 WHERE id = $1", authentication_id)
        return Refusal("ONE_TIME_PASSWORD_SMS.INVALID_OTP")
    await connection.execute("UPDATE otp SET used = true WHERE id = $1", authentication_id)
    return None


def _hashed(salt: str, code: str) -> str:
    return hashlib.sha256(f"{salt}:{code}".encode()).hexdigest()
