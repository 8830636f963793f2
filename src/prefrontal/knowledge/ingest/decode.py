"""Bytes to text, losslessly: what is decoded gives the same bytes again, or is called binary."""

from __future__ import annotations

import codecs

PROBE_BYTES = 65_536
"""How much of a file is looked at to guess an old encoding (assumed)."""

CONTROL_SHARE = 0.02
"""Share of control characters above which bytes are no text (assumed)."""

MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def decode(data: bytes) -> tuple[str, str] | None:
    """Return text and encoding, with `text.encode(encoding) == data`; None for binary data.

    A byte order mark stays in the text as its first character. UTF-8 is tried first; what is not is guessed at by its letters.
    """
    for mark, name in MARKS:
        if data.startswith(mark):
            return _exact(data, name)
    if b"\x00" in data:
        return None
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        pass
    probe = data[:PROBE_BYTES]
    if sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in probe) > CONTROL_SHARE * len(probe):
        return None
    return next((found for name in (*_guesses(probe), "cp1252", "latin-1") if (found := _exact(data, name))), None)


def _exact(data: bytes, name: str) -> tuple[str, str] | None:
    try:
        text = data.decode(name)
        return (text, name) if text.encode(name) == data else None
    except (UnicodeError, LookupError):
        return None


def _guesses(probe: bytes) -> list[str]:
    from charset_normalizer import from_bytes  # only for the few files that need it

    best = from_bytes(probe).best()
    return [best.encoding] if best is not None and best.encoding not in ("utf_8", "ascii") else []
