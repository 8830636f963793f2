"""Which hosts may be contacted."""

from __future__ import annotations

import pytest

from prefrontal.errors import EgressDenied
from prefrontal.execute.egress import egress_guard, host_allowed

RULES = ("api.openai.com", "*.Example.org")


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("api.openai.com", True),
        ("API.OpenAI.com", True),
        ("api.openai.com.", True),
        ("openai.com", False),
        ("evil-api.openai.com", False),
        ("api.openai.com.evil.net", False),
        ("a.example.org", True),
        ("a.b.example.org", True),
        ("example.org", False),
        ("badexample.org", False),
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("169.254.169.254", False),
        ("localhost.evil.net", False),
        ("", False),
    ],
)
def test_a_host_is_allowed_by_name_by_subdomain_or_as_loopback(host: str, allowed: bool) -> None:
    """Names match whole, ``*.`` matches subdomains only, this machine is always allowed, nothing else is."""
    assert host_allowed(host, RULES) is allowed
    assert host_allowed(host, None) is True


def test_the_guard_reads_the_list_that_holds_at_the_moment() -> None:
    """A reload that narrows the list holds from the next call on; ports, paths and names in the URL do not matter."""
    rules: list[tuple[str, ...] | None] = [None]
    check = egress_guard(lambda: rules[0])
    check("https://anywhere.net/v1")
    rules[0] = ("api.openai.com",)
    check("https://api.openai.com:8443/v1?x=evil.net")
    check("http://[::1]:8080/v1")
    for url in ("https://anywhere.net/v1", "https://api.openai.com@evil.net/v1", "file:///etc/passwd"):
        with pytest.raises(EgressDenied) as caught:
            check(url)
        assert "egress.allow" in caught.value.text
