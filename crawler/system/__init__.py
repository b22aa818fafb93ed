"""The operating system: event loop, signals, descriptors, threads."""
