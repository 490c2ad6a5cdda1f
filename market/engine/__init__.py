"""The engine: one writer per shard that joins matching and ledger in one commit."""
