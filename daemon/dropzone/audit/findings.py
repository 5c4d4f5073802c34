"""What was found in one file, before anything is allowed."""

import hashlib
from dataclasses import dataclass

from dropzone.audit.rules import RULES


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One place.

    Lines and columns count from 1, columns in characters; the end is exclusive.
    ``subject`` never holds a secret in full. ``within`` is the qualified name of the
    function or class, ``""`` at the top. ``cell`` is a notebook's, from 1; 0 elsewhere.
    """

    path: str
    line: int
    column: int
    rule: str
    subject: str
    end_line: int = 0
    end_column: int = 0
    within: str = ""
    cell: int = 0

    @property
    def message(self) -> str:
        return RULES[self.rule].sentence.format(self.subject)

    def fingerprint(self, nth: int) -> str:
        """Return what stays the same when lines above are added or removed.

        ``nth`` tells apart findings that differ in their place only.
        """
        parts = (self.rule, self.path, self.within, self.subject, str(nth))
        return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()
