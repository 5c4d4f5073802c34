"""Vectors for text. Importing this package imports no model and no numpy."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from dropzone.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Embedder(Protocol):
    """One model. Vectors of equal ``fingerprint`` can be compared, others cannot."""

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def dims(self) -> int: ...
    @property
    def params(self) -> Mapping[str, Any]: ...

    def embed_documents(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Return one row per text, of length 1.

        A text without a single token gets the zero vector, which is near nothing:
        cosine distances to it are undefined.
        """
        ...

    def embed_query(self, text: str) -> "NDArray[np.float32]": ...


def make_embedder(model: str) -> Embedder:
    if model == "hash-v1":
        from dropzone.embed.hashing import HashEmbedder

        return HashEmbedder()
    raise ConfigurationError(
        f"There is no embedding model {model!r}.", hint="Known: hash-v1."
    )
