"""The fault menu: how a mock upstream can go wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from prefrontal.testing.http_server import Recorded

FaultKind = Literal[
    "status",
    "loading",
    "slow_headers",
    "slow_first_token",
    "slow_between",
    "drop",
    "cut_after",
    "garbage",
    "wrong_json",
    "error_after_200",
    "error_midstream",
    "empty",
    "keepalive_comments",
    "huge_line",
    "usage_missing",
    "usage_with_choices",
    "length_empty",
]

LOADING_BODY = b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}'


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One way to go wrong, for the next `times` requests that `when` accepts (None: every one, for good).

    Without `when` a fault hits the next request that asks for an answer of a model; health, model lists and token
    counts go on working, except under `loading`.

    | kind | what the client sees |
    |---|---|
    | status | `status` with `body` (default: an error object in the wire's shape) and `headers` |
    | loading | 503 "Loading model" as llama.cpp sends it, on every path |
    | slow_headers | nothing for `delay_s`, then a good answer |
    | slow_first_token | the head and the opening at once, the first token after `delay_s` |
    | slow_between | `delay_s` before every token after the first `after_chunks` |
    | drop | the connection closes before the head of an answer |
    | cut_after | the connection closes after `after_chunks` tokens, without a finish; unstreamed: in mid-body |
    | garbage | what is neither JSON nor an event stream, after `after_chunks` tokens |
    | wrong_json | valid JSON of a shape no wire has |
    | error_after_200 | 200 and the opening, then an error event before the first token; unstreamed: 200 with an error |
    | error_midstream | an error event after `after_chunks` tokens; unstreamed: as error_after_200 |
    | empty | 200 and no body |
    | keepalive_comments | comment and blank lines before every event; unstreamed: blank lines before the JSON |
    | huge_line | one token of `size` bytes |
    | usage_missing | no usage anywhere |
    | usage_with_choices | streamed OpenAI: usage in a chunk that has choices; elsewhere without effect |
    | length_empty | only reasoning, no content, and the finish reason for a full output cap |

    `delay_s` is in seconds. `reset` makes drop and cut_after end with an RST instead of a FIN.
    """

    kind: FaultKind
    after_chunks: int = 0
    status: int = 500
    headers: Mapping[str, str] = {}
    body: bytes | None = None
    message: str = "The mock upstream was told to fail."
    delay_s: float = 1.0
    size: int = 1024 * 1024
    reset: bool = False
    times: int | None = 1
    when: Callable[[Recorded], bool] | None = None


class FaultQueue:
    """Faults waiting for their request. The first that fits is taken."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Fault, int | None]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, *faults: Fault) -> None:
        """Queue faults behind those already waiting."""
        self._waiting.extend((fault, fault.times) for fault in faults)

    def clear(self) -> None:
        """Forget every fault: the upstream is healthy again."""
        self._waiting.clear()

    def take(self, request: Recorded, *, generates: bool) -> Fault | None:
        """Return the fault for `request` and count it. `generates` tells whether a model's answer is asked for."""
        for index, (fault, left) in enumerate(self._waiting):
            anywhere = fault.kind == "loading"
            if not (fault.when(request) if fault.when is not None else generates or anywhere):
                continue
            if left is not None:
                if left > 1:
                    self._waiting[index] = (fault, left - 1)
                else:
                    del self._waiting[index]
            return fault
        return None
