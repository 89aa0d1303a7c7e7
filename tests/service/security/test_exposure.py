"""Where a server may listen in clear text, and where a client may send a token."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from ossicle.service.cli import app
from ossicle.service.client import AsyncSpeechClient, SpeechClient, Tls
from ossicle.service.security.config import Security
from ossicle.service.security.loopback import connects_to_loopback, listens_on_loopback
from ossicle.service.server import SpeechServer
from typer.testing import CliRunner

runner = CliRunner()
LOOPBACK = ["127.0.0.1", "127.8.9.10", "localhost", "::1", "[::1]", "::ffff:127.0.0.1"]
OPEN = ["0.0.0.0", "::", "[::]", "", "192.0.2.1", "10.0.0.1", "::ffff:10.0.0.1", "fe80::1"]


@pytest.mark.parametrize("host", LOOPBACK)
def test_clear_text_may_stay_on_this_machine(host: str, tapes: Any) -> None:
    assert listens_on_loopback(host)
    SpeechServer([tapes.loaded], host=host)


@pytest.mark.parametrize("host", OPEN)
def test_clear_text_leaves_it_only_when_somebody_says_so(host: str, tapes: Any) -> None:
    with pytest.raises(ValueError, match=r"other machines.*--tls-cert.*--insecure"):
        SpeechServer([tapes.loaded], host=host)
    SpeechServer([tapes.loaded], host=host, security=Security(insecure=True))


def test_a_host_that_is_none_is_named() -> None:
    with pytest.raises(OSError, match=r"'no\.such\.host\.invalid'.*no address"):
        listens_on_loopback("no.such.host.invalid")


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("localhost:50051", True),
        ("127.0.0.1:50051", True),
        ("[::1]:50051", True),
        ("::1", True),
        ("dns:///localhost:50051", True),
        ("ipv4:127.0.0.1:50051", True),
        ("unix:/run/ossicle.sock", True),
        ("localhost.example.org:50051", False),
        ("asr.example.org:443", False),
        ("10.0.0.1:50051", False),
        ("[2001:db8::1]:50051", False),
        ("ipv4:10.0.0.1:50051", False),
    ],
)
def test_a_token_is_never_sent_in_clear_text_to_another_machine(
    address: str, loopback: bool
) -> None:
    assert connects_to_loopback(address) is loopback
    if loopback:
        SpeechClient(address, token="ossicle_secret").close()
        return
    with pytest.raises(ValueError, match=r"clear text.*--tls") as refused:
        SpeechClient(address, token="ossicle_secret")
    assert "secret" not in str(refused.value)

    async def asynchronous() -> None:
        async with AsyncSpeechClient(address, token="ossicle_secret"):
            pass

    with pytest.raises(ValueError, match="clear text"):
        asyncio.run(asynchronous())
    SpeechClient(address, token="ossicle_secret", tls=Tls()).close()


@pytest.mark.parametrize("token", ["", "two words", "line\n", "naïve", "\x00", "x" * 5000])
def test_a_token_that_cannot_be_one_is_not_repeated(token: str) -> None:
    with pytest.raises(ValueError, match="ossicle token add") as refused:
        SpeechClient("localhost:1", token=token)
    assert not token or token not in str(refused.value)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"tls_cert": Path("a.pem")}, "--tls-cert needs --tls-key"),
        ({"tls_key": Path("a.key")}, "--tls-key needs --tls-cert"),
        ({"tls_client_ca": Path("ca.pem")}, "--tls-client-ca needs --tls-cert"),
        ({"health_port": 70_000}, "--health-port is 70000"),
    ],
)
def test_choices_that_make_no_sense_together_are_refused(
    choices: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Security(**choices)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--host", "0.0.0.0"], 2, "0.0.0.0 can be reached from other machines"),
        (["--tls-cert", "a.pem"], 2, "--tls-cert needs --tls-key; give both"),
        (["--tls-cert", "no.pem", "--tls-key", "no.key"], 1, "no.key: No such file"),
        (["--tokens", "no.json"], 1, "no.json: No such file"),
        (["--tokens", __file__], 2, "is no file of tokens"),
    ],
)
def test_serve_refuses_in_one_line(options: list[str], code: int, message: str) -> None:
    result = runner.invoke(app, ["serve", "--port", "0", *options])
    assert (result.exit_code, result.stdout) == (code, "")
    (error,) = [line for line in result.stderr.splitlines() if "error: " in line]
    assert message in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ca", "no.pem"], "no.pem: No such file"),
        (["--client-cert", "no.pem"], "certificate without its key"),
        (["--token-file", "no.txt"], "no.txt: No such file"),
        (["--server", "asr.example.org:443"], "a token for asr.example.org:443 would travel in"),
        (["--server", "localhost:1,10.0.0.1:2"], "a token for 10.0.0.1:2 would travel in"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [["health"], ["models"], ["stream", __file__], ["transcribe", __file__]],
    ids=lambda command: command[0],
)
def test_commands_refuse_in_one_line_what_they_cannot_follow(
    command: list[str], options: list[str], message: str
) -> None:
    environment = {"OSSICLE_TOKEN": "ossicle_secret", "OSSICLE_SERVER": "localhost:1"}
    result = runner.invoke(app, [*command, *options], env=environment)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert "secret" not in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_server_says_how_it_is_protected() -> None:
    plain = Security()
    assert plain.transport("localhost") == "clear text, on this machine alone"
    assert plain.clients() == "everybody who can connect"
    assert plain.health("127.0.0.1:50051") == "127.0.0.1:50051"
    opened = Security(insecure=True, health_port=50052)
    assert opened.transport("0.0.0.0") == "CLEAR TEXT: others can listen (--insecure)"
    assert opened.transport("127.0.0.1") == "clear text, on this machine alone"
    assert opened.health("0.0.0.0:50051") == "0.0.0.0:50051, and in clear text on port 50052"
