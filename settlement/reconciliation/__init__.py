"""Our books beside the carriers' and the provider's, day by day: what differs, why, since when, and what was done."""
