"""What every answer tells the browser: what it may load, whom it may trust, what it may keep."""

from urllib.parse import urlsplit

from market.settings import Settings

STRIPE_PAGES = "https://*.stripe.com"
YEAR_SECONDS = 31_536_000
PRIVATE = (b"cache-control", b"no-store")


def security_headers(settings: Settings) -> list[tuple[bytes, bytes]]:
    """The headers that are the same for every answer."""
    headers = {
        "content-security-policy": _content_security_policy(settings),
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
    }
    if settings.public_url.startswith("https://"):
        headers["strict-transport-security"] = f"max-age={YEAR_SECONDS}; includeSubDomains"
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def _content_security_policy(settings: Settings) -> str:
    """Scripts and styles come from our own files alone.

    Browsers hold a form's redirect to `form-action` too, and a buyer is sent on to the bank's
    3-D Secure page, a seller to the provider's questions.
    """
    return "; ".join(
        [
            "default-src 'self'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "object-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            f"form-action 'self' {_provider_pages(settings)}",
        ]
    )


def _provider_pages(settings: Settings) -> str:
    base = urlsplit(settings.payment.api_base or "https://api.stripe.com")
    host = base.hostname or ""
    return STRIPE_PAGES if host.endswith(".stripe.com") else f"{base.scheme}://{base.netloc}"
