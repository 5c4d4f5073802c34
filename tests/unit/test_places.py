import os
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropzone.places import NAME_MAX, beside, collection_of, unquoted, with_mark

JOB = "01890000-0000-7000-8000-123456789abc"
MARK = b"~123456789abc"
NAME = st.binary(min_size=1, max_size=NAME_MAX).filter(
    lambda name: (
        not {b"/", b"\0"} & {bytes([c]) for c in name} and name not in {b".", b".."}
    )
)
PATH = st.lists(NAME, min_size=1, max_size=4).map(b"/".join)


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (b"x.pdf", "default"),
        (b"papers/x.pdf", "papers"),
        (b"papers/2024/x.pdf", "papers"),
        (b"bad\xff/x", r"bad\xff"),
        (b"two\nlines/x", r"two\nlines"),
    ],
)
def test_the_collection_is_the_first_folder(path, wanted):
    assert collection_of(path) == wanted


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (b"x.pdf", b"x" + MARK + b".pdf"),
        (b"a/x.tar.gz", b"a/x.tar" + MARK + b".gz"),
        (b"README", b"README" + MARK),
        (b"-x", b"-x" + MARK),
        (b"a.b/README", b"a.b/README" + MARK),
    ],
)
def test_a_mark_goes_before_the_extension(path, wanted):
    assert with_mark(path, JOB) == wanted


@given(PATH)
def test_marked_names_fit_stay_in_their_folder_and_differ(path):
    marked = with_mark(path, JOB)
    assert os.path.dirname(marked) == os.path.dirname(path)
    assert len(os.path.basename(marked)) <= NAME_MAX
    assert MARK in marked
    other = with_mark(path, JOB[:-1] + "d")
    assert other != marked


@given(PATH)
def test_a_file_beside_fits_and_keeps_its_suffix(path):
    made = beside(path, b".error.json", JOB)
    assert os.path.dirname(made) == os.path.dirname(path)
    assert len(os.path.basename(made)) <= NAME_MAX
    assert made.endswith(b".error.json")
    if len(os.path.basename(path)) <= NAME_MAX - 11:
        assert made == path + b".error.json"


@given(PATH)
def test_quoted_paths_come_back(path):
    assert unquoted(quote(path)) == path
