"""Files in a body of the type multipart/form-data, which is in memory already."""

from __future__ import annotations

from email.message import Message
from email.parser import HeaderParser

import msgspec

from prefrontal.errors import InvalidRequest

MOST_PARTS = 1000
MOST_HEAD = 8192
"""Parts of a body, and bytes of a part's headers (assumed)."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One part: the form's field, the file's name (None: no file), and its bytes as they came."""

    field: str
    filename: str | None
    data: bytes


def parts_of(content_type: str, body: bytes) -> list[Part]:
    """Return the parts in their order. Raises InvalidRequest when it is not multipart/form-data, or cut short."""
    about = Message()
    about["content-type"] = content_type
    boundary = about.get_param("boundary")
    if about.get_content_type() != "multipart/form-data" or not isinstance(boundary, str) or not 0 < len(boundary) <= 70:
        raise InvalidRequest("The body is not multipart/form-data with a boundary.", param="content-type")
    line = b"--" + boundary.encode("latin-1", "replace")
    pieces = (b"\r\n" + body).split(b"\r\n" + line)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise InvalidRequest("The multipart body has no end: it was cut short, or the boundary is another one.", param="body")
    if len(pieces) - 2 > MOST_PARTS:
        raise InvalidRequest(f"A body has at most {MOST_PARTS} parts.", param="body")
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> Part:
    head, gap, data = piece.lstrip(b" \t").partition(b"\r\n\r\n")
    if not gap or len(head) > MOST_HEAD:
        raise InvalidRequest("A part of the body has no headers, or too long ones.", param="body")
    headers = HeaderParser().parsestr(head.strip(b"\r\n").decode("utf-8", "replace"))  # browsers write names in UTF-8
    field = headers.get_param("name", header="content-disposition")
    if not isinstance(field, str):
        raise InvalidRequest("A part of the body has no name.", param="body")
    if headers.get("content-transfer-encoding", "binary").lower() not in ("binary", "8bit", "7bit"):
        raise InvalidRequest("Parts are sent as they are, without a transfer encoding.", param=field)
    return Part(field=field, filename=headers.get_filename(), data=data)

