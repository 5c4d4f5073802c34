"""The document library xberg, with everything switched off that we do not use."""

import asyncio
from typing import Any

import xberg

from dropzone.errors import DocumentRejected

_MEBIBYTE = 1 << 20


def extract_with_xberg(data: bytes, mime_type: str) -> Any:
    """Return xberg's document: ``pages``, ``document.nodes``, ``metadata``.

    Raises:
        DocumentRejected: xberg refuses the file; its reason is in the message.

    """
    source = xberg.ExtractInput(kind="bytes", bytes=data, mime_type=mime_type)
    try:
        result = asyncio.run(xberg.extract(source, _configuration()))
    except (RuntimeError, xberg.XbergError) as error:
        raise DocumentRejected(f"The file cannot be read: {error}.") from error
    if result.errors:
        raise DocumentRejected(f"The file cannot be read: {result.errors[0].message}.")
    return result.results[0]


def _configuration() -> Any:
    return xberg.ExtractionConfig(
        # Its cache would leave the text of every document on disk.
        use_cache=False,
        disable_ocr=True,
        enable_quality_processing=False,
        include_document_structure=True,
        pages=xberg.PageConfig(extract_pages=True),
        pdf_options=xberg.PdfConfig(extract_tables=False, extract_form_fields=False),
        concurrency=xberg.ConcurrencyConfig(max_threads=1),
        security_limits=xberg.SecurityLimits(
            max_archive_size=256 * _MEBIBYTE,
            max_content_size=128 * _MEBIBYTE,
            # Repetitive office files reach hundreds; the sizes above hold the bombs.
            max_compression_ratio=1000,
            max_nesting_depth=256,
            max_xml_depth=256,
        ),
    )
