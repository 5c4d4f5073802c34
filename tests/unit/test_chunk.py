"""The splitter: what it promises, on any text."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import samples
from dropzone.chunk import join, split
from dropzone.extract import Block

PIECES = st.sampled_from(
    ["word ", "Sentence ends. ", "\n\n", "\n", "   ", "日本語の文章。", "x" * 130, "é "]
)
TEXTS = st.lists(PIECES | st.text(max_size=20), max_size=60).map("".join)
HEADINGS = st.lists(st.sampled_from("ABC"), max_size=3).map(tuple)
PAGES = st.lists(st.integers(0, 1), max_size=8)


@st.composite
def documents(draw):
    """Blocks as readers make them: pages never go backwards."""
    page = 1
    blocks = []
    for step in draw(PAGES):
        page += step
        blocks.append(Block(draw(TEXTS), page, draw(HEADINGS)))
    return blocks


@given(documents(), st.integers(4, 200), st.data())
def test_every_promise_holds_on_any_document(blocks, size, data):
    overlap = data.draw(st.integers(0, size // 2))
    text = join(blocks)

    chunks = split(blocks, size, overlap)

    covered = [False] * len(text)
    for seq, piece in enumerate(chunks):
        assert piece.seq == seq
        assert piece.text == text[piece.start : piece.end]
        assert 0 < len(piece.text) <= size
        assert piece.text == piece.text.strip()
        covered[piece.start : piece.end] = [True] * len(piece.text)
    missed = "".join(c for c, seen in zip(text, covered, strict=True) if not seen)
    assert not missed.strip()
    for before, after in pairwise(chunks):
        assert before.start < after.start
        assert before.end < after.end
        assert before.end - after.start <= overlap


@given(documents())
def test_no_chunk_crosses_a_page(blocks):
    at = 0
    pages = []
    for block in blocks:
        pages += [block.page] * (len(block.text) + 2)
        at += len(block.text) + 2
    for piece in split(blocks, 100, 10):
        inside = join(blocks)[piece.start : piece.end]
        seen = {
            page
            for page, c in zip(pages[piece.start : piece.end], inside, strict=True)
            if not c.isspace()
        }
        assert seen == {piece.page}


def test_four_kilobytes_become_about_six_chunks():
    assert 5 <= len(split([Block(samples.prose(4096))])) <= 8


def test_small_sections_share_a_chunk_and_what_their_headings_share():
    blocks = [
        Block("Intro.", heading=("Guide",)),
        Block("One.", heading=("Guide", "First")),
        Block("Two.", heading=("Guide", "Second")),
    ]

    (piece,) = split(blocks)

    assert piece.text == "Intro.\n\nOne.\n\nTwo."
    assert piece.heading == "Guide"


def test_a_long_section_keeps_its_whole_heading_path():
    blocks = [
        Block("a " * 300, heading=("Guide", "First")),
        Block("b " * 300, heading=("Guide", "Second")),
    ]

    assert [piece.heading for piece in split(blocks)] == [
        "Guide > First",
        "Guide > Second",
    ]


def test_cuts_fall_between_paragraphs_then_sentences_then_words():
    paragraphs = split([Block("a" * 70 + "\n\n" + "b" * 70)], 100, 10)
    sentences = split([Block("It ends here. " * 20)], 100, 0)
    words = split([Block("word " * 60)], 100, 0)

    assert [piece.text for piece in paragraphs] == ["a" * 70, "b" * 70]
    assert all(piece.text.endswith(".") for piece in sentences)
    assert all(re.fullmatch(r"(word ?)+", piece.text) for piece in words)


def test_the_overlap_starts_at_a_word():
    first, second, *_ = split([Block("alpha beta gamma delta " * 20)], 100, 30)

    assert 0 < first.end - second.start <= 30
    assert second.text.split()[0] in {"alpha", "beta", "gamma", "delta"}


def test_one_giant_word_is_cut_by_size():
    chunks = split([Block("x" * 5000)], 800, 80)

    assert max(len(piece.text) for piece in chunks) == 800
    assert chunks[-1].end == 5000


def test_the_last_piece_is_not_a_scrap():
    chunks = split([Block("word " * 170)], 800, 80)

    assert min(len(piece.text) for piece in chunks) > 150


def test_nothing_gives_no_chunks():
    assert split([]) == []
    assert split([Block(" \n ")]) == []


def test_an_overlap_of_more_than_half_is_refused():
    with pytest.raises(ValueError, match="half"):
        split([Block("text")], 100, 51)
