"""Servers that nginx cannot stand in for: plain programs, which import nothing of ours."""
