"""What is written about security, and the files to start from, are about the flags there are."""

from __future__ import annotations

import re
import typing
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml
from ossicle.service.client.access import Access, Tls
from ossicle.service.commands.connection import Connection
from ossicle.service.commands.security import SecurityOptions
from ossicle.service.limits import Limits

REPOSITORY = Path(__file__).resolve().parents[2]
SECURITY = (REPOSITORY / "docs/security.md").read_text(encoding="utf-8")


def service(file: str) -> dict[str, Any]:
    document = yaml.safe_load((REPOSITORY / file).read_text(encoding="utf-8"))
    server: dict[str, Any] = document["services"]["server"]
    return server


def flags(options: type) -> list[tuple[str, str]]:
    """Each flag of a group of options, with its environment variable."""
    hints = get_type_hints(options, include_extras=True)
    return [
        ("--" + name.replace("_", "-"), typing.get_args(hint)[1].envvar)
        for name, hint in hints.items()
        if typing.get_origin(hint) is typing.Annotated
    ]


def table(heading: str) -> list[tuple[str, str]]:
    """The flags and variables of a table."""
    rows = SECURITY.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    return re.findall(r"^\| `(--\S+)` \| `(\S+)` \|", rows, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("heading", "options"),
    [
        ("flag of `ossicle serve` | environment", SecurityOptions),
        (
            "option of `stream`, `transcribe`, `mic`, `models`, `health`, `bench server` | "
            "environment",
            Connection,
        ),
    ],
)
def test_every_flag_is_documented_with_its_variable(heading: str, options: type) -> None:
    assert table(heading) == flags(options)
    assert len(flags(options)) == 6


@pytest.mark.parametrize(
    ("details", "tls"),
    [
        ("SSL_ERROR_SSL: WRONG_VERSION_NUMBER", Tls()),
        ("Socket closed", None),
        ("CERTIFICATE_VERIFY_FAILED: certificate has expired", Tls()),
        ("Hostname Verification Check failed", Tls()),
        ("Socket closed", Tls()),
    ],
)
def test_messages_of_connections_that_fail_are_the_documented_ones(
    details: str, tls: Tls | None
) -> None:
    assert f"| {Access(tls).explain(details)} |" in SECURITY


def test_what_bounds_connections_and_calls_is_documented() -> None:
    for streams in (1, 64, 1000):
        limits = Limits(max_streams=streams)
        assert limits.max_calls == 2 * streams + 16
        assert limits.max_connections == 4 * streams + 32
    assert "4 x `--max-streams` + 32" in SECURITY
    assert "2 x `--max-streams` + 16" in SECURITY


def test_compose_speaks_clear_text_to_this_machine_alone() -> None:
    plain = service("docker-compose.yml")
    assert plain["environment"]["OSSICLE_INSECURE"] == "1"
    assert all(port.startswith("127.0.0.1:") for port in plain["ports"])


def test_compose_opens_to_others_only_with_tls_and_tokens() -> None:
    opened = service("deploy/tls.yml")
    environment = opened["environment"]
    known = {variable for _, variable in flags(SecurityOptions)}
    assert set(environment) <= known
    assert environment["OSSICLE_INSECURE"] == "0"
    for name in ("OSSICLE_TLS_CERT", "OSSICLE_TLS_KEY", "OSSICLE_TOKENS"):
        assert environment[name].startswith("/security/")
    assert any(volume.endswith(":/security:ro") for volume in opened["volumes"])


def test_the_image_checks_its_health_where_neither_token_nor_certificate_is_needed() -> None:
    dockerfile = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    assert "OSSICLE_HEALTH_PORT=50052" in dockerfile
    assert "ossicle health --server 127.0.0.1:${OSSICLE_HEALTH_PORT}" in dockerfile
    assert "OSSICLE_INSECURE=" not in dockerfile.replace("or with OSSICLE_INSECURE=1", "")
