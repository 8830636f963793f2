"""Takes our own secrets out of what upstreams say: some repeat the key they refuse, and callers must not learn the operator's."""

from __future__ import annotations

from prefrontal.config.redact import Redactor, header_secrets
from prefrontal.contracts.model import ModelCard
from prefrontal.errors import PrefrontalError


def scrub(error: PrefrontalError, card: ModelCard) -> None:
    """Remove the secrets of a model, and everything with the shape of a key, from an error's words."""
    redactor = Redactor([card.key or "", *header_secrets(dict(card.headers))])
    error.message = redactor.text(error.message)
    if error.hint is not None:
        error.hint = redactor.text(error.hint)
