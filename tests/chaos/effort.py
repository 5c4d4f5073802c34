"""How much a harness does: a sample in the suite, everything under ``make chaos``."""

import os
import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """``seed`` chooses the sample; the same one chooses the same."""

    full: bool
    seed: int

    @classmethod
    def asked(cls) -> "Effort":
        """Return what CHAOS=full and CHAOS_SEED=N ask for; say the seed."""
        seed = int(os.environ.get("CHAOS_SEED") or random.randrange(1 << 32))
        print(f"CHAOS_SEED={seed}")
        return cls(os.environ.get("CHAOS") == "full", seed)

    def every(self, stride: int, count: int) -> range:
        """Return the numbers from 1 to ``count``, or each ``stride``-th of them."""
        if self.full:
            return range(1, count + 1)
        return range(1 + self.seed % stride, count + 1, stride)
