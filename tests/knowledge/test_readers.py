"""What readers make of HTML, notebooks, e-mail, PDF, DOCX and archives, and what crafted ones may not do."""

from __future__ import annotations

import io
import json
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docx
import pytest

from prefrontal.knowledge.read import archive
from prefrontal.knowledge.read.apart import read_apart
from prefrontal.knowledge.read.archive import read_tar, read_zip
from prefrontal.knowledge.read.documents import read_docx, read_pdf
from prefrontal.knowledge.read.html import read_html
from prefrontal.knowledge.read.mail import read_mail
from prefrontal.knowledge.read.notebook import read_notebook
from prefrontal.knowledge.read.readers import installed_readers, read, readers
from prefrontal.knowledge.read.reading import Reader, Reading, Unreadable

PAGE = b"""<html><head><title>Pump &amp; valve</title><style>p {color: red}</style></head>
<body>
<h1>Pumps</h1>
<p>Grease the
   <b>seal</b> in spring.</p>
<script>alert("hidden")</script>
<ul><li>one<li>two</ul>
<table><tr><th>part</th><th>age</th></tr><tr><td>rotor</td><td>7</td></tr></table>
<pre>a
  b</pre>
</body></html>"""


def lines_of(reading: Reading) -> dict[str, int]:
    """Return each line of the text that is not blank with the line of the source it came from."""
    return {text: line for text, line in zip(reading.text.splitlines(), reading.lines, strict=True) if text}


