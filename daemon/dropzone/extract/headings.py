"""The headings above the place where a reader stands."""

_LONGEST = 200


class Trail:
    """Fed with headings in the order of the text."""

    def __init__(self) -> None:
        self._open: list[tuple[int, str]] = []

    def enter(self, level: int, title: str) -> None:
        """Come to a heading: it closes those of its own and of deeper levels."""
        while self._open and self._open[-1][0] >= level:
            self._open.pop()
        if title:
            self._open.append((level, title[:_LONGEST]))

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(title for _, title in self._open)
