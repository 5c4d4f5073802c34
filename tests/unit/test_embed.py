"""hash-v1: the same vector everywhere, for ever."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

import samples
from dropzone.embed import make_embedder
from dropzone.embed.hashing import tokens
from dropzone.embed.words import stem
from dropzone.errors import ConfigurationError

FIXED = (
    "Files dropped into the folder are stored; Füße, naïve cafés, 東京タワー, 42_000."
)
GOLDEN = "b172aeb7fd33517582cc5ce3f061d6b000753d6310bc61d34765446e21eae863"
FINGERPRINT = "f56d9f6c6797ef1d302bb6dba752cea875567dc993c7528af4499d3b6d112348"

DIGEST = f"""
import hashlib
from dropzone.embed import make_embedder
vector = make_embedder("hash-v1").embed_query({FIXED!r})
print(hashlib.sha256((vector * 10000).round().astype("<i4").tobytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def embedder():
    return make_embedder("hash-v1")


def test_a_fixed_text_has_its_fixed_vector(embedder):
    vector = embedder.embed_query(FIXED)

    # Rounded: the last bit of a logarithm may differ between machines.
    whole = (vector * 10000).round().astype("<i4").tobytes()
    assert hashlib.sha256(whole).hexdigest() == GOLDEN
    assert embedder.fingerprint == FINGERPRINT


@pytest.mark.parametrize("seed", ["0", "4711"])
def test_another_process_with_another_hash_seed_agrees(seed):
    done = subprocess.run(
        [sys.executable, "-c", DIGEST],
        env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == GOLDEN


def test_vectors_have_length_one_and_the_shape_promised(embedder):
    vectors = embedder.embed_documents([samples.prose(700, n) for n in range(300)])

    assert vectors.shape == (300, embedder.dims)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)


def test_a_batch_gives_what_single_texts_give(embedder):
    texts = ["one text", "another text entirely", "", "a third"]

    together = embedder.embed_documents(texts)

    for text, row in zip(texts, together, strict=True):
        assert np.array_equal(row, embedder.embed_query(text))


def test_text_without_tokens_is_the_zero_vector(embedder):
    assert not embedder.embed_documents(["", "the of and", "!?"]).any()
    assert embedder.embed_documents([]).shape == (0, embedder.dims)


def test_related_text_is_nearer_than_other_text(embedder):
    passages = [
        "Backups are restored with the restore command.",
        "The colour of the button is blue.",
        "Die Rechnung wurde am Freitag bezahlt.",
        "東京タワーは港区にあります。",
    ]
    vectors = embedder.embed_documents(passages)

    for query, best in (
        ("how do I restore a backup", 0),
        ("blue buttons", 1),
        ("Rechnungen bezahlt", 2),
        ("東京タワー", 3),
    ):
        assert int(np.argmax(vectors @ embedder.embed_query(query))) == best


def test_case_accents_and_width_do_not_matter():
    assert tokens("CAFÉ Straße \uff21\uff22\uff23") == tokens("cafe strasse abc")


def test_scripts_without_spaces_give_pairs():
    assert tokens("東京都 ok") == ["ok", "東京", "京都"]
    assert tokens("क्षमा करें") == ["क्षमा", "करें"]


@pytest.mark.parametrize(
    ("words", "root"),
    [
        ("store stores stored storing", "stor"),
        ("copy copies", "copy"),
        ("class classes", "class"),
        ("stop stopped stopping", "stop"),
        ("status", "status"),
        ("ring", "ring"),
        ("sha256s", "sha256s"),
    ],
)
def test_the_stemmer_joins_what_belongs_together(words, root):
    assert {stem(word) for word in words.split()} == {root}


def test_the_memory_for_words_is_bounded(embedder, monkeypatch):
    monkeypatch.setattr("dropzone.embed.hashing._REMEMBERED_WORDS", 10)
    embedder.embed_documents([f"word{number}" for number in range(50)])
    before = embedder.embed_query("word7 word8")

    assert np.array_equal(before, make_embedder("hash-v1").embed_query("word7 word8"))


def test_an_unknown_model_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match="hash-v9"):
        make_embedder("hash-v9")


def test_parameters_describe_the_model(embedder):
    assert embedder.params["dims"] == embedder.dims == 1024
