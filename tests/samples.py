"""Builds sample documents of every format, and hostile ones, as bytes."""

import io
import zipfile
import zlib
from collections.abc import Callable, Sequence

import docx

_WORD_NAMESPACE = b"http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_BODY = "word/document.xml"
_FONT = (
    b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
)
_WORDS = (
    "the", "file", "goes", "where", "its", "folder", "says", "and", "every", "chunk",
    "keeps", "its", "words",
)  # fmt: skip


def pdf(pages: Sequence[str], *, trailer: bytes = b"", title: str = "") -> bytes:
    """Build a PDF with one line of text after the other on each page."""
    return _pdf([(b"", _page_content(page)) for page in pages], trailer, title)


def encrypted_pdf() -> bytes:
    # No password fits these keys, so the empty one does not either.
    keys = b"/O <%s> /U <%s>" % (b"ab" * 32, b"cd" * 32)
    encrypt = b"/Encrypt << /Filter /Standard /V 1 /R 2 %s /P -4 >> " % keys
    return pdf(["secret"], trailer=encrypt + b"/ID [<00> <00>]")


def image_only_pdf() -> bytes:
    return _pdf([(b"", b"10 10 100 100 re f")])


def truncated_pdf() -> bytes:
    """Build a PDF whose second half is missing; its first pages are still there."""
    whole = pdf([f"Page {number} survives." for number in range(1, 21)])
    return whole[: len(whole) // 2]


def pdf_bomb(megabytes: int) -> bytes:
    """Build a small PDF that unpacks to that many megabytes of text operators."""
    unit = b"BT /F1 12 Tf 10 700 Td (text that repeats) Tj ET\n" * 20000
    packer = zlib.compressobj(9)
    first = packer.compress(unit) + packer.flush(zlib.Z_FULL_FLUSH)
    # After a full flush the same compressed bytes can follow any number of times.
    again = packer.compress(unit) + packer.flush(zlib.Z_FULL_FLUSH)
    times = (megabytes << 20) // len(unit)
    return _pdf([(b"/Filter /FlateDecode", first + again * times + packer.flush())])


def word(paragraphs: Sequence[tuple[str, str]], *, title: str = "") -> bytes:
    """Build a DOCX of (style, text) pairs, such as ("Heading 1", "Method")."""
    document = docx.Document()
    document.core_properties.title = title
    for style, text in paragraphs:
        document.add_paragraph(text, style=style or None)
    return _saved(document)


def word_with_table(rows: Sequence[Sequence[str]]) -> bytes:
    document = docx.Document()
    table = document.add_table(len(rows), len(rows[0]))
    for row, cells in zip(table.rows, rows, strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text
    return _saved(document)


def with_body(document: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Return the DOCX with its main part changed."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(document)) as old,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new,
    ):
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content) if name == _BODY else content)
    return out.getvalue()


def word_bomb(megabytes: int) -> bytes:
    paragraph = b"<w:p><w:r><w:t>bomb bomb bomb bomb</w:t></w:r></w:p>"
    body = paragraph * ((megabytes << 20) // len(paragraph))
    return with_body(word([]), lambda _: _document(body))


def laughing_word() -> bytes:
    """Build a DOCX whose entities unfold to ten to the tenth copies of one."""
    entities = b"".join(
        b'<!ENTITY e%d "%s">' % (level + 1, b"&e%d;" % level * 10)
        for level in range(10)
    )
    prologue = b'<!DOCTYPE w:document [<!ENTITY e0 "ha">%s]>' % entities
    body = b"<w:p><w:r><w:t>&e10;</w:t></w:r></w:p>"
    return with_body(word([]), lambda _: prologue + _document(body))


def encrypted_word() -> bytes:
    """Build what a word processor saves under a password, as far as we look at it."""
    mark = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    return mark + bytes(504) + "EncryptedPackage".encode("utf-16-le") + bytes(512)


def nested_body(depth: int) -> bytes:
    """Build the main part of a DOCX with that many tables inside each other."""
    opening = b"<w:tbl><w:tr><w:tc>" * depth
    closing = b"</w:tc></w:tr></w:tbl>" * depth
    return _document(opening + b"<w:p><w:r><w:t>deep</w:t></w:r></w:p>" + closing)


def slow_html() -> bytes:
    """Build a page on which the parser's time grows with the square of its size."""
    return b"<![CDATA[ >" * 400_000


def prose(characters: int, seed: int = 0) -> str:
    """Return English-like sentences in paragraphs."""
    out = []
    size = number = 0
    while size < characters:
        number += 1
        picked = [_WORDS[(seed + number * 7 + i * 5) % len(_WORDS)] for i in range(12)]
        gap = "\n\n" if number % 6 == 0 else " "
        out.append(f"{' '.join(picked).capitalize()} {seed * 31 + number}.{gap}")
        size += len(out[-1])
    return "".join(out)[:characters]


def _saved(document: "docx.document.Document") -> bytes:
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def _document(body: bytes) -> bytes:
    return b'<w:document xmlns:w="%s"><w:body>%s</w:body></w:document>' % (
        _WORD_NAMESPACE,
        body,
    )


def _page_content(text: str) -> bytes:
    lines = [b"BT /F1 12 Tf 14 TL 50 750 Td"]
    for line in text.splitlines():
        escaped = line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
        lines.append(b"(%s) Tj T*" % escaped.encode("cp1252"))
    return b"\n".join([*lines, b"ET"])


def _pdf(
    contents: Sequence[tuple[bytes, bytes]], trailer: bytes = b"", title: str = ""
) -> bytes:
    kids = b" ".join(b"%d 0 R" % (5 + 2 * page) for page in range(len(contents)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(contents), kids),
        _FONT,
        b"<< /Title (%s) >>" % title.encode("cp1252"),
    ]
    for page, (filters, content) in enumerate(contents):
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % (6 + 2 * page)
        )
        head = b"<< /Length %d %s >>" % (len(content), filters)
        objects.append(head + b"\nstream\n" + content + b"\nendstream")
    return _with_index(objects, trailer)


def _with_index(objects: Sequence[bytes], trailer: bytes) -> bytes:
    out = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(out)
    count = len(objects) + 1
    out += b"xref\n0 %d\n0000000000 65535 f \n" % count
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer << /Size %d /Root 1 0 R /Info 4 0 R %s >>\n" % (count, trailer)
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % start)
