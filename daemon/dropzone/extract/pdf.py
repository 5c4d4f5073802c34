"""PDF: text by page from PDFium; a damaged file goes to a second, forgiving parser.

PDFium is first because it keeps the reading order and drops no words (measured on
typeset manuals: the other parser reorders lines and loses what looks like mark-up),
at half the time and a quarter of the memory.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import replace

import pypdfium2
import pypdfium2.raw

from dropzone.errors import DocumentRejected
from dropzone.extract import PARTIAL, Block, Extracted
from dropzone.extract.foreign import extract_with_xberg

_END_MARK_WITHIN = 2048
_METADATA = {
    "Title": "title",
    "Author": "author",
    "Subject": "subject",
    "Keywords": "keywords",
    "CreationDate": "created",
}
_ROOT = re.compile(
    rb"(\d{1,10}) (\d{1,5}) obj(?:(?!endobj).){0,999}?/Type\s{0,9}/Catalog", re.DOTALL
)
# PDFium marks a hyphen that only breaks the line.
_LINE_HYPHEN = re.compile(r"[\x02\ufffe]\r?\n?")


def read(data: bytes, limit: int) -> Extracted:
    try:
        return _read(data, limit)
    except pypdfium2.PdfiumError as error:
        if error.err_code == pypdfium2.raw.FPDF_ERR_PASSWORD:
            raise _needs_password() from error
        return _recover(data, limit)


def _read(data: bytes, limit: int) -> Extracted:
    document = pypdfium2.PdfDocument(data)
    try:
        return _read_open(document, data, limit)
    finally:
        document.close()


def _read_open(document: pypdfium2.PdfDocument, data: bytes, limit: int) -> Extracted:
    found = document.get_metadata_dict(skip_empty=True)
    metadata = {ours: found[name] for name, ours in _METADATA.items() if name in found}
    metadata["pages"] = str(len(document))
    notes = set()
    # PDFium rebuilds a missing index in silence; what was cut off stays lost.
    if b"%%EOF" not in data[-_END_MARK_WITHIN:]:
        notes.add(PARTIAL)
    blocks = []
    total = 0
    for number, text in enumerate(_pages(document), start=1):
        if text is None:
            notes.add(PARTIAL)
            continue
        blocks.append(Block(text, page=number))
        total += len(text)
        if total > limit:
            break
    return Extracted(tuple(blocks), metadata, tuple(notes))


def _pages(document: pypdfium2.PdfDocument) -> Iterator[str | None]:
    """Yield the text of every page, None for a page that cannot be loaded."""
    for index in range(len(document)):
        try:
            page = document[index]
        except pypdfium2.PdfiumError:
            yield None
            continue
        text_page = page.get_textpage()
        text = text_page.get_text_bounded()
        text_page.close()
        page.close()
        yield _LINE_HYPHEN.sub("", text).replace("\r\n", "\n")


def _recover(data: bytes, limit: int) -> Extracted:
    """Read what is left of a file without its end."""
    if root := _ROOT.search(data):
        # With any trailer PDFium looks for the objects itself.
        end = b"\nendobj\ntrailer << /Root %s %s R >>\n%%%%EOF\n" % root.groups()
        with contextlib.suppress(pypdfium2.PdfiumError):
            found = _read(data + end, limit)
            if any(block.text.strip() for block in found.blocks):
                return replace(found, notes=(PARTIAL,))
    try:
        pages = extract_with_xberg(data, "application/pdf").pages or ()
    except DocumentRejected as error:
        raise _damaged() from error
    blocks = [Block(page.content, page=page.page_number) for page in pages]
    if not any(block.text.strip() for block in blocks):
        raise _damaged()
    return Extracted(tuple(blocks), {}, (PARTIAL,))


def _needs_password() -> DocumentRejected:
    return DocumentRejected(
        "This PDF needs a password to be opened.",
        hint="Save a copy without the password and drop that.",
    )


def _damaged() -> DocumentRejected:
    return DocumentRejected(
        "This PDF is damaged or is not a PDF: no page of it can be read.",
        hint="Check that it opens in a viewer, then export or download it again.",
    )
