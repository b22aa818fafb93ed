"""Policies tested together: random options against a scripted server, judged by invariants."""
