"""A simulated payment provider that answers the provider's official client, with books of its own."""
