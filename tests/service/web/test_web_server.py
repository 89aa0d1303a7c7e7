"""The HTTP server itself: what it serves, what it forbids, TLS, and its bounds."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from calls import SECOND, free_port
from certificates import Certificates, Pair
from ossicle.service.limits import Limits
from ossicle.service.security.config import Security
from ossicle.service.server import SpeechServer
from ossicle.service.web import server as web_server
from ossicle.service.web.config import WebConfig
from sockets import END, start, stream

PAGE = Path(web_server.__file__).parent / "page"


@pytest.fixture(scope="module")
def tiny(serve: Any, tapes: Any) -> Iterator[SpeechServer]:
    with serve(tapes.model, Limits(max_streams=1), web=WebConfig(0)) as server:
        yield server


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize("file", sorted(path.name for path in PAGE.iterdir()))
async def test_the_page_and_its_files_are_served_under_a_strict_policy(
    tiny: SpeechServer, http: aiohttp.ClientSession, file: str
) -> None:
    path = "" if file == "index.html" else f"page/{file}"
    async with http.get(tiny.page + path) as response:
        assert response.status == 200
        assert await response.read() == (PAGE / file).read_bytes()
        policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [("https://asr.example.org", True), ("https://other.example.org", False), (None, False)],
)
async def test_pages_of_other_sites_may_read_what_they_may_ask_for(
    serve: Any, tapes: Any, http: aiohttp.ClientSession, origin: str | None, allowed: bool
) -> None:
    headers = {} if origin is None else {"Origin": origin}
    asked = {**headers, "Access-Control-Request-Method": "POST"}
    others = ("https://asr.example.org",)
    with serve(tapes.model, web=WebConfig(0, others)) as server:
        async with http.get(server.page + "v1/models", headers=headers) as response:
            assert response.status == (403 if origin and not allowed else 200)
            told = response.headers.get("Access-Control-Allow-Origin")
        assert told == (origin if allowed else None)
        path = server.page + "v1/audio/transcriptions"
        async with http.options(path, headers=asked) as response:
            assert (response.status == 204) == allowed
            assert ("Access-Control-Allow-Headers" in response.headers) == allowed


def test_the_page_names_nothing_from_elsewhere_and_has_no_inline_code() -> None:
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    for name in re.findall(r'(?:src|href)="([^"]+)"', html):
        assert (PAGE.parent / name).is_file(), name
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bon\w+=|style=", html)
    for script in PAGE.glob("*.js"):
        text = script.read_text(encoding="utf-8")
        assert "http://" not in text
        assert "https://" not in text
        for module in re.findall(r'from "\./([^"]+)"', text):
            assert (PAGE / module).is_file(), module


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "nothing", 404),
        ("GET", "page/../server.py", 404),
        ("GET", "page/%2e%2e/server.py", 404),
        ("GET", "page/", 403),
        ("POST", "", 405),
        ("GET", "v1/audio/transcriptions", 405),
    ],
)
async def test_what_is_not_there_is_an_error_in_json(
    tiny: SpeechServer, http: aiohttp.ClientSession, method: str, path: str, status: int
) -> None:
    async with http.request(method, tiny.page + path) as response:
        assert response.status == status
        assert ("Allow" in response.headers) == (status == 405)
        assert (await response.json())["error"]["type"] == "invalid_request_error"


async def test_connections_are_bounded_and_closed_ones_make_room(tiny: SpeechServer) -> None:
    port = tiny.web_port
    held = [
        await asyncio.open_connection("127.0.0.1", port) for _ in range(tiny.limits.max_connections)
    ]

    async def answers() -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return bool(await reader.read(1))
        except ConnectionError:
            return False
        finally:
            writer.close()

    assert not await answers()
    for _, writer in held:
        writer.close()
    for _ in range(1000):
        if await answers():
            return
    pytest.fail("no room was made")


def test_a_port_that_is_taken_is_told(tiny: SpeechServer, serve: Any, tapes: Any) -> None:
    with (
        pytest.raises(OSError, match=rf"cannot serve HTTP on 127.0.0.1:{tiny.web_port}:.*--http"),
        serve(tapes.model, web=WebConfig(tiny.web_port)),
    ):
        pass


def test_without_the_option_nothing_is_served(serve: Any, tapes: Any) -> None:
    with serve(tapes.model) as server:
        assert (server.page, server.web_port) == ("", 0)


def pair_of(security: Security) -> Pair:
    assert security.tls_cert
    assert security.tls_key
    return Pair(security.tls_cert, security.tls_key)


async def shown_serial(port: int, trusted: Path) -> str:
    """The serial number of the certificate that a new connection is shown."""
    context = ssl.create_default_context(cafile=str(trusted))
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    serial: str = writer.get_extra_info("peercert")["serialNumber"]
    writer.close()
    return serial


async def test_tls_has_the_same_certificate_and_takes_a_renewed_one(
    serve: Any, tapes: Any, certificates: Certificates, http: aiohttp.ClientSession
) -> None:
    pair = certificates.issue("localhost", "127.0.0.1")
    security = Security(tls_cert=pair.certificate, tls_key=pair.key)
    trusted = certificates.authority()
    with serve(tapes.model, security=security, web=WebConfig(0)) as server:
        assert server.page.startswith("https://")
        context = ssl.create_default_context(cafile=str(trusted))
        heard = await stream(http, server.page, start(), bytes(SECOND), END, ssl=context)
        assert heard.code == 1000
        before = await shown_serial(server.web_port, trusted)
        certificates.issue("localhost", "127.0.0.1").copy_to(pair_of(security))
        assert await shown_serial(server.web_port, trusted) != before
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await stream(http, server.page, start(), END)


async def test_client_certificates_are_asked_for_as_with_grpc(
    serve: Any, tapes: Any, certificates: Certificates, http: aiohttp.ClientSession
) -> None:
    pair = certificates.issue("localhost", "127.0.0.1")
    trusted = certificates.authority()
    security = Security(tls_cert=pair.certificate, tls_key=pair.key, tls_client_ca=trusted)
    with serve(tapes.model, security=security, web=WebConfig(0)) as server:
        for authority, allowed in (("ours", True), ("other", False), (None, False)):
            context = ssl.create_default_context(cafile=str(trusted))
            if authority:
                own = certificates.issue("client", by=authority)
                context.load_cert_chain(own.certificate, own.key)
            if allowed:
                heard = await stream(http, server.page, start(), END, ssl=context)
                assert heard.code == 1000
            else:
                with pytest.raises((aiohttp.ClientError, ConnectionError, ssl.SSLError)):
                    await stream(http, server.page, start(), END, ssl=context)


def test_clear_text_beyond_this_machine_is_refused_for_http_too(tapes: Any, serve: Any) -> None:
    with (
        pytest.raises(ValueError, match="in clear text whoever is in between hears"),
        serve(tapes.model, host="0.0.0.0", web=WebConfig(0)),
    ):
        pass


async def test_a_stop_ends_idle_connections_at_once(server_thread: Any, tapes: Any) -> None:
    thread = server_thread(tapes.model, Limits(grace_seconds=30), web=WebConfig(free_port()))
    try:
        thread.start().result(timeout=30)
        reader, writer = await asyncio.open_connection("127.0.0.1", thread.server.web_port)
        await asyncio.to_thread(thread.stop)
        assert await reader.read() == b""
        writer.close()
    finally:
        thread.end()
