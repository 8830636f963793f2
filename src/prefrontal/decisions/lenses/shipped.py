"""The lenses there are."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from prefrontal.contracts.lens import LENS_NAMES, LensName
from prefrontal.decisions.lenses.domains import DOMAINS
from prefrontal.decisions.lenses.lens import Lens
from prefrontal.decisions.lenses.risk import RISK
from prefrontal.decisions.lenses.task import TASK
from prefrontal.errors import InvalidRequest

LENSES: Mapping[LensName, Lens[Any]] = {"task": TASK, "risk": RISK, "domains": DOMAINS}


def lens_named(name: str, param: str = "x_prefrontal.lens") -> LensName:
    """Return the name of a lens there is. Raises InvalidRequest with the nearest."""
    for known in LENS_NAMES:
        if known == name:
            return known
    near = difflib.get_close_matches(name, LENS_NAMES, n=1)
    hint = f"Did you mean '{near[0]}'?" if near else f"There are: {', '.join(LENS_NAMES)}."
    raise InvalidRequest(f"There is no lens '{name}'.", param=param, hint=hint)
