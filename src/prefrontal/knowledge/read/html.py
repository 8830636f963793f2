"""HTML to text: headings, paragraphs, lists and tables keep their order; scripts and styles go."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from prefrontal.knowledge.ingest.decode import decode
from prefrontal.knowledge.read.reading import Lines, Reading, Unreadable

HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
APART = HEADINGS | {"blockquote", "dl", "figure", "ol", "p", "pre", "section", "table", "ul"}
"""Blocks with an empty line before and after."""

BLOCKS = APART | {
    *("address", "article", "aside", "body", "caption", "dd", "details", "div", "dt", "fieldset", "figcaption", "footer"),
    *("form", "header", "hr", "li", "main", "nav", "summary", "tr"),
}
UNSEEN = frozenset(("script", "style", "template", "svg", "head"))
CHARSET = re.compile(rb"<meta[^<>]{0,200}charset\s*=\s*[\"']?\s*([A-Za-z0-9_-]{1,40})", re.IGNORECASE)
TAG = re.compile(r"<[^<>]*>")


def read_html(data: bytes) -> Reading:
    """Return the text that a browser would show, with the title. Raises Unreadable for binary data."""
    return read_page(_decoded(data))


def read_page(text: str) -> Reading:
    """Return the text of a page that is text already."""
    page = _Page()
    # Not closed: at an open comment or tag the parser's end looks for the end again and again, which costs the square.
    page.feed(text)
    rest, line = page.rawdata, page.getpos()[0]
    page.word(TAG.sub(" ", rest) if not page.hidden else "", line)
    page.end_line()
    return page.out.reading(title=page.title)


def _decoded(data: bytes) -> str:
    try:
        if b"\x00" not in data:
            return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    named = CHARSET.search(data[:4096])
    if named:
        try:
            return data.decode(named.group(1).decode("ascii"))
        except (LookupError, UnicodeError):
            pass
    found = decode(data)
    if found is None:
        raise Unreadable("binary", "not text")
    return found[0].removeprefix("\ufeff")


class _Page(HTMLParser):
    """Gathers visible text by blocks, remembering the line of the source where each line of it began."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.out = Lines()
        self.title = ""
        self.hidden = 0
        self._line: list[str] = []
        self._from = 0
        self._pre = 0
        self._in_title = False
        self._lead = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See the base class."""
        if tag == "title":
            self._in_title = True
        elif tag in UNSEEN:
            self.hidden += 1
        elif tag == "body":
            self.hidden = 0
        if self.hidden:
            return
        if tag == "br":
            self.end_line()
        elif tag in ("td", "th") and self._line:
            self._line.append(" | ")
        elif tag in BLOCKS:
            self.end_line()
            if tag in APART:
                self.out.blank()
            self._lead = f"{'#' * int(tag[1])} " if tag in HEADINGS else "- " if tag == "li" else ""
            self._pre += tag == "pre"
        elif tag == "img":
            self.word(dict(attrs).get("alt") or "", self.getpos()[0])

    def handle_endtag(self, tag: str) -> None:
        """See the base class."""
        if tag == "title":
            self._in_title = False
        elif tag in UNSEEN:
            self.hidden = max(0, self.hidden - 1)
        elif tag in BLOCKS and not self.hidden:
            self.end_line()
            self._lead = ""
            if tag in APART:
                self.out.blank()
            self._pre = max(0, self._pre - (tag == "pre"))

    def handle_data(self, data: str) -> None:
        """See the base class."""
        if self._in_title:
            self.title += data
        elif not self.hidden:
            self.word(data, self.getpos()[0])

    def word(self, text: str, line: int) -> None:
        """Add text that begins in a line of the source."""
        if self._pre:
            first, *more = text.split("\n")
            self._put(first, line)
            for n, part in enumerate(more, 1):
                self.end_line()
                self._put(part, line + n)
            return
        line += text[: len(text) - len(text.lstrip())].count("\n")
        folded = re.sub(r"\s+", " ", text)
        if folded and folded != " ":
            self._put(folded, line)
        elif folded and self._line:
            self._line.append(" ")

    def _put(self, text: str, line: int) -> None:
        if text:
            self._from = self._from or line
            self._line.append(text)

    def end_line(self) -> None:
        """Close the line that is being gathered."""
        text = "".join(self._line)
        text = text.rstrip() if self._pre else re.sub(r" {2,}", " ", text).strip()
        if text:
            self.out.add(self._lead + text, self._from)
            self._lead = ""
        self._line, self._from = [], 0
