"""dropzone: a drop folder that never loses, duplicates or hides a file."""

__version__ = "0.1.0"
