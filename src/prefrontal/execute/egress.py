"""Which hosts may be contacted: the check the transport, the fetcher and every client of another library ask before a call."""

from __future__ import annotations

from collections.abc import Callable

from prefrontal.config.reach import general_rule
from prefrontal.config.schema_egress import Egress
from prefrontal.contracts.reach import Reach, host_of, refused
from prefrontal.errors import EgressDenied

HINT = "See `egress` in the configuration."


def egress_guard(settings: Callable[[], Egress]) -> Callable[[str], None]:
    """Return the transport's hook; `settings` gives the rules that hold at the moment of the call."""

    def check(url: str) -> None:
        rule = general_rule(settings())
        if rule is None:
            return
        host = host_of(url)
        if not rule.permits(host):
            raise EgressDenied(_sentence(refused(host, rule)), hint="egress.allow lists those that may.")

    return check


def check_reach(reach: Reach | None, url: str | None) -> None:
    """Return when a request under `reach` may go to `url` (None: an engine of ours). Raises EgressDenied."""
    why = None if reach is None else reach.refusal(url)
    if why is not None:
        raise EgressDenied(_sentence(why), hint=HINT)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
