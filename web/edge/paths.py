"""Numbers in paths: what no row of ours can have leads nowhere, and never to the database."""

from typing import Annotated

from litestar.params import PathParameter

BIGGEST = 2**63 - 1

Number = Annotated[int, PathParameter(ge=1, le=BIGGEST)]
