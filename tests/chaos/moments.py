"""Calls that a crash before them is known to be bad for one bug or another."""

from collections.abc import Callable

from chaos.supervisor import Call

Moment = Callable[[Call], bool]


def receipt(call: Call) -> bool:
    """Receipts are about to be written."""
    return call.name == "write" and call.paths[0].endswith(".jsonl")


def release(call: Call) -> bool:
    """A file is about to be moved to ``processed/``."""
    return call.name.startswith("rename") and "/processed/" in call.paths[1]


def vectors(call: Call) -> bool:
    """Vectors are about to be sent."""
    return b"COPY dropzone.embeddings" in call.sent


def commit(call: Call) -> bool:
    """Some transaction is about to be committed."""
    return b"COMMIT" in call.sent


def reason(call: Call) -> bool:
    """Why a file fails is about to be written: its delivery is noted already."""
    return call.name == "openat" and "/failed/" in call.paths[0]


def run_table(call: Call) -> bool:
    """The table of an MLflow run is about to be written: the run is there."""
    return "/artifacts/" in call.paths[0]


def ever(_call: Call) -> bool:
    return True


def after(first: Moment, then: Moment = ever) -> Moment:
    """Return the moment of the first call ``then`` that comes after a ``first``."""
    seen = False

    def now(call: Call) -> bool:
        nonlocal seen
        if seen and then(call):
            return True
        seen = seen or first(call)
        return False

    return now
