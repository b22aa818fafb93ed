"""Measures crawl and other clients side by side: `python -m benchmarks`."""
