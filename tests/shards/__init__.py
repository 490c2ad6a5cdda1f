"""Several engines: which serves what, and how that changes."""
