"""Short lines (table rows, JSON values) gathered into blocks that stay whole."""

from collections.abc import Iterable, Iterator

from dropzone.extract import Block

# A little below the usual chunk, so that the splitter cuts between rows.
_GROUP_CHARACTERS = 600


def grouped(lines: Iterable[str], limit: int) -> Iterator[Block]:
    """Yield blocks until just over ``limit`` characters, so that a cut is seen."""
    group: list[str] = []
    size = total = 0
    for line in lines:
        if group and size + len(line) > _GROUP_CHARACTERS:
            yield Block("\n".join(group))
            group, size = [], 0
        group.append(line)
        size += len(line) + 1
        total += len(line)
        if total > limit:
            break
    if group:
        yield Block("\n".join(group))
