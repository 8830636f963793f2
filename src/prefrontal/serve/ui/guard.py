"""How a browser shows its key, and what its pages may do.

A browser can show no bearer token for a page, so here, and here only, the password of HTTP Basic is the key. It is not taken on
the API's routes: a browser sends it along with whatever any other site makes it post there.
"""

from __future__ import annotations

import base64
import binascii

from prefrontal.serve.types import Headers, Scope

UI = "/ui"
DOCS = "/docs"
CHALLENGE = (b"www-authenticate", b'Basic realm="Prefrontal: the password is an API key", charset="UTF-8"')


def is_page(method: str, path: str) -> bool:
    """Return whether a request is for one of the pages, which only look."""
    return method in ("GET", "HEAD") and (path in (UI, DOCS) or path.startswith(UI + "/"))


def browser_headers(scope: Scope, headers: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the headers that say who asks: for a page with the password of HTTP Basic as the bearer token, else as they are."""
    if not is_page(scope["method"], scope["path"]):
        return headers
    scheme, _, encoded = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"basic":
        return headers
    try:
        _, found, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return headers
    return {**headers, b"authorization": b"Bearer " + password} if found else headers


def page_headers(style_hash: str) -> Headers:
    """Return the headers of a page: nothing may run, nothing is loaded, nobody may frame or keep it."""
    policy = f"default-src 'none'; style-src 'sha256-{style_hash}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    return [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-store"),
    ]
