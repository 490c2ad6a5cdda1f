"""The memory of a program that serves for long."""

import gc

COLLECT_AFTER = 20_000
"""Objects made before the collector looks: a handful of trades makes thousands, and hardly one stays."""


def settle_memory(collect_after: int = COLLECT_AFTER, second: int = 10, third: int = 10) -> None:
    """Spare the collector what has been loaded and stays, and let it look seldomer at what comes and goes.

    Call it when all is loaded. `second` and `third` say after how many looks at the youngest it looks at older ones.
    """
    gc.set_threshold(collect_after, second, third)
    gc.collect()
    gc.freeze()
