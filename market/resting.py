"""What everybody sees of an order that rests, as SQL over a row of `open_order` named ``o``.

A stop that waits for its trigger and an order with a condition are in nobody's sight;
an iceberg shows its slice. The keys are those of `market.engine.traits.Stored`.
"""

_TRAIT = "o.traits -> 'traits' ->> "

IS_SEEN = f"""(o.traits is null or (
    not coalesce(cast({_TRAIT} 'all_or_none' as boolean), false) and {_TRAIT} 'minimum' is null
    and ({_TRAIT} 'stop_price' is null or coalesce(cast({_TRAIT} 'triggered' as boolean), false))
))"""

SEEN_LOTS = f"""least(o.open, case when {_TRAIT} 'display' is null then o.open else
    coalesce(nullif(cast({_TRAIT} 'shown' as bigint), 0), cast({_TRAIT} 'display' as bigint)) end)"""
