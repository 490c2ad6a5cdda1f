"""What happened to a line since a trade, as its delivery has to know it before the data moves."""

from sqlalchemy import ScalarSelect, and_, or_, select

from settlement.line_event_tables import LineEventRow
from settlement.tables import CustodyRow, DeliveryRow


def event_since_the_match() -> ScalarSelect[str]:
    """For a query of deliveries with their custodies: how the gravest event of one of the two lines stands.

    "received" while the carrier has not been asked yet, "confirmed" when it stands by
    one that was settled after the match; nothing when there is none.
    """
    of_either = or_(LineEventRow.line_id == DeliveryRow.receiver_line_id, LineEventRow.line_id == CustodyRow.line_id)
    stands = and_(LineEventRow.status == "confirmed", LineEventRow.asked_at >= DeliveryRow.created_at)
    query = select(LineEventRow.status).where(of_either, or_(LineEventRow.status == "received", stands))
    return query.order_by(LineEventRow.status).limit(1).correlate(DeliveryRow, CustodyRow).scalar_subquery()