def zipped(*members: tuple[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how) as file:
        for name, data in members:
            file.writestr(name, data)
    return out.getvalue()


def tarred(*members: tuple[tarfile.TarInfo | str, bytes], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as file:  # type: ignore[call-overload]  # the mode is data here
        for name, data in members:
            about = tarfile.TarInfo(name) if isinstance(name, str) else name
            about.size = len(data)
            file.addfile(about, io.BytesIO(data))
    return out.getvalue()


def test_html_is_the_text_that_is_seen() -> None:
    """Headings, lists, tables and preformatted text keep their form; scripts and styles are gone; lines lead back."""
    reading = read_html(PAGE)
    assert reading.title == "Pump & valve"
    assert lines_of(reading) == {
        "# Pumps": 3,
        "Grease the seal in spring.": 4,
        "- one": 7,
        "- two": 7,
        "part | age": 8,
        "rotor | 7": 8,
        "a": 9,
        "  b": 10,
    }


@pytest.mark.parametrize("part", ["<!--", "<a ", "<", "<![CDATA[", "&#", "<script>", "<a b='", "<?", "</"])
def test_broken_html_ends_soon(part: str) -> None:
    """A page of nothing but openings costs no square of its length, and its text after them is not lost by a mark-up error."""
    read_html((part * 20_000).encode())
    assert read_html(b"<p>first</p> a < b").text == "first\n\na < b\n"


def test_html_takes_the_charset_it_names() -> None:
    """An old encoding is taken from the page."""
    assert "Привет" in read_html('<meta charset="koi8-r"><p>Привет</p>'.encode("koi8-r")).text
    with pytest.raises(Unreadable):
        read_html(b"\x00\x01\x02" * 100)


def test_notebooks_show_cells_and_what_they_printed() -> None:
    """Code is fenced in its language, outputs follow, and lines lead into the JSON."""
    cells: list[dict[str, Any]] = [
        {"cell_type": "markdown", "source": ["# Turbine\n", "blades \u00e9"]},
        {"cell_type": "code", "source": "spin(7)\n", "outputs": [{"output_type": "stream", "text": ["spun\n"]}]},
        {
            "cell_type": "code",
            "source": "1/0",
            "outputs": [{"output_type": "error", "ename": "ZeroDivisionError", "evalue": "x"}],
        },
        {"cell_type": "code", "source": "f", "outputs": [{"data": {"text/plain": "figure", "image/png": "AAAA"}}]},
    ]
    about = {"language_info": {"name": "python"}}
    data = json.dumps({"metadata": about, "cells": cells, "nbformat": 4}, indent=1).encode()
    reading = read_notebook(data)
    assert reading.title == "Turbine"
    assert "```python\nspin(7)\n```\n\nspun\n" in reading.text
    assert "ZeroDivisionError: x" in reading.text
    assert "figure" in reading.text
    assert "AAAA" not in reading.text
    source = data.decode().splitlines()
    found = lines_of(reading)
    assert "blades" in source[found["blades é"] - 1]
    assert "spin(7)" in source[found["spin(7)"] - 1]


@pytest.mark.parametrize("data", [b"[]", b"{}", b'{"cells": 7}', b"\xff", b"[" * 100_000])
def test_what_is_no_notebook_is_said(data: bytes) -> None:
    """Other JSON, and JSON that is too deep, is refused by name."""
    with pytest.raises(Unreadable) as caught:
        read_notebook(data)
    assert caught.value.reason == "invalid"


MAIL = (
    b"From: Ada <ada@example.org>\r\nTo: bob@example.org\r\nSubject: =?utf-8?q?Caf=C3=A9?= on Friday\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=X\r\n\r\n--X\r\nContent-Type: text/html\r\n\r\n<p>At the <b>harbour</b>?</p>\r\n"
    b'--X\r\nContent-Type: text/markdown\r\nContent-Disposition: attachment; filename="../../menu.md"\r\n\r\n# Menu\r\n--X--\r\n'
)


def test_mail_is_headers_body_and_attachments() -> None:
    """Encoded headers are decoded, HTML becomes text, and an attachment is a file without the path it claims."""
    reading = read_mail(MAIL)
    assert reading.title == "Café on Friday"
    assert reading.text.startswith("From: Ada <ada@example.org>\nTo: bob@example.org\nSubject: Café on Friday\n\nAt the harbour?")
    assert [(one.name, one.data) for one in reading.members] == [("menu.md", b"# Menu")]
    with pytest.raises(Unreadable):
        read_mail(b"no headers here")


def test_pdf_has_its_pages(pdf: Callable[..., bytes]) -> None:
    """Each page with text is a heading with its number."""
    reading = read_pdf(pdf("Volcanoes erupt", "", "Lava cools"))
    assert reading.text == "## Page 1\n\nVolcanoes erupt\n\n## Page 3\n\nLava cools\n"


def test_pdf_without_text_is_said(pdf: Callable[..., bytes]) -> None:
    """A scan is no silent nothing, and neither is a broken file."""
    with pytest.raises(Unreadable) as caught:
        read_pdf(pdf("", ""))
    assert (caught.value.reason, "OCR" in caught.value.detail) == ("no_text", True)
    for data in (b"", b"%PDF-1.4\nnothing", b"PK\x03\x04"):
        with pytest.raises(Unreadable):
            read(installed_readers().by_ending["pdf"], data)


def test_docx_keeps_headings_lists_and_tables() -> None:
    """The order of the document is that of the text."""
    made = docx.Document()
    made.core_properties.title = "Bridges of iron"
    made.add_heading("Spans", 2)
    made.add_paragraph("Cables carry the deck.")
    made.add_paragraph("rivets", style="List Bullet")
    table = made.add_table(1, 2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "span", "120 m"
    out = io.BytesIO()
    made.save(out)
    reading = read_docx(out.getvalue())
    assert reading.title == "Bridges of iron"
    assert reading.text == "## Spans\n\nCables carry the deck.\n\n- rivets\n\nspan | 120 m\n"
    for data in (b"", zipped(("word/document.xml", b"<x/>"))):
        with pytest.raises(Unreadable):
            read(installed_readers().by_ending["docx"], data)


@pytest.mark.parametrize(("module", "reader", "package"), [("pypdf", read_pdf, "pypdf"), ("docx", read_docx, "python-docx")])
def test_a_missing_library_is_named_with_the_command(
    module: str, reader: Callable[[bytes], Reading], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the extra a file is left out, and the one command that helps is said."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(Unreadable) as caught:
        reader(b"%PDF-1.4")
    assert caught.value.reason == "needs"
    assert package in caught.value.detail
    assert "pip install 'prefrontal[docs]'" in caught.value.detail


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_archives_open_however_they_are_packed(mode: str) -> None:
    """Files come by name, the last of a name counts, and what no one wants is passed over."""
    reading = read_tar(tarred(("./a/b.txt", b"1"), ("c.txt", b"2"), (".git/config", b"x"), ("c.txt", b"3"), mode=mode))
    assert [(one.name, one.data) for one in reading.members] == [("a/b.txt", b"1"), ("c.txt", b"3")]


def test_members_that_would_escape_are_refused() -> None:
    """Names that leave the folder, absolute ones, links and devices give no bytes and a reason."""
    names = ["../up.txt", "/etc/passwd", "a/../../b", "C:\\x", "con.txt", "ok.txt"]
    found = {one.name: one.reason for one in read_zip(zipped(*[(name, b"x") for name in names])).members}
    assert found.pop("ok.txt") == ""
    assert set(found.values()) == {"unsafe"}
    link, hard, device = tarfile.TarInfo("link"), tarfile.TarInfo("hard"), tarfile.TarInfo("device")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    hard.type, hard.linkname = tarfile.LNKTYPE, "/etc/passwd"
    device.type = tarfile.CHRTYPE
    members = read_tar(tarred((link, b""), (hard, b""), (device, b""))).members
    assert [(one.name, one.reason, one.data) for one in members] == [
        ("device", "special", b""),
        ("hard", "link", b""),
        ("link", "link", b""),
    ]
    entry = zipfile.ZipInfo("link")
    entry.external_attr = 0o120777 << 16
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr(entry, "/etc/passwd")
    assert [one.reason for one in read_zip(out.getvalue()).members] == ["link"]


def test_bombs_are_refused_before_they_fill_the_memory() -> None:
    """An archive that unpacks to far more than its size, or to too many files, is refused as a whole."""
    zeros = bytes(20_000_000)
    for data, reader in (
        (zipped(("zeros", zeros)), read_zip),
        (tarred(("zeros", zeros), mode="w:gz"), read_tar),
        (tarred(("zeros", zeros), mode="w:xz"), read_tar),
        (zipped(*[(f"{n}", b"") for n in range(archive.MOST_MEMBERS + 1)]), read_zip),
    ):
        with pytest.raises(Unreadable) as caught:
            reader(data)
        assert caught.value.reason == "bomb"


def test_a_zip_that_lies_about_sizes_is_found_out() -> None:
    """What counts is what comes out, not what the directory of the archive says."""
    data = bytearray(zipped(("zeros", bytes(20_000_000))))
    size = (20_000_000).to_bytes(4, "little")
    while (at := data.find(size)) >= 0:
        data[at : at + 4] = (10).to_bytes(4, "little")
    with pytest.raises(Unreadable):
        read_zip(bytes(data))


@pytest.mark.parametrize("reader", [read_zip, read_tar])
@pytest.mark.parametrize("data", [b"", b"nothing", b"PK\x05\x06", b"\x1f\x8b\x08 broken", b"BZh9broken", b"\xfd7zXZ\x00 broken"])
def test_broken_archives_are_said_to_be_broken(reader: Callable[[bytes], Reading], data: bytes) -> None:
    """A file that only has the ending of an archive is refused in words."""
    with pytest.raises(Unreadable) as caught:
        reader(data)
    assert caught.value.reason == "invalid"


def test_a_locked_member_is_left_out_alone() -> None:
    """A password stops one file, not the archive."""
    data = bytearray(zipped(("locked.txt", b"secret"), how=zipfile.ZIP_STORED))
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + offset] |= 1
    assert [(one.name, one.reason) for one in read_zip(bytes(data)).members] == [("locked.txt", "unreadable")]


def test_readers_come_from_other_packages() -> None:
    """An entry point adds a reader and may replace a shipped one; a broken one is named and stops nobody."""
    point = EntryPoint(name="shout", value=f"{__name__}:nothing", group="prefrontal.readers")
    loud = Reader(name="shout", endings=("loud", "html"), read=lambda data: Reading(text=data.decode().upper()))
    good = SimpleNamespace(name="loud", value="x:loud", load=lambda: loud)
    wrong = SimpleNamespace(name="wrong", value="x:wrong", load=lambda: "no reader")
    found = readers([point, good, wrong])  # type: ignore[list-item]  # what of an entry point is used
    assert found.reader("a/b.loud") is found.reader("x.HTML") is loud
    assert found.reader("plain.txt") is found.reader("noending") is None
    assert found.reader("a.tar.gz").name == "tar"  # type: ignore[union-attr]  # it is there
    assert [one.name for one in found.broken] == ["shout", "wrong"]


def test_whatever_a_reader_raises_is_a_reason() -> None:
    """A parser that fails in a way of its own makes a file unreadable, and no more."""
    broken = Reader(name="broken", endings=("x",), read=lambda data: zlib.decompress(data))  # type: ignore[arg-type, return-value]  # wrong on purpose
    with pytest.raises(Unreadable) as caught:
        read(broken, b"nothing")
    assert caught.value.reason == "unreadable"
    assert "Error" in caught.value.detail or "error" in caught.value.detail


def test_a_document_that_never_ends_is_ended(pdf: Callable[..., bytes]) -> None:
    """A document gets a bounded time of the processor and of the clock, and the next one is read."""
    endless = b"%PDF-1.4\n" + b"1 0 obj << /Type /Catalog >> endobj\n" * 400_000
    with pytest.raises(Unreadable) as caught:
        read_apart("pdf", endless, cpu_s=1)
    assert caught.value.reason in ("slow", "invalid", "unreadable")
    with pytest.raises(Unreadable) as late:
        read_apart("pdf", pdf("text"), wall_s=0.01)
    assert (late.value.reason, "0 seconds" in late.value.detail) == ("slow", True)
    assert read(installed_readers().by_ending["pdf"], pdf("Geysers")).text == "## Page 1\n\nGeysers\n"


def test_a_reader_that_loops_is_killed_by_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that never returns costs its time and nothing more."""
    (tmp_path / "pypdf").mkdir()
    (tmp_path / "pypdf" / "__init__.py").write_text("while True: pass\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(Unreadable) as caught:
        read_apart("pdf", b"%PDF-1.4", cpu_s=1)
    assert (caught.value.reason, "1 seconds of processor time" in caught.value.detail) == ("slow", True)
