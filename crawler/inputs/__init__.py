"""Sources (files, pipes, arguments, iterables) -> entries."""
