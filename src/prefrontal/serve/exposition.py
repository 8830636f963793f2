"""The metrics of several workers as one page: every sample with the worker it is from. Pure."""

from __future__ import annotations

from collections.abc import Mapping

MACHINE = ("prefrontal_engine_",)
"""Families that say the same in every worker, because the engines are those of one: only the first worker's are shown."""


def merged(pages: Mapping[int, str]) -> str:
    """Return one page in the text format of Prometheus from each worker's, with a label ``worker``.

    Sums over that label are the gateway's. A family's samples stay together below its HELP and TYPE, which are those of the first
    worker that has it.
    """
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for index, page in sorted(pages.items()):
        family = ""
        fresh = True
        for line in page.splitlines():
            if line.startswith("#"):
                name = line.split(" ", 3)[2]
                if name != family:
                    family, fresh = name, name not in heads
                if fresh:
                    heads.setdefault(family, []).append(line)
                samples.setdefault(family, [])
            elif line and not (index != min(pages) and family.startswith(MACHINE)):
                samples.setdefault(family, []).append(labelled(line, index))
    return "".join(f"{line}\n" for name, found in samples.items() for line in (*heads.get(name, ()), *found))


def labelled(sample: str, worker: int) -> str:
    """Return a sample line with one more label."""
    name, brace, rest = sample.partition("{")
    if not brace or " " in name:
        name, _, value = sample.partition(" ")
        return f'{name}{{worker="{worker}"}} {value}'
    return f'{name}{{worker="{worker}"{"" if rest.startswith("}") else ","}{rest}'
