"""One table: what the HTTP client raises, and what that means to us.

A class the table does not name takes the meaning of its nearest named ancestor; a test sees to it that every exception
class the client defines is named, so that a new one is a decision and not an accident.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

import aiohttp
from aiohttp import client_exceptions as client
from aiohttp import http_exceptions as http

from prefrontal.errors import (
    PrefrontalError,
    ProviderCut,
    ProviderMisbehaved,
    ProviderTimeout,
    ProviderUnreachable,
)

Reason = Literal["dns", "connect", "tls", "proxy", "cut", "misbehaved", "request", "timeout"]
"""Why there was no answer; in `details['reason']` of the error raised.

dns, connect, tls, proxy   no connection was made: nothing was sent
cut                        the connection ended before the answer did
misbehaved                 what arrived is not HTTP
request                    the request itself cannot be sent: the URL or a header is malformed
timeout                    the client gave up by a limit of its own
"""

Stage = Literal["connect", "first_byte", "between", "total"]

REASONS: Mapping[type[BaseException], Reason] = {
    # name resolution and connection
    client.ClientConnectorDNSError: "dns",
    socket.gaierror: "dns",
    client.ClientConnectorError: "connect",
    client.UnixClientConnectorError: "connect",
    # certificates and handshakes
    client.ClientSSLError: "tls",
    client.ClientConnectorSSLError: "tls",
    client.ClientConnectorCertificateError: "tls",
    client.ServerFingerprintMismatch: "tls",
    ssl.SSLError: "tls",
    # proxies
    client.ClientHttpProxyError: "proxy",
    client.ClientProxyConnectionError: "proxy",
    # the connection went away
    client.ClientError: "cut",
    client.ClientConnectionError: "cut",
    client.ClientConnectionResetError: "cut",
    client.ClientOSError: "cut",
    client.ServerConnectionError: "cut",
    client.ServerDisconnectedError: "cut",
    client.ClientPayloadError: "cut",
    client.UploadAbortedError: "cut",
    OSError: "cut",
    # not HTTP
    client.ClientResponseError: "misbehaved",
    client.ContentTypeError: "misbehaved",
    client.WSServerHandshakeError: "misbehaved",
    client.WSMessageTypeError: "misbehaved",
    client.TooManyRedirects: "misbehaved",
    client.RedirectClientError: "misbehaved",
    client.InvalidUrlRedirectClientError: "misbehaved",
    client.NonHttpUrlRedirectClientError: "misbehaved",
    http.HttpProcessingError: "misbehaved",
    http.BadHttpMessage: "misbehaved",
    http.HttpBadRequest: "misbehaved",
    http.PayloadEncodingError: "misbehaved",
    http.ContentEncodingError: "misbehaved",
    http.TransferEncodingError: "cut",
    http.ContentLengthError: "cut",
    http.DecompressSizeError: "misbehaved",
    http.LineTooLong: "misbehaved",
    http.InvalidHeader: "misbehaved",
    http.BadStatusLine: "misbehaved",
    http.BadHttpMethod: "request",
    http.InvalidURLError: "request",
    # our own request
    client.InvalidURL: "request",
    client.InvalidUrlClientError: "request",
    client.NonHttpUrlClientError: "request",
    ValueError: "request",
    # the client's own limits, which are switched off; named so that none is mistaken for a cut
    client.ServerTimeoutError: "timeout",
    client.ConnectionTimeoutError: "timeout",
    client.SocketTimeoutError: "timeout",
    TimeoutError: "timeout",
}

CAUGHT: tuple[type[Exception], ...] = (aiohttp.ClientError, http.HttpProcessingError, OSError, ValueError)
"""What a call into the client may raise and `translate` understands. Anything else is a bug and passes through."""

_ERRNO = re.compile(r"\[Errno (\d+)\]")  # of several addresses that were tried, the event loop strings the errors together

_TLS_HINT = (
    "If the certificate is self-signed, name its authority in tls.ca_file of the endpoint; "
    "tls.verify: false switches the check off."
)


def reason_of(error: BaseException) -> Reason:
    """Return the meaning of `error`: that of its class, or of the nearest ancestor the table names."""
    for cls in type(error).__mro__:
        reason = REASONS.get(cls)
        if reason is not None:
            return reason
    return "misbehaved"


def origin_of(url: str) -> str:
    """Return scheme, host and port of `url`: what an error may show, for paths and queries can hold keys."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def timed_out(url: str, stage: Stage, limit_s: float | None) -> ProviderTimeout:
    """Return the error for the limit of `stage` having passed."""
    what = {
        "connect": "made no connection",
        "first_byte": "sent nothing",
        "between": "went silent in the middle of its answer",
        "total": "did not finish its answer",
    }[stage]
    limit = f" for {limit_s:g} s" if stage == "between" else f" within {limit_s:g} s"
    return ProviderTimeout(f"{origin_of(url)} {what}{limit}.", details={"stage": stage, "limit_s": limit_s})


def translate(error: Exception, url: str, *, answering: bool) -> PrefrontalError:
    """Return our error for `error`, which the client raised for `url`.

    `answering` says whether the head of the answer had arrived. The caller raises the result `from error`.
    """
    origin = origin_of(url)
    reason = reason_of(error)
    details: dict[str, object] = {"reason": reason}
    said = _said(error)
    if reason == "tls":
        return ProviderUnreachable(f"TLS with {origin} failed: {said}.", hint=_TLS_HINT, details=details)
    if reason == "dns":
        return ProviderUnreachable(f"The host name of {origin} cannot be resolved: {said}.", details=details)
    if reason == "connect":
        hint = "Is the server running, and is the port right?"
        return ProviderUnreachable(f"No connection to {origin}: {said}.", hint=hint, details=details)
    if reason == "proxy":
        return ProviderUnreachable(f"The proxy on the way to {origin} refused: {said}.", details=details)
    if reason == "request":
        hint = "Check base_url, and the API key and headers for line breaks."
        return ProviderUnreachable(f"The request for {origin} cannot be sent: {said}.", hint=hint, details=details)
    if reason == "timeout":
        return ProviderTimeout(f"{origin} was too slow: {said}.", details={"stage": "total", "reason": reason})
    if reason == "misbehaved":
        return ProviderMisbehaved(f"The answer of {origin} is not HTTP: {said}.", details=details)
    where = "in the middle of its answer" if answering else "before it answered"
    details["answering"] = answering
    return ProviderCut(f"{origin} ended the connection {where}.", details=details)


def _said(error: Exception) -> str:
    """Return what the innermost error says, on one line and without the URL the client repeats around it."""
    inner: object = error
    if isinstance(error, client.ClientConnectorCertificateError):
        inner = error.certificate_error
    elif isinstance(error, client.ClientConnectorError):
        inner = error.os_error
    if isinstance(inner, ssl.SSLError) and inner.args:
        inner = inner.args[-1]
    elif isinstance(inner, OSError):
        inner = _reason(inner)
    text = " ".join(str(inner).split()).rstrip(".")
    return text[:300] or type(error).__name__


def _reason(error: OSError) -> str:
    """Return the system's words for an error without the number and the address that the event loop writes around them."""
    numbers = {error.errno} if error.errno else {int(number) for number in _ERRNO.findall(str(error))}
    known = sorted({os.strerror(number) for number in numbers if number in errno.errorcode})
    return ", ".join(known) or error.strerror or str(error)
