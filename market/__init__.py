"""The market: parties, lines, instruments, orders, coins, and the engine that joins trading with settlement."""
