"""Retention: what may leave a zone, the proof that comes before, and who does it."""

from dropzone.care.caretaker import Caretaker
from dropzone.care.cleaning import Cleaning
from dropzone.care.rules import Kept, Left, Report, Rules

__all__ = ["Caretaker", "Cleaning", "Kept", "Left", "Report", "Rules"]
