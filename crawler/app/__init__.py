"""One command line's run, from settings to exit code."""
