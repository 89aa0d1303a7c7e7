"""Encrypted connections with real certificates, good ones and all the bad ones."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from calls import free_port, own_messages
from certificates import Certificates, Pair
from ossicle.service.client import (
    AsyncSpeechClient,
    OssicleError,
    SpeechClient,
    Tls,
    UnavailableError,
)
from ossicle.service.security.config import Security
from ossicle.service.server import SpeechServer
from prometheus_client import generate_latest

TAPE: dict[str, Any] = {"encoding": "linear16", "sample_rate": 16_000}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def local(certificates: Certificates) -> Pair:
    return certificates.issue("localhost", "127.0.0.1")


def security(pair: Pair, **choices: Any) -> Security:
    return Security(tls_cert=pair.certificate, tls_key=pair.key, **choices)


@pytest.fixture(scope="module")
def encrypted(serve: Any, tapes: Any, local: Pair) -> Iterator[SpeechServer]:
    with serve(tapes.model, security=security(local)) as server:
        yield server


@pytest.fixture(scope="module")
def mutual(
    serve: Any, tapes: Any, local: Pair, certificates: Certificates
) -> Iterator[SpeechServer]:
    with serve(
        tapes.model, security=security(local, tls_client_ca=certificates.authority())
    ) as server:
        yield server


@pytest.fixture(scope="module")
def clear(serve: Any, tapes: Any) -> Iterator[SpeechServer]:
    with serve(tapes.model) as server:
        yield server


def heard(tapes: Any, text: str) -> bytes:
    samples: bytes = (tapes.record(text) * 32768).astype("<i2").tobytes()
    return samples


def ask(address: str, tls: Tls | None) -> None:
    with SpeechClient(address, tls=tls) as client:
        assert client.health()


def ask_asynchronously(address: str, tls: Tls | None) -> None:
    async def ask() -> None:
        async with AsyncSpeechClient(address, tls=tls) as client:
            assert await client.health()

    asyncio.run(ask())


both_clients = pytest.mark.parametrize("call", [ask, ask_asynchronously])
Call = Callable[[str, Tls | None], None]


def test_all_of_a_client_works_encrypted(
    encrypted: SpeechServer, certificates: Certificates, tapes: Any
) -> None:
    tls = Tls(ca=certificates.authority())
    speech = heard(tapes, "hello_world")
    with SpeechClient(encrypted.address, tls=tls) as client:
        assert client.health()
        assert client.list_models().models[0].name == "tape"
        whole = client.recognize(speech, **TAPE).text
        finals = [r.text for r in client.stream([speech], **TAPE) if r.is_final and r.text]

    async def asynchronous() -> list[str]:
        async with AsyncSpeechClient(encrypted.address, tls=tls) as client:
            assert await client.health()
            assert (await client.recognize(speech, **TAPE)).text == whole
            stream = client.stream([speech], **TAPE)
            return [r.text async for r in stream if r.is_final and r.text]

    assert whole
    assert finals == asyncio.run(asynchronous()) == [whole]


@both_clients
def test_a_client_with_a_certificate_of_the_authority_is_let_in(
    call: Call, mutual: SpeechServer, certificates: Certificates
) -> None:
    own = certificates.issue("somebody@example.org")
    call(mutual.address, Tls(certificates.authority(), own.certificate, own.key))


@both_clients
@pytest.mark.parametrize(
    ("by", "days", "remedy"),
    [
        (None, None, r"client certificates.*--client-cert"),
        ("other", (-1, 30), r"does not accept the client certificate .*pem"),
        ("ours", (-30, -1), r"does not accept the client certificate .*expired"),
    ],
)
def test_a_client_without_a_good_certificate_is_told_which_it_needs(
    call: Call,
    by: str | None,
    days: Any,
    remedy: str,
    mutual: SpeechServer,
    certificates: Certificates,
) -> None:
    own = certificates.issue("somebody@example.org", by=by, days=days) if by else None
    tls = Tls(certificates.authority(), own and own.certificate, own and own.key)
    with pytest.raises(UnavailableError, match=remedy):
        call(mutual.address, tls)


@both_clients
@pytest.mark.parametrize(
    ("names", "by", "days", "remedy"),
    [
        (["localhost", "127.0.0.1"], "ours", (-30, -1), r"has expired.*renew"),
        (["localhost", "127.0.0.1"], "ours", (1, 30), r"not valid yet.*clocks"),
        (["elsewhere.example"], "ours", (-1, 30), r"another host.*--server-name"),
        (["localhost", "127.0.0.1"], "other", (-1, 30), r"authority.*unknown.*ours-ca.*--ca"),
    ],
)
def test_a_server_with_a_bad_certificate_is_refused_in_one_line(
    call: Call,
    names: list[str],
    by: str,
    days: tuple[int, int],
    remedy: str,
    serve: Any,
    tapes: Any,
    certificates: Certificates,
) -> None:
    bad = certificates.issue(*names, by=by, days=days)
    with (
        serve(tapes.model, security=security(bad)) as server,
        pytest.raises(UnavailableError, match=remedy) as caught,
    ):
        call(server.address, Tls(ca=certificates.authority()))
    assert server.address in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@both_clients
def test_a_certificate_for_another_name_is_accepted_by_that_name(
    call: Call, serve: Any, tapes: Any, certificates: Certificates
) -> None:
    elsewhere = certificates.issue("elsewhere.example")
    with serve(tapes.model, security=security(elsewhere)) as server:
        call(server.address, Tls(ca=certificates.authority(), server_name="elsewhere.example"))


@both_clients
def test_without_an_authority_the_public_ones_are_trusted(
    call: Call, encrypted: SpeechServer
) -> None:
    with pytest.raises(UnavailableError, match=r"not a public one; give .*--ca"):
        call(encrypted.address, Tls())


@both_clients
def test_tls_to_clear_text_and_the_reverse_say_so(
    call: Call, encrypted: SpeechServer, clear: SpeechServer, certificates: Certificates
) -> None:
    with pytest.raises(UnavailableError, match="does not speak TLS; connect without"):
        call(clear.address, Tls(ca=certificates.authority()))
    with pytest.raises(UnavailableError, match="if it speaks TLS, connect with --tls"):
        call(encrypted.address, None)


def connects(address: str, tls: Tls) -> bool:
    """Whether a new connection can be made."""
    try:
        ask(address, tls)
    except UnavailableError:
        return False
    return True


def test_a_renewed_certificate_is_taken_without_a_restart(
    serve: Any, tapes: Any, certificates: Certificates
) -> None:
    used = certificates.issue("localhost", "127.0.0.1")
    tls, new_tls = Tls(certificates.authority()), Tls(certificates.authority("other"))
    with (
        serve(tapes.model, security=security(used)) as server,
        SpeechClient(server.address, tls=tls) as before,
    ):
        assert before.health()
        certificates.issue("localhost", "127.0.0.1", by="other").copy_to(used)
        assert connects(server.address, new_tls)
        assert not connects(server.address, tls)
        assert before.recognize(heard(tapes, "still here"), **TAPE).text  # its connection is open


def test_when_the_certificate_ends_is_a_metric(
    encrypted: SpeechServer, clear: SpeechServer, local: Pair
) -> None:
    sample = "ossicle_certificate_expiry_timestamp_seconds", {"file": str(local.certificate)}
    expires = encrypted.telemetry.metrics.registry.get_sample_value(*sample)
    assert expires == pytest.approx(time.time() + 30 * 86_400, abs=3600)
    assert f"\n{sample[0]}{{" not in generate_latest(clear.telemetry.metrics.registry).decode()


def test_a_half_renewed_certificate_leaves_the_old_one_in_force(
    serve: Any, tapes: Any, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    used = certificates.issue("localhost", "127.0.0.1")
    new = certificates.issue("localhost", "127.0.0.1", by="other")
    tls, new_tls = Tls(certificates.authority()), Tls(certificates.authority("other"))
    with serve(tapes.model, security=security(used)) as server:
        Pair(new.certificate, used.key).copy_to(used)
        with caplog.at_level(logging.ERROR):
            assert connects(server.address, tls)
            assert connects(server.address, tls)
        (message,) = own_messages(caplog)
        assert "do not work together" in message
        assert "stays in force" in message
        new.copy_to(used)
        assert connects(server.address, new_tls)


def test_another_authority_of_clients_counts_for_new_connections(
    serve: Any, tapes: Any, local: Pair, certificates: Certificates, tmp_path: Path
) -> None:
    authority = tmp_path / "clients.pem"
    authority.write_bytes(certificates.authority("other").read_bytes())
    own = certificates.issue("somebody@example.org")
    tls = Tls(certificates.authority(), own.certificate, own.key)
    with serve(tapes.model, security=security(local, tls_client_ca=authority)) as server:
        assert not connects(server.address, tls)
        authority.write_bytes(certificates.authority().read_bytes())
        assert connects(server.address, tls)


def shake_hands(
    server: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None
) -> ssl.SSLSession | None:
    """Connect in memory, and hear a byte; the session to go on with another time.

    Raises:
        ssl.SSLError: the server refuses the client.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname="localhost", session=session)
    other = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [one, other]
    while waiting:
        for end in tuple(waiting):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
                waiting.remove(end)
    other.write(b"!")
    assert one.read(1) == b"!"
    return one.session


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_that_is_locked_out_cannot_resume_its_session_over_http(
    version: ssl.TLSVersion, local: Pair, certificates: Certificates, tmp_path: Path
) -> None:
    authority = tmp_path / "clients.pem"
    authority.write_bytes(certificates.authority().read_bytes())
    tls = security(local, tls_client_ca=authority).server_tls
    assert tls is not None
    own = certificates.issue("somebody@example.org")
    client = ssl.create_default_context(cafile=certificates.authority())
    client.load_cert_chain(own.certificate, own.key)
    client.maximum_version = version
    server = tls.context()
    session = shake_hands(server, client, None)
    shake_hands(server, client, session)
    authority.write_bytes(certificates.authority("other").read_bytes())
    for again in (None, session):
        with pytest.raises(ssl.SSLError, match="certificate verify failed"):
            shake_hands(server, client, again)


