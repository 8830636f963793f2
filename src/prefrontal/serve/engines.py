"""What GET /v1/engines says of each local engine."""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.app.library import Prefrontal


def list_engines(pf: Prefrontal) -> list[dict[str, Any]]:
    """Return the state of each engine, with its memory now, on average and at most since its process began."""
    shown = []
    for status in pf.engines.status():
        use = None if pf.engine_memory is None else pf.engine_memory.of(status.model_id)
        memory = None if use is None else {"rss": use.rss, "vram": use.vram}
        told = msgspec.structs.asdict(status)
        shown.append({"model": told.pop("model_id"), **told, "memory": memory})
    return shown
