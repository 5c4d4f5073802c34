"""What the daemon serves over HTTP: metrics and health.

The server runs in a thread of the daemon and imports its libraries there; nothing
waits for it, and a fault of it never stops a file.
"""
