"""The REST API under /api/v1, for programs that hold a key."""
