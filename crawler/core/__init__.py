"""Decisions without I/O, clock or waiting: values in, values out."""
