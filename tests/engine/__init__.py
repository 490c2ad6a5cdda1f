"""Tests of the engine on a real database and transport."""
