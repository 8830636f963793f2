"""E-mail: the usual headers, the body as text, and what is attached as files of its own."""

from __future__ import annotations

import email.errors
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

from prefrontal.knowledge.read.html import read_page
from prefrontal.knowledge.read.reading import Lines, Member, Reading, Seeker, Unreadable

HEADERS = ("From", "To", "Cc", "Date", "Subject")
MOST_PARTS = 200
"""Parts of a message that are looked at (assumed)."""


def read_mail(data: bytes) -> Reading:
    """Return headers and body; attachments are members. Raises Unreadable for what is no message."""
    message = BytesParser(policy=policy.default).parsebytes(data)
    if not isinstance(message, EmailMessage) or not message.keys():
        raise Unreadable("invalid", "not an e-mail message")
    out, seeker = Lines(), Seeker(data.decode("utf-8", "replace").replace("\r\n", "\n"))
    for name in HEADERS:
        value = _header(message, name)
        if value:
            out.add(f"{name}: {value}", seeker.line_of((f"{name}:",)))
    out.blank()
    for line in _body(message).split("\n"):
        out.add(line.rstrip(), seeker.line_of((line.strip(),)) if line.strip() else 0)
    return out.reading(title=_header(message, "Subject"), members=_attached(message))


def _header(message: EmailMessage, name: str) -> str:
    try:
        return " ".join(str(message.get(name, "")).split())
    except (email.errors.MessageError, ValueError, IndexError, AttributeError):  # what malformed headers make of the parser
        return ""


def _body(message: EmailMessage) -> str:
    part = message.get_body(preferencelist=("plain", "html"))
    if part is None:
        return ""
    try:
        text = part.get_content()
    except (LookupError, UnicodeError, ValueError):
        payload = part.get_payload(decode=True)
        text = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
    if not isinstance(text, str):
        return ""
    text = text.replace("\r\n", "\n")
    return read_page(text).text if part.get_content_subtype() == "html" else text


def _attached(message: EmailMessage) -> tuple[Member, ...]:
    found: list[Member] = []
    for n, part in enumerate(message.iter_attachments() if message.is_multipart() else (), 1):
        if n > MOST_PARTS:
            found.append(Member(name=f"attachment-{n}", reason="too_large", detail=f"more than {MOST_PARTS} attachments"))
            break
        payload = part.get_payload(decode=True)
        name = (part.get_filename() or "").replace("\\", "/").rsplit("/", 1)[-1]
        if isinstance(payload, bytes):
            found.append(Member(name=name or f"attachment-{n}", data=payload))
    return tuple(found)
