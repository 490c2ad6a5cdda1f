"""The signature of the recharge dialect: HMAC-SHA256 over the sorted form.

Gateways differ in it; this is our own definition of the common form: every field but
`sign`, sorted by name, encoded as in the form itself, under the secret of the contract.
"""

import hmac
from collections.abc import Mapping
from urllib.parse import urlencode

SIGN = "sign"


def sign(fields: Mapping[str, str], secret: str) -> str:
    text = urlencode(sorted((name, value) for name, value in fields.items() if name != SIGN))
    return hmac.digest(secret.encode(), text.encode(), "sha256").hex()


def is_genuine(fields: Mapping[str, str], secret: str) -> bool:
    """Whether a form was signed under this secret; takes the same time whatever is wrong with it."""
    return hmac.compare_digest(fields.get(SIGN, "").encode(), sign(fields, secret).encode())
