"""Backups of everything that dropzone owns, and their way back."""

from dropzone.backup.making import Made, make
from dropzone.backup.restoring import Restored, restore

__all__ = ["Made", "Restored", "make", "restore"]
