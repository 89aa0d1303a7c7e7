"""Which pages may use a server, and the options that say so."""

from __future__ import annotations

import pytest
from ossicle.service.web.config import WebConfig
from ossicle.service.web.origin import is_allowed

OTHERS = ("https://asr.example.org",)


@pytest.mark.parametrize(
    ("origin", "host", "secure", "allowed"),
    [
        (None, "anything:80", False, True),
        ("http://localhost:8080", "localhost:8080", False, True),
        ("http://LOCALHOST:8080", "localhost:8080", False, True),
        ("http://ossicle.localhost:8080", "ossicle.localhost:8080", False, True),
        ("http://127.0.0.1:8080", "127.0.0.1:8080", False, True),
        ("http://[::1]:8080", "[::1]:8080", False, True),
        ("http://192.168.1.5", "192.168.1.5:80", False, True),
        ("https://name.example", "name.example", True, True),
        ("https://name.example:443", "name.example:443", True, True),
        ("https://asr.example.org", "127.0.0.1:8080", False, True),
        # Another port, another scheme, another host: another site.
        ("http://localhost:3000", "localhost:8080", False, False),
        ("https://localhost:8080", "localhost:8080", False, False),
        ("http://localhost:8080", "127.0.0.1:8080", False, False),
        ("https://other.example", "name.example", True, False),
        # A name that somebody has made to point here.
        ("http://evil.example:8080", "evil.example:8080", False, False),
        ("http://localhost.evil.example", "localhost.evil.example", False, False),
        ("null", "localhost:8080", False, False),
        ("", "localhost:8080", False, False),
        ("http://[::1", "[::1", False, False),
        ("http://localhost:port", "localhost:port", False, False),
        ("http://localhost:port", "localhost:8080", False, False),
        ("http://localhost:99999", "localhost:8080", False, False),
    ],
)
def test_own_pages_and_those_that_were_named_are_allowed(
    origin: str | None, host: str, secure: bool, allowed: bool
) -> None:
    assert is_allowed(origin, host, secure, OTHERS) is allowed


@pytest.mark.parametrize(
    "origin", ["asr.example.org", "https://asr.example.org/", "ftp://x", "*", "https://x:port", ""]
)
def test_what_no_browser_sends_is_refused_as_an_origin(origin: str) -> None:
    with pytest.raises(ValueError, match=r"--http-origin is .*such as https://asr.example.org"):
        WebConfig(8080, (origin,))
