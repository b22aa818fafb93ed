"""Targets in, fetch results out: scheduling, fetching and the transports below it."""
