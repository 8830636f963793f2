"""The table of profiles for the documentation, made from the data.

``python -m prefrontal.providers.reference docs/providers.md`` writes it anew.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from prefrontal.providers.catalogue import load_profiles
from prefrontal.providers.profile import Profile

BEGIN = "<!-- profiles: generated from the data, do not edit by hand -->"
END = "<!-- end of the profiles -->"

HEADS = ("profile", "what it is", "wire", "address", "key", "effort dialect", "structured output", "evidence")


def markdown(profiles: Mapping[str, Profile] | None = None) -> str:
    """Return the profiles as two Markdown tables: how to reach each, and where what we know of it comes from."""
    known = load_profiles() if profiles is None else profiles
    reach = _table(HEADS, [_row(profile) for profile in known.values()])
    sources = _table(("profile", "source"), [(f"`{profile.name}`", profile.source) for profile in known.values()])
    return f"{reach}\n\nWhere this was read:\n\n{sources}\n"


def inserted(page: str) -> str:
    """Return a documentation page with the tables between its two markers.

    Raises:
        ValueError: the page lacks a marker.
    """
    before, found, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not found or not end:
        raise ValueError(f"the page needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{markdown()}\n{END}{after}"


def _row(profile: Profile) -> tuple[str, ...]:
    return (
        f"`{profile.name}`",
        profile.title + (", self-hosted" if profile.self_hosted else ""),
        profile.wire,
        _address(profile),
        _key(profile),
        f"`{profile.effort_dialect}`",
        ", ".join((profile.structured_output, *profile.structured_fallback)),
        profile.evidence,
    )


def _address(profile: Profile) -> str:
    if profile.base_url:
        return f"`{profile.base_url}`"
    if profile.ports:
        return f"port {', '.join(str(port) for port in profile.ports)} of this machine"
    return "`endpoint:` of the entry"


def _key(profile: Profile) -> str:
    names = ", ".join(f"`{name}`" for name in profile.auth.env)
    if not names:
        return "none"
    return names if profile.auth.required else f"{names}, if the server asks for one"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = tuple(heads)
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def main(arguments: list[str]) -> int:
    """Write the documentation page named in `arguments` anew."""
    page = Path(arguments[0])
    page.write_text(inserted(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
