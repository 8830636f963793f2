"""Calls into translators that may come from other packages: one that trips is a fault of the model's, so another may answer.

Also what an error answer says, as far as it can be read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from prefrontal.contracts.wire import WireResponse
from prefrontal.errors import PrefrontalError, ProviderError, ProviderMisbehaved
from prefrontal.execute.transport.base import WireStream
from prefrontal.providers.base import Provider, Target

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


MAX_ERROR_BODY_BYTES = 1_048_576
"""How much of an error answer to a stream is read (assumed: error bodies are small)."""


def guarded(what: str, model: str, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Return what the translator returns. Raises its PrefrontalError, and ProviderMisbehaved for anything else it raises."""
    try:
        return work(*args, **kwargs)
    except PrefrontalError:
        raise
    except Exception as error:  # an edge: see the module
        log.exception("the translator of model %s failed", model)
        raise ProviderMisbehaved(f"{what} of model '{model}' could not be {_verb(what)} ({type(error).__name__}).") from error


def upstream_error(provider: Provider, reply: WireResponse, target: Target) -> ProviderError:
    """Return what an error answer stands for; one that the translator cannot read is at least an error of its status."""
    try:
        return provider.parse_error(reply, target)
    except Exception as error:  # an edge: the contract says that this never raises, and a plug-in may break it
        log.exception("the translator of model %s failed", target.card.id)
        text = f"Model '{target.card.id}' answered with status {reply.status}; why could not be read ({type(error).__name__})."
        return ProviderMisbehaved(text, upstream_status=reply.status)


def _verb(what: str) -> str:
    return "written" if what == "The request" else "read"


async def error_body(stream: WireStream) -> WireResponse:
    """Return the error answer as far as it can be read: its status counts, also when the body breaks off."""
    parts: list[bytes] = []
    size = 0
    try:
        while size < MAX_ERROR_BODY_BYTES and (data := await stream.read()):
            parts.append(data)
            size += len(data)
    except PrefrontalError as error:
        log.info("an error body broke off: %s", error)
    return WireResponse(status=stream.status, headers=stream.headers, body=b"".join(parts))
