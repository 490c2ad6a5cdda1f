"""Pages made smaller for their way over the network, so that the size tells nobody what is in them."""

import secrets
import struct
import zlib

SMALL = 1_024
"""What is shorter gains nothing."""
LEVEL = 5
MOST_PADDING = 100
HEADER = b"\x1f\x8b\x08\x08" + bytes(5) + b"\xff"
"""gzip (RFC 1952): deflate, a file name follows, no time, no system named."""


def gzipped(content: bytes) -> bytes:
    """The content as a gzip file whose name is of a random length.

    A page repeats what its address asks for and holds a token. Without the name, somebody who can have a victim's
    browser ask, and sees how long each answer is, could guess the token letter by letter (BREACH).
    """
    name = secrets.token_hex(MOST_PADDING)[: 1 + secrets.randbelow(MOST_PADDING)].encode() + b"\0"
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(content) + deflate.flush()
    return HEADER + name + body + struct.pack("<II", zlib.crc32(content), len(content) & 0xFFFFFFFF)


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header takes gzip; a weight of nought refuses it."""
    for part in accept_encoding.split(","):
        coding, _, weight = part.strip().lower().partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "").removeprefix("q=").strip("0.") != "" or not weight
    return False
