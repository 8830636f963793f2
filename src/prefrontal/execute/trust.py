"""Whose certificates a model's endpoint may show. Pure."""

from __future__ import annotations

from prefrontal.contracts.model import ModelCard
from prefrontal.execute.transport.base import SYSTEM_TRUST, TlsOptions


def tls_of(card: ModelCard) -> TlsOptions:
    """Return how the certificate of this model's endpoint is checked: as its own entry says, not others at the address."""
    if card.tls_verify and card.tls_ca_file is None:
        return SYSTEM_TRUST
    return TlsOptions(verify=card.tls_verify, ca_file=card.tls_ca_file)
