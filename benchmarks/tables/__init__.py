"""Measurements -> the tables that are printed."""

from benchmarks.tables.served import latencies, memory, rates, times
from benchmarks.tables.simulated import makespans, soak, waits

__all__ = ["latencies", "makespans", "memory", "rates", "soak", "times", "waits"]
