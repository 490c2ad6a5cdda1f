"""The description of the REST API in OpenAPI, served as one document."""

from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, Contact, License, SecurityScheme, Tag

from market.settings import Settings

DESCRIPTION = """
The market for surplus mobile data, for partners' programs.

Amounts are whole minor units of the currency (`..._minor`), data whole megabytes (`..._mb`), quantities whole
lots, prices minor units per lot. Every request carries a bearer key. What changes something carries an
`Idempotency-Key` of your choice: sent again with the same body it gives the same answer and happens once.
Refusals are problems as RFC 9457 describes them, with a `code` for your program.
""".strip()


def openapi_config(settings: Settings) -> OpenAPIConfig:
    bearer = SecurityScheme(
        type="http", scheme="bearer", description="A key made on the partner page; it is shown once."
    )
    return OpenAPIConfig(
        title="Surplusflow",
        version="1.0.0",
        description=DESCRIPTION,
        license=License(name="Apache-2.0", identifier="Apache-2.0"),
        contact=Contact(name="Surplusflow", url=settings.public_url),
        path="/schema",
        render_plugins=[JsonRenderPlugin(path="/openapi.json")],
        components=Components(security_schemes={"bearer": bearer}),
        security=[{"bearer": []}],
        tags=[
            Tag("market", "What everybody may see: instruments, books, trades, candles."),
            Tag("orders", "Your orders and what became of them."),
            Tag("wallet", "Your money, coins, lines and trades."),
            Tag("money", "Money in by card or phone bill, refunds, and when you are paid out."),
            Tag("partners", "Buying in bulk and handing out."),
        ],
        use_handler_docstrings=True,
    )
