"""Measurements -> figures with a required bound each, and whether it was reached."""

from benchmarks.floors.floor import Floor, table, verdict
from benchmarks.floors.served import of_latency, of_outcome
from benchmarks.floors.simulated import of_pacing, of_soak

__all__ = ["Floor", "of_latency", "of_outcome", "of_pacing", "of_soak", "table", "verdict"]
