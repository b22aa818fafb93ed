"""What the program needs of the operating system: event loop, signals, descriptors, threads."""
