"""The outside of the market: pages, the REST API, event streams, and the command line."""
