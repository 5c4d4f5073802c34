"""``hash-v1``: words hashed into a vector. Lexical, with no model to fetch or fit.

A change here that moves any vector is a new model: give it a new name.
"""

import hashlib
import itertools
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dropzone.embed.words import STOP_WORDS, stem

_DIMS = 1024
# The rate is the same from 8 to 256; small batches hold less memory.
_BATCH_TEXTS = 32
_REMEMBERED_WORDS = 65536

# Scripts that write their vowels as marks are \w only in part.
_WORD = re.compile(r"[\w\u0900-\u0963\u0966-\u0dff]{2,}")
# Scripts written without spaces give pairs of characters instead of words.
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17d3\u3040-\u30ff\u3400-\u4dbf"
    r"\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)
_ACCENTS = re.compile("[\u0300-\u036f]")


class HashEmbedder:
    """Signed feature hashing: no stop words, light stems, 1 + log of the count.

    No weights from a corpus: they were measured to make hashed vectors worse, because
    a rare heavy word then drowns the others it collides with.
    """

    name = "hash-v1"
    dims = _DIMS

    def __init__(self) -> None:
        # word -> twice its place plus its sign, or -1 for a word that does not count
        self._slots: dict[str, int] = {}

    @property
    def params(self) -> Mapping[str, Any]:
        return {"dims": _DIMS, "stop_words": len(STOP_WORDS), "tf": "1+log"}

    @property
    def fingerprint(self) -> str:
        words = hashlib.sha256(" ".join(sorted(STOP_WORDS)).encode()).hexdigest()
        return hashlib.sha256(f"{self.name} {_DIMS} {words}".encode()).hexdigest()

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        batches = (
            self._embed(texts[at : at + _BATCH_TEXTS])
            for at in range(0, len(texts), _BATCH_TEXTS)
        )
        return np.concatenate([np.zeros((0, _DIMS), np.float32), *batches])

    def embed_query(self, text: str) -> NDArray[np.float32]:
        row: NDArray[np.float32] = self._embed([text])[0]
        return row

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = [self._places(tokens(text)) for text in texts]
        owners = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        places = np.fromiter(itertools.chain.from_iterable(rows), np.int64)
        # Counting equal (text, place, sign) for the whole batch at once.
        keys, counts = np.unique(owners * (2 * _DIMS) + places, return_counts=True)
        weights = (1 + np.log(counts)) * np.where(keys % 2, -1.0, 1.0)
        flat = np.bincount(keys // 2, weights, minlength=len(rows) * _DIMS)
        dense = flat.reshape(len(rows), _DIMS)
        lengths = np.linalg.norm(dense, axis=1, keepdims=True)
        return (dense / np.where(lengths, lengths, 1)).astype(np.float32)

    def _places(self, words: Iterable[str]) -> list[int]:
        if len(self._slots) > _REMEMBERED_WORDS:
            self._slots.clear()
        slots = self._slots
        found = []
        for word in words:
            slot = slots.get(word)
            if slot is None:
                slot = slots[word] = _slot(word)
            if slot >= 0:
                found.append(slot)
        return found


def tokens(text: str) -> list[str]:
    """Return the words of ``text`` without case, accents and width variants."""
    if text.isascii():
        return _WORD.findall(text.lower())
    folded = unicodedata.normalize("NFKC", text).casefold()
    bare = _ACCENTS.sub("", unicodedata.normalize("NFD", folded))
    plain = unicodedata.normalize("NFC", bare)
    pairs = [
        run[at : at + 2]
        for run in _UNSPACED.findall(plain)
        for at in range(max(1, len(run) - 1))
    ]
    return _WORD.findall(_UNSPACED.sub(" ", plain)) + pairs


def _slot(word: str) -> int:
    if word in STOP_WORDS:
        return -1
    # Python's own hash() differs in every process; this one never does.
    digest = hashlib.blake2b(stem(word).encode("utf-8"), digest_size=4).digest()
    return int.from_bytes(digest, "little") % (2 * _DIMS)
