"""How much a harness does: a sample in the suite, everything under ``make chaos``."""

import os
import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """``seed`` chooses the sample; the same one chooses the same.

    A sweep takes each ``stride``-th point, if that is not left to it (0). A storm
    drops ``files``, kills ``kills`` times, and settles in ``seconds``.
    """

    full: bool
    seed: int
    files: int
    kills: int
    seconds: float
    stride: int = 0

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
            stride=int(_asked("STRIDE", 1 if full else 0)),
        )

    def every(self, stride: int, count: int) -> range:
        """Return each ``stride``-th number up to ``count``, or as many as asked for."""
        step = self.stride or stride
        return range(1 + self.seed % step, count + 1, step)


def _asked(name: str, otherwise: float) -> str:
    # What make passes on unset is empty.
    return os.environ.get(f"CHAOS_{name}") or str(otherwise)
