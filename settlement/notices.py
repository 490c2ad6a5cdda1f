"""Telling a party something, in the transaction in which it becomes true."""

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from settlement.notice_tables import NoticeRow

Fact = str | int | None


async def tell(
    session: AsyncSession,
    party_id: int,
    kind: str,
    about: str = "",
    *,
    once: str | None = None,
    texted: bool = False,
    **facts: Fact,
) -> bool:
    """Tell a party; the caller commits. Says whether it was news: what bears the same ``once`` is told once.

    The sentence of ``kind`` is the reader's business. Facts are named by what they are:
    ``..._minor`` is money, ``..._mb`` data, ``..._at`` a moment in ISO 8601; the rest is shown as it is.
    What is ``texted`` also goes to the party's phone, if it wants that.
    """
    values = {"party_id": party_id, "kind": kind, "about": about, "facts": facts, "once": once}
    values["text_state"] = "due" if texted else None
    made = insert(NoticeRow).values(values).on_conflict_do_nothing().returning(NoticeRow.id)
    return await session.scalar(made) is not None
