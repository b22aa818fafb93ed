"""HTTP/1.1 on sockets of our own: a connection carries exchanges, driven by callbacks."""
