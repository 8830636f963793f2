"""What an engine's exit code means. Shared by the child, which sets it, and the policy, which reads it."""

from __future__ import annotations

import signal

EXIT_STOPPED = 0
EXIT_WRONG_FLAG = 2
EXIT_NO_ENGINE = 3
EXIT_CANNOT_LOAD = 4

PERMANENT = frozenset({EXIT_WRONG_FLAG, EXIT_NO_ENGINE, EXIT_CANNOT_LOAD})
"""Trying again at once would end the same way."""


def describe_exit(code: int) -> str:
    """Return a clause for people, such as "was killed by SIGKILL". Negative codes are signals, as asyncio reports them."""
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"was killed by {name}{hint}"
    meanings = {
        EXIT_STOPPED: "stopped by itself",
        EXIT_WRONG_FLAG: "refused a setting",
        EXIT_NO_ENGINE: "is not installed",
        EXIT_CANNOT_LOAD: "could not load the model",
    }
    return meanings.get(code, f"ended with exit code {code}")