@pytest.mark.parametrize(
    ("days", "warning"),
    [((-30, -1), "has expired, and clients refuse it"), ((-1, 3), "ends on"), ((-1, 30), None)],
)
def test_a_server_warns_of_a_certificate_that_ends(
    days: tuple[int, int],
    warning: str | None,
    certificates: Certificates,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tls = security(certificates.issue("a.example", "b.example", days=days)).server_tls
    assert tls is not None
    assert tls.certificate.names == ("a.example", "b.example")
    assert tls.certificate.expires == pytest.approx(time.time() + days[1] * 86_400, abs=60)
    messages = own_messages(caplog)
    assert [warning in message for message in messages] == [True] * (warning is not None)


def test_health_is_told_in_clear_text_on_a_port_of_its_own(
    serve: Any, tapes: Any, local: Pair, certificates: Certificates
) -> None:
    port = free_port()
    authority = certificates.authority()
    chosen = security(local, tls_client_ca=authority, health_port=port)
    with (
        serve(tapes.model, security=chosen),
        SpeechClient(f"127.0.0.1:{port}") as client,
    ):
        assert client.health()
        with pytest.raises(OssicleError) as caught:
            client.list_models()
    assert caught.value.status.name == "UNIMPLEMENTED"


def test_files_that_are_none_are_named(local: Pair, tmp_path: Path) -> None:
    notes = tmp_path / "notes.pem"
    notes.write_text("not a certificate\n")
    with pytest.raises(ValueError, match=r"notes\.pem holds no certificate"):
        SpeechClient("localhost:1", tls=Tls(ca=notes))
    with pytest.raises(ValueError, match=r"notes\.pem holds no private key"):
        SpeechClient("localhost:1", tls=Tls(certificate=local.certificate, key=notes))
    with pytest.raises(ValueError, match="certificate without its key; give both"):
        Tls(certificate=local.certificate)
    with pytest.raises(FileNotFoundError, match=r"missing\.pem"):
        SpeechClient("localhost:1", tls=Tls(ca=tmp_path / "missing.pem"))


def test_a_key_that_needs_a_password_is_refused_at_once(local: Pair, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(local.key.read_bytes(), password=None)
    encrypted = tmp_path / "encrypted.key"
    encrypted.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(ValueError, match=r"encrypted\.key is encrypted.*openssl pkey"):
        _ = Security(tls_cert=local.certificate, tls_key=encrypted).server_tls
