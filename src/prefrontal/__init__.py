"""Prefrontal: a self-hosted executive for language models.

    import prefrontal

    async with prefrontal.open() as pf:
        reply = await pf.chat("What is 17.5% of 2,340?")
        print(reply.text)

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefrontal.app.decisions import Decision, DecisionItem
    from prefrontal.app.library import Prefrontal
    from prefrontal.app.opening import open  # noqa: A004 - the library's own word
    from prefrontal.app.reply import Piece, Reply
    from prefrontal.contracts.decision import DecisionContext
    from prefrontal.decisions.typed import Ask
    from prefrontal.errors import PrefrontalError

__version__ = "0.1.0"

__all__ = [
    "Ask",
    "Decision",
    "DecisionContext",
    "DecisionItem",
    "Piece",
    "Prefrontal",
    "PrefrontalError",
    "Reply",
    "__version__",
    "open",
]

_HOMES = {
    "Ask": "prefrontal.decisions.typed",
    "Decision": "prefrontal.app.decisions",
    "DecisionContext": "prefrontal.contracts.decision",
    "DecisionItem": "prefrontal.app.decisions",
    "Piece": "prefrontal.app.reply",
    "Prefrontal": "prefrontal.app.library",
    "PrefrontalError": "prefrontal.errors",
    "Reply": "prefrontal.app.reply",
    "open": "prefrontal.app.opening",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module on first use."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'prefrontal' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
