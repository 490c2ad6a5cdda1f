"""Receipts of trades: steps bound to each other by hashes, signed, and checked by anybody without asking us."""
