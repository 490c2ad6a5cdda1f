"""Where a visitor may be sent: a path of our own, never another site."""

import re

# One slash, then no second slash or backslash: browsers read both as the beginning of another host.
_LOCAL = re.compile(r"/(?![/\\])[A-Za-z0-9/_.~-]{0,200}")


def local_path(text: str | None) -> str:
    """The path if it is one of ours in form, otherwise the first page."""
    return text if text and _LOCAL.fullmatch(text) else "/"
