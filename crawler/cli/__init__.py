"""The command line: options and their values -> settings. The only typer."""
