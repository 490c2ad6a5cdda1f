"""A simulated recharge gateway: a program of its own with a database of its own, sharing no code with the port."""
