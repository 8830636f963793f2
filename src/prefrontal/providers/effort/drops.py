"""Which fields of a request a model does not take."""

from __future__ import annotations

from prefrontal.chat.request import ChatRequest
from prefrontal.contracts.wire import Dropped
from prefrontal.providers.effort.dialects import Dialect


def removed(request: ChatRequest, dialect: Dialect, *, thinking: bool) -> tuple[Dropped, ...]:
    """Return the fields the request really carries and the model does not take, each with its reason."""
    if not dialect.drop_always and not (thinking and dialect.drop_when_thinking):
        return ()
    found = [
        Dropped(field=name, reason="the model has fixed sampling and refuses or ignores this field")
        for name in dialect.drop_always
        if carries(request, name)
    ]
    if thinking:
        found += [
            Dropped(field=name, reason="the model refuses or ignores this field while it thinks")
            for name in dialect.drop_when_thinking
            if name not in dialect.drop_always and carries(request, name) and not _kept(request, dialect, name)
        ]
    return tuple(found)


def carries(request: ChatRequest, name: str) -> bool:
    """Return whether the request has a value for the sampling field `name`, or for an unknown field of that name."""
    if getattr(request.sampling, name, None) is not None:
        return True
    return request.extra is not None and name in request.extra


def _kept(request: ChatRequest, dialect: Dialect, name: str) -> bool:
    top_p = request.sampling.top_p
    return name == "top_p" and dialect.keep_top_p_from is not None and top_p is not None and top_p >= dialect.keep_top_p_from
