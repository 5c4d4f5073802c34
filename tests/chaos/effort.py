"""How much a harness does: a sample in the suite, everything under ``make chaos``."""

import os
import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """``seed`` chooses the sample; the same one chooses the same.

    A storm drops ``files``, kills ``kills`` times, and settles in ``seconds``.
    """

    full: bool
    seed: int
    files: int
    kills: int
    seconds: float

    @classmethod
    def asked(cls) -> "Effort":
        """Return what CHAOS=full and the other variables ask for; say the seed."""
        full = os.environ.get("CHAOS") == "full"
        seed = int(_asked("SEED", random.randrange(1 << 32)))
        print(f"CHAOS_SEED={seed}")
        return cls(
            full,
            seed,
            files=int(_asked("FILES", 5000 if full else 120)),
            kills=int(_asked("KILLS", 200 if full else 10)),
            seconds=float(_asked("SECONDS", 1800 if full else 200)),
        )

    def every(self, stride: int, count: int) -> range:
        """Return the numbers from 1 to ``count``, or each ``stride``-th of them."""
        if self.full:
            return range(1, count + 1)
        return range(1 + self.seed % stride, count + 1, stride)


def _asked(name: str, otherwise: float) -> str:
    # What make passes on unset is empty.
    return os.environ.get(f"CHAOS_{name}") or str(otherwise)
