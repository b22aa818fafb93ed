"""Servers that behave as nginx cannot: standalone programs."""
