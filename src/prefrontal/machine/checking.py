"""What is held of one request's answers while they are validated."""

from __future__ import annotations

from prefrontal.chat.request import ChatRequest
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.verdict import Finding, Validation


class Check:
    """The rounds so far, the verdict on the last, and what to ask next. A request without validation has none.

    request, cards, reason: the next call (None: the first). raw: the last answer as the model gave it.
    """

    __slots__ = ("cards", "earlier", "escalations", "names", "raw", "reason", "repairs", "request", "result")

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.repairs = 0
        self.escalations = 0
        self.earlier: tuple[Finding, ...] = ()
        self.request: ChatRequest | None = None
        self.cards: tuple[ModelCard, ...] | None = None
        self.reason: str | None = None
        self.raw = ""
        self.result: Validation | None = None
