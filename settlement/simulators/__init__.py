"""Stand-ins for the outside world: programs of their own, with their own books."""
