"""The validators of one process: the shipped ones, those of other packages, and what a reload changes about them."""

from __future__ import annotations

import logging

from prefrontal.config.schema import Config
from prefrontal.machine.parts import Parts
from prefrontal.validate.judge import Judge
from prefrontal.validate.plugins import discover_validators

log = logging.getLogger(__name__)


def open_judge() -> Judge:
    """Return the judge; a broken plug-in is said and left out."""
    found = discover_validators()
    for broken in found.broken:
        log.warning("validator plug-in %s (%s) left out: %s", broken.name, broken.target, broken.reason)
    return Judge(found.by_name)


def apply_forms(config: Config, parts: Parts, *, changed: bool = True) -> None:
    """Let the settings of a configuration hold: at start, and at each reload that changes something.

    What was learnt of how to tell models the form of their answers is forgotten then: the change may be the engine's mending.
    """
    parts.executor.shapes.ttl_s = config.structured_output.memory_ttl_s
    if not changed:
        return
    parts.runtime.forget_forms()
    unknown = [name for name in config.structured_output.validators if name not in parts.judge.names]
    if unknown:
        known = ", ".join(parts.judge.names)
        log.warning("structured_output.validators: there is no %s; known are: %s", ", ".join(unknown), known)
