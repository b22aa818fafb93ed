"""Checks -> outputs: formats, sinks and the streams that they write to."""
