"""Uploads over HTTP that can be resumed: tus 1.0.0, spoken by our own code.

The bytes go past the guard's small buffer, in blocks, to ``dropzone.uploads``.
"""
