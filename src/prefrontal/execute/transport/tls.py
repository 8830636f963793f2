"""TLS contexts, one for each way of checking certificates."""

from __future__ import annotations

import os
import ssl

from prefrontal.errors import ProviderUnreachable
from prefrontal.execute.transport.base import TlsOptions

_MAX_CONTEXTS = 32
"""How many contexts are kept; one holds a few hundred kilobytes. Assumed: more CA files than a registry names."""


class TlsContexts:
    """Builds a context once for each `TlsOptions` and keeps the most recently used ones."""

    def __init__(self, limit: int = _MAX_CONTEXTS) -> None:
        self._limit = limit
        self._contexts: dict[TlsOptions, ssl.SSLContext] = {}

    def __len__(self) -> int:
        return len(self._contexts)

    def get(self, options: TlsOptions) -> ssl.SSLContext:
        """Return the context for `options`. Raises `ProviderUnreachable` when the CA file cannot be used."""
        context = self._contexts.pop(options, None) or _build(options)
        self._contexts[options] = context
        while len(self._contexts) > self._limit:
            del self._contexts[next(iter(self._contexts))]
        return context


def _build(options: TlsOptions) -> ssl.SSLContext:
    if options.verify and options.ca_file is not None:
        return _trusting(options.ca_file)
    context = ssl.create_default_context()
    if not options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif not _system_has_authorities():
        _add_certifi(context)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _trusting(ca_file: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:
        raise ProviderUnreachable(
            f"The file named by tls.ca_file cannot be used: {ca_file}: {error}.",
            param="tls.ca_file",
            hint="It must be a readable PEM file that holds at least one certificate.",
            details={"reason": "tls"},
        ) from error
    context.set_alpn_protocols(["http/1.1"])
    return context


def _system_has_authorities() -> bool:
    paths = ssl.get_default_verify_paths()
    return any(
        bool(os.listdir(path)) if os.path.isdir(path) else os.path.exists(path)
        for path in (paths.cafile or "", paths.capath or "")
    )


def _add_certifi(context: ssl.SSLContext) -> None:
    """Python from python.org on macOS and bare containers come without authorities; certifi, if present, has them."""
    try:
        import certifi
    except ModuleNotFoundError:
        return
    context.load_verify_locations(certifi.where())
