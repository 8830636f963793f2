"""PDF and DOCX, through the libraries of the extra `docs`."""

from __future__ import annotations

import io
import logging
import re
import zipfile
from typing import Any

from prefrontal.knowledge.read.reading import Lines, Reader, Reading, Unreadable

REMEDY = "pip install 'prefrontal[docs]'"
MOST_PAGES = 5_000
MOST_CHARACTERS = 50_000_000
"""Bounds of what is taken from one document (assumed: no book comes near)."""

MOST_UNPACKED = 256 * 1024 * 1024
"""Most bytes the parts of a DOCX may unpack to (assumed)."""

LEVEL = re.compile(r"Heading ([1-6])$")


def read_pdf(data: bytes) -> Reading:
    """Return the text layer, each page under a heading `Page N`. Raises Unreadable without one, or when it is locked."""
    try:
        import pypdf
        from pypdf.errors import PyPdfError
    except ImportError as error:
        raise Unreadable("needs", f"PDF files need pypdf: {REMEDY}") from error
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # what it thinks of a file is of no use to who ingests a thousand
    try:
        document = pypdf.PdfReader(io.BytesIO(data))
        if document.is_encrypted and not document.decrypt(""):
            raise Unreadable("unreadable", "the PDF is locked by a password")
        out = Lines()
        size = 0
        for number, page in enumerate(document.pages, 1):
            text = (page.extract_text() or "").replace("\r\n", "\n").replace("\x00", "").strip()
            size += len(text)
            if number > MOST_PAGES or size > MOST_CHARACTERS:
                raise Unreadable("too_large", f"more than {MOST_PAGES} pages or {MOST_CHARACTERS} characters")
            if text:
                out.blank()
                out.add(f"## Page {number}\n\n{text}")
        title = str(document.metadata.title or "") if document.metadata else ""
    except PyPdfError as error:
        raise Unreadable("invalid", f"not a readable PDF: {error}") from error
    found = out.reading(title=title)
    if not found.text:
        raise Unreadable("no_text", "the PDF has no text, only pictures of it: recognise the text (OCR) first")
    return Reading(text=found.text, title=found.title)


def read_docx(data: bytes) -> Reading:
    """Return paragraphs, headings and tables in order. Raises Unreadable when it is no such document."""
    try:
        import docx
        from docx.opc.exceptions import OpcError
        from docx.table import Table
    except ImportError as error:
        raise Unreadable("needs", f"DOCX files need python-docx: {REMEDY}") from error
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as parts:
            if sum(part.file_size for part in parts.infolist()) > MOST_UNPACKED:
                raise Unreadable("bomb", f"it would unpack to more than {MOST_UNPACKED} bytes")
        document = docx.Document(io.BytesIO(data))
    except (zipfile.BadZipFile, OpcError, KeyError, ValueError) as error:
        raise Unreadable("invalid", f"not a readable DOCX: {error}") from error
    out = Lines()
    for item in document.iter_inner_content():
        if isinstance(item, Table):
            out.blank()
            for row in item.rows:
                out.add(" | ".join(" ".join(cell.text.split()) for cell in row.cells))
        else:
            _paragraph(item, out)
    found = out.reading(title=document.core_properties.title or "")
    if not found.text:
        raise Unreadable("no_text", "the document has no text")
    return Reading(text=found.text, title=found.title)


def _paragraph(paragraph: Any, out: Lines) -> None:
    text = paragraph.text.strip()
    if not text:
        return
    style = (paragraph.style.name if paragraph.style is not None else "") or ""
    level = LEVEL.match(style)
    if style.startswith("List"):
        out.add(f"- {text}")
        return
    out.blank()
    out.add(f"{'#' * int(level.group(1))} {text}" if level else f"# {text}" if style == "Title" else text)
    out.blank()


DOCUMENTS = {
    "pdf": Reader(name="pdf", endings=("pdf",), read=read_pdf, apart="pypdf"),
    "docx": Reader(name="docx", endings=("docx",), read=read_docx, apart="docx"),
}
"""The readers whose libraries take on whatever a document asks of them; so they work in processes of their own."""
