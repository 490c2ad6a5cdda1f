"""A living demonstration: made-up people, plans and traders. Never part of a production installation."""
