"""The foreign parsers on whole, damaged and hostile files, in this process."""

import pytest

import samples
from dropzone.errors import DocumentRejected
from dropzone.extract import read

LIMIT = 100_000


def test_pdf_text_comes_by_page_with_its_metadata():
    data = samples.pdf(["First (page) here", "Café\nsecond line"], title="A title")

    found = read(data, "pdf", LIMIT)

    assert [(block.page, block.text) for block in found.blocks] == [
        (1, "First (page) here"),
        (2, "Café\nsecond line"),
    ]
    assert found.metadata == {"title": "A title", "pages": "2"}
    assert found.notes == ()


def test_a_blank_page_does_not_shift_the_numbers():
    found = read(samples.pdf(["one", "", "three"]), "pdf", LIMIT)

    assert [block.page for block in found.blocks] == [1, 3]


def test_a_pdf_of_images_has_no_text_and_says_so():
    found = read(samples.image_only_pdf(), "pdf", LIMIT)

    assert found.blocks == ()
    assert found.notes == ("no_text",)


@pytest.mark.parametrize("cut", [-6, -60, -200])
def test_a_pdf_without_its_end_is_read_as_partial(cut):
    found = read(samples.pdf(["The only page."])[:cut], "pdf", LIMIT)

    assert found.blocks[0].text == "The only page."
    assert "partial" in found.notes


def test_half_a_pdf_gives_its_first_pages():
    found = read(samples.truncated_pdf(), "pdf", LIMIT)

    assert found.blocks[0].text == "Page 1 survives."
    assert 5 <= len(found.blocks) < 20
    assert found.notes == ("partial",)


def test_a_pdf_stops_at_the_text_limit():
    found = read(samples.pdf(["page of text"] * 50), "pdf", 100)

    assert len(found.blocks) < 10
    assert "truncated_text" in found.notes


def test_a_pdf_under_a_password_is_rejected_in_plain_words():
    with pytest.raises(DocumentRejected, match="needs a password") as caught:
        read(samples.encrypted_pdf(), "pdf", LIMIT)

    assert "without the password" in caught.value.hint


@pytest.mark.parametrize("data", [b"", b"%PDF-1.4 and nothing more", b"just text"])
def test_what_is_no_pdf_is_rejected(data):
    with pytest.raises(DocumentRejected, match="damaged or is not a PDF"):
        read(data, "pdf", LIMIT)


def test_docx_paragraphs_and_lists_stand_under_their_headings():
    data = samples.word(
        [
            ("", "Before."),
            ("Heading 1", "Method"),
            ("", "How it is done."),
            ("Heading 2", "Steps"),
            ("List Bullet", "first"),
            ("Heading 1", "Result"),
            ("", "# not a heading"),
        ],
        title="Report",
    )

    found = read(data, "docx", LIMIT)

    assert [(block.heading, block.text) for block in found.blocks] == [
        ((), "Before."),
        (("Method",), "Method\n\nHow it is done."),
        (("Method", "Steps"), "Steps\n\nfirst"),
        (("Result",), "Result\n\n# not a heading"),
    ]
    assert found.metadata["title"] == "Report"
    assert found.notes == ()


def test_docx_tables_become_rows():
    found = read(samples.word_with_table([["a", "b"], ["1", ""]]), "docx", LIMIT)

    assert found.blocks[0].text == "a, b\n1"


def test_a_docx_whose_body_ends_early_is_partial():
    whole = samples.word([("", f"Paragraph {number}.") for number in range(50)])
    end = b"Paragraph 30.</w:t>"
    cut = samples.with_body(whole, lambda body: body[: body.index(end) + len(end)])

    found = read(cut, "docx", LIMIT)

    assert "Paragraph 29." in found.blocks[0].text
    assert found.notes == ("partial",)


def test_entities_that_unfold_without_end_give_nothing():
    assert "no_text" in read(samples.laughing_word(), "docx", LIMIT).notes


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (samples.encrypted_word(), "needs a password"),
        (samples.encrypted_word()[:100], "old Word file"),
        (b"just text", "damaged or is not a DOCX"),
        (samples.word([("", "text")])[:5000], "damaged or is not a DOCX"),
        (samples.with_body(samples.word([]), lambda _: b"<w:"), "cannot be read"),
    ],
)
def test_a_docx_that_cannot_be_read_is_rejected(data, message):
    with pytest.raises(DocumentRejected, match=message) as caught:
        read(data, "docx", LIMIT)

    assert caught.value.hint


def test_a_docx_that_unpacks_to_far_more_is_rejected():
    with pytest.raises(DocumentRejected, match="limit"):
        read(samples.word_bomb(120), "docx", LIMIT)
