"""Versioned texts that models are told, as package data: one file a version, so that a change shows in every record."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files


@lru_cache(maxsize=32)  # the files never change while the package is installed; there are fewer than that
def template(name: str) -> str:
    """Return the text of a template, such as ``structured_instruction.v1``, without the blank at its end.

    Raises:
        FileNotFoundError: there is no such template.
    """
    return files("prefrontal.prompts").joinpath("data", f"{name}.txt").read_text(encoding="utf-8").rstrip()


def filled(name: str, **values: str) -> str:
    """Return a template with each ``{{NAME}}`` replaced by its value, once: what stands in a value is left as it is."""
    parts = template(name).split("{{")
    out = [parts[0]]
    for part in parts[1:]:
        key, _, rest = part.partition("}}")
        out += [values[key], rest]
    return "".join(out)
