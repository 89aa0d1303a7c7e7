"""Streams over WebSockets are the streams of gRPC: its words, its limits, its refusals, its end."""

from __future__ import annotations

import asyncio
import socket as plain_socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from calls import SECOND, TIMEOUT, chunks, linear16, until
from calls import start as grpc_start
from calls import stream as grpc_stream
from google.protobuf import json_format
from ossicle.data.pcm import to_linear16
from ossicle.data.sample import sample_path
from ossicle.service import Recognizer, SpeechContext
from ossicle.service.limits import Limits
from ossicle.service.security.config import Security
from ossicle.service.security.tokens import edited_tokens, make_token
from ossicle.service.server import SpeechServer
from ossicle.service.web.calls import Outcome
from ossicle.service.web.config import WebConfig
from ossicle.service.web.websocket import MAX_TEXT_CHARACTERS, StreamSocket
from ossicle.speech.v1 import speech_pb2 as pb
from sockets import END, LINEAR16, Heard, hear, send, start, stream

INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, RESOURCE_EXHAUSTED = 4003, 4004, 4005, 4008
OUT_OF_RANGE, UNAVAILABLE, UNAUTHENTICATED = 4011, 4014, 4016
BROKEN = 1006
WORDS = {"enableWordTimeOffsets": True, "enableWordConfidence": True}


@pytest.fixture(scope="module")
def small(serve: Any, tapes: Any) -> Iterator[SpeechServer]:
    """A server with room for one stream, which hears tapes."""
    limits = Limits(max_streams=1, max_message_bytes=4 * SECOND, idle_timeout_seconds=2)
    with serve(tapes.model, limits, web=WebConfig(0)) as server:
        yield server


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1280, 9999, 1 << 20])
async def test_finals_equal_those_in_process_word_for_word(
    web: SpeechServer,
    http: aiohttp.ClientSession,
    recognizer: Recognizer,
    speech: bytes,
    size: int,
) -> None:
    heard = await stream(http, web.page, start({**LINEAR16, **WORDS}), *cut(speech, size), END)
    assert (heard.code, heard.error) == (1000, {})
    expected = [
        result
        for result in recognizer.stream(
            [speech], encoding="linear16", sample_rate=16_000, words=True
        )
        if result.is_final
    ]
    assert heard.transcripts == [result.text for result in expected]
    assert "".join(heard.transcripts)
    told = [word for final in heard.finals for word in final["alternatives"][0].get("words", ())]
    words = [word for result in expected for word in result.words]
    assert [word["word"] for word in told] == [word.text for word in words]
    for mine, word in zip(told, words, strict=True):
        assert float(mine["startOffset"].rstrip("s")) == pytest.approx(word.start, abs=1e-6)
        assert float(mine["endOffset"].rstrip("s")) == pytest.approx(word.end, abs=1e-6)


async def test_responses_are_those_of_grpc_in_json(
    web: SpeechServer, stub: Any, http: aiohttp.ClientSession, speech: bytes
) -> None:
    config = linear16(enable_word_time_offsets=True, max_alternatives=3)
    over_grpc = await asyncio.to_thread(
        grpc_stream, stub, grpc_start(config), *chunks(speech, SECOND)
    )
    opening = json_format.MessageToDict(grpc_start(config))
    heard = await stream(http, web.page, opening, *cut(speech, SECOND), END)

    def without_ids(responses: list[pb.StreamingRecognizeResponse]) -> list[Any]:
        for response in responses:
            response.ClearField("request_id")
        return responses

    over_http = [
        json_format.ParseDict(response, pb.StreamingRecognizeResponse())
        for response in heard.responses
    ]
    assert without_ids(over_http) == without_ids(over_grpc)


async def test_a_file_in_a_container_needs_no_more_than_its_bytes(
    web: SpeechServer, http: aiohttp.ClientSession, speech: bytes
) -> None:
    flac = await stream(http, web.page, start({}), sample_path().read_bytes(), END)
    pcm = await stream(http, web.page, start(), speech, END)
    assert flac.transcripts == pcm.transcripts


async def test_partials_come_while_audio_is_sent_and_finalize_answers_at_once(
    small: SpeechServer, http: aiohttp.ClientSession, tapes: Any
) -> None:
    async with http.ws_connect(small.page + "v1/stream") as socket:
        await send(
            socket, start(interimResults=True), to_linear16(tapes.record("one two __________"))
        )
        partial = (await socket.receive_json(timeout=TIMEOUT))["results"][0]
        assert partial["alternatives"][0]["transcript"].startswith("one")
        assert "isFinal" not in partial
        await send(socket, {"finalize": {}})
        while not (result := (await socket.receive_json(timeout=TIMEOUT))["results"][0]).get(
            "isFinal"
        ):
            pass
        assert result["alternatives"][0]["transcript"] == "one two"
        assert result["utteranceEnd"] == "UTTERANCE_END_FINALIZE"
        await send(socket, END)
        heard = await hear(socket)
    assert heard.code == 1000
    assert heard.transcripts == [""]


async def test_a_stream_goes_on_from_where_another_was_cut(
    web: SpeechServer, http: aiohttp.ClientSession, speech: bytes
) -> None:
    """As the page does whose server is gone."""
    limits = {"endpointingConfig": {"maxUtteranceDuration": "3s"}}
    whole = await stream(http, web.page, start(**limits), speech, END)
    cut = whole.finals[0]
    assert cut["utteranceEnd"] == "UTTERANCE_END_MAX_DURATION"
    end, resume = (float(cut[key][:-1]) for key in ("resultEndOffset", "resumeOffset"))
    again = start(**limits, context=f"{end - resume:.6f}s")
    rest = await stream(http, web.page, again, speech[2 * round(16_000 * resume) :], END)
    assert rest.transcripts == whole.transcripts[1:]


async def test_phrases_are_honoured(
    web: SpeechServer, http: aiohttp.ClientSession, recognizer: Recognizer, speech: bytes
) -> None:
    options = {"encoding": "linear16", "sample_rate": 16_000}
    plain = recognizer.recognize(speech, **options, alternatives=2)
    phrase = plain.segments[0].alternatives[1].text
    contexts = [{"phrases": [phrase], "boost": 15}]
    heard = await stream(
        http, web.page, start({**LINEAR16, "speechContexts": contexts}), speech, END
    )
    expecting = SpeechContext([phrase], 15)
    expected = recognizer.recognize(speech, **options, speech_contexts=[expecting]).text
    assert " ".join(filter(None, heard.transcripts)) == expected != plain.text


@pytest.mark.parametrize(
    ("messages", "code", "message"),
    [
        ([b"\0\0"], INVALID_ARGUMENT, "the first message must be streaming_config"),
        ([END], INVALID_ARGUMENT, "the first message must be streaming_config"),
        (["no json"], INVALID_ARGUMENT, "no StreamingRecognizeRequest in JSON: Expecting value"),
        (["[" * 200_000], INVALID_ARGUMENT, "in JSON"),
        (["1"], INVALID_ARGUMENT, "in JSON"),
        ([r'{"streamingConfig": {"\ud800": 1}}'], INVALID_ARGUMENT, "in JSON"),
        ([start({"encoding": "\ud800"})], INVALID_ARGUMENT, "in JSON"),
        (["x" * (MAX_TEXT_CHARACTERS + 1)], INVALID_ARGUMENT, "send audio in binary messages"),
        ([{"streamingConfig": {"konfig": {}}}], INVALID_ARGUMENT, 'no field named "konfig"'),
        ([start({"encoding": "MP4"})], INVALID_ARGUMENT, "MP4"),
        ([start({**LINEAR16, "model": "big"})], NOT_FOUND, "there is no model 'big'; there is:"),
        ([start({**LINEAR16, "languageCode": "xx"})], INVALID_ARGUMENT, "language_code is 'xx'"),
        ([start(), start()], INVALID_ARGUMENT, "streaming_config came a second time"),
        ([start(), {}], INVALID_ARGUMENT, "a message is empty"),
        ([start(), bytes(4 * SECOND + 2)], OUT_OF_RANGE, "more than the 128000 that one message"),
        ([start(), b"\0", END], INVALID_ARGUMENT, "ends in the middle of a sample"),
        ([start({}), b"no audio at all, no", END], INVALID_ARGUMENT, "audio"),
        (
            # Enough to keep the recogniser busy: what comes after the last answer is not read.
            [start(), *[bytes(4 * SECOND)] * 3, END, b"\0\0"],
            INVALID_ARGUMENT,
            "a message came after endOfAudio",
        ),
    ],
)
async def test_what_is_wrong_is_told_and_closes_with_the_status(
    small: SpeechServer, http: aiohttp.ClientSession, messages: list[Any], code: int, message: str
) -> None:
    heard = await stream(http, small.page, *messages, headers={"X-Request-Id": "of-mine"})
    assert heard.code == code
    assert heard.error["code"] == code - 4000
    assert message in heard.error["message"]
    assert heard.error["requestId"] == "of-mine"
    assert await asyncio.to_thread(until, lambda: small.engine.active == 0)


async def test_what_was_heard_before_a_message_too_many_is_told(
    small: SpeechServer, http: aiohttp.ClientSession
) -> None:
    heard = await stream(http, small.page, start(), bytes(4 * SECOND), END, b"\0\0")
    assert (heard.code, len(heard.finals)) == (INVALID_ARGUMENT, 1)


async def test_the_name_of_a_call_is_the_clients_and_in_every_message(
    small: SpeechServer, http: aiohttp.ClientSession
) -> None:
    named = {"X-Request-Id": "of-mine"}
    fine = await stream(http, small.page, start(), bytes(SECOND), END, headers=named)
    assert {response["requestId"] for response in fine.responses} == {"of-mine"}
    wrong = await stream(http, small.page, "?", headers=named)
    assert wrong.error["requestId"] == "of-mine"
    assert wrong.error["status"] == "INVALID_ARGUMENT"


async def test_a_message_of_more_than_twice_the_limit_is_not_read(
    small: SpeechServer, http: aiohttp.ClientSession
) -> None:
    heard = await stream(http, small.page, start(), bytes(4 * MAX_TEXT_CHARACTERS + 1))
    assert heard.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
    assert until(lambda: small.engine.active == 0)


async def test_silence_of_the_client_ends_the_stream(
    small: SpeechServer, http: aiohttp.ClientSession
) -> None:
    heard = await stream(http, small.page, start(), bytes(SECOND))
    assert heard.code == DEADLINE_EXCEEDED
    assert "nothing was sent for 2 s" in heard.error["message"]
    assert len(heard.finals) == 1


async def test_a_full_server_says_when_to_try_again_and_a_client_that_leaves_makes_room(
    small: SpeechServer, http: aiohttp.ClientSession
) -> None:
    async with http.ws_connect(small.page + "v1/stream") as socket:
        await send(socket, start(), bytes(SECOND), {"finalize": {}})
        await socket.receive_json(timeout=TIMEOUT)
        heard = await stream(http, small.page, start(), bytes(SECOND), END)
        assert heard.code == RESOURCE_EXHAUSTED
        assert {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2s"} in (
            heard.error["details"]
        )
    assert await asyncio.to_thread(until, lambda: small.engine.active == 0)
    assert (await stream(http, small.page, start(), bytes(SECOND), END)).code == 1000


async def test_a_connection_that_breaks_frees_its_slot(small: SpeechServer) -> None:
    async with aiohttp.ClientSession() as session:
        socket = await session.ws_connect(small.page + "v1/stream")
        await send(socket, start(), bytes(SECOND), {"finalize": {}})
        await socket.receive_json(timeout=TIMEOUT)
        assert small.engine.active == 1
        transport = socket.get_extra_info("socket")
        linger = plain_socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"  # reset, without a goodbye
        transport.setsockopt(plain_socket.SOL_SOCKET, *linger)
    assert await asyncio.to_thread(until, lambda: small.engine.active == 0)


async def test_a_server_that_stops_sends_the_last_final_and_says_why(
    server_thread: Any, tapes: Any
) -> None:
    thread = server_thread(tapes.model, web=WebConfig(0))
    try:
        thread.start().result(timeout=TIMEOUT)
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(thread.server.page + "v1/stream") as socket,
        ):
            await send(
                socket, start(interimResults=True), to_linear16(tapes.record("stay here ___"))
            )
            first = await socket.receive_json(timeout=TIMEOUT)
            assert "results" in first
            stopping = asyncio.create_task(asyncio.to_thread(thread.stop))
            heard = await hear(socket)
            await stopping
        assert heard.code == UNAVAILABLE
        assert heard.transcripts == ["stay here"]
        assert heard.finals[-1]["utteranceEnd"] == "UTTERANCE_END_INTERRUPTED"
    finally:
        thread.end()


class Guarded:
    """A server that asks for tokens, and one of them, for a single stream at a time."""

    def __init__(self, server: SpeechServer, secret: str) -> None:
        self.server = server
        self.secret = secret

    async def stream(self, http: aiohttp.ClientSession, **options: Any) -> Heard:
        return await stream(http, self.server.page, start(), bytes(SECOND), END, **options)


@pytest.fixture(scope="module")
def guarded(serve: Any, tapes: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    path: Path = tmp_path_factory.mktemp("tokens") / "tokens.json"
    secret, token = make_token("page", max_streams=1)
    with edited_tokens(path, create=True) as tokens:
        tokens.append(token)
    with serve(tapes.model, security=Security(tokens=path), web=WebConfig(0)) as server:
        yield Guarded(server, secret)


async def test_tokens_come_as_a_header_or_as_a_pages_subprotocol(
    guarded: Guarded, http: aiohttp.ClientSession
) -> None:
    header = {"Authorization": f"Bearer {guarded.secret}"}
    assert (await guarded.stream(http, headers=header)).code == 1000
    async with http.ws_connect(
        guarded.server.page + "v1/stream", protocols=("ossicle.v1", f"bearer.{guarded.secret}")
    ) as socket:
        assert socket.protocol == "ossicle.v1"
        await send(socket, start(), END)
        assert (await hear(socket)).code == 1000


@pytest.mark.parametrize("protocols", [(), ("ossicle.v1",), ("ossicle.v1", "bearer.ossicle_wrong")])
async def test_who_has_no_token_is_refused(
    guarded: Guarded, http: aiohttp.ClientSession, protocols: tuple[str, ...]
) -> None:
    heard = await guarded.stream(http, protocols=protocols)
    assert heard.code == UNAUTHENTICATED
    assert "token" in heard.error["message"]
    assert heard.error["requestId"]


async def test_a_token_offered_without_the_protocol_is_refused_and_not_logged(
    guarded: Guarded, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    address = guarded.server.page + "v1/stream"
    with pytest.raises(aiohttp.WSServerHandshakeError, match="400"):
        async with http.ws_connect(address, protocols=(f"bearer.{guarded.secret}",)):
            pass
    headers = {"Sec-WebSocket-Protocol": f"bearer.{guarded.secret}"}
    async with http.get(address, headers=headers) as response:
        assert response.status == 400
        assert "the subprotocols lack ossicle.v1" in (await response.json())["error"]["message"]
    assert guarded.secret not in caplog.text


async def test_who_does_not_read_the_goodbye_is_hung_up_on(
    guarded: Guarded, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unread(self: StreamSocket, outcome: Outcome) -> None:
        await asyncio.Event().wait()  # as while the other side's window is full

    monkeypatch.setattr(StreamSocket, "_say_goodbye", unread)
    monkeypatch.setattr("ossicle.service.web.goodbye.SECONDS", 0.1)
    header = {"Authorization": f"Bearer {guarded.secret}"}
    async with http.ws_connect(guarded.server.page + "v1/stream", headers=header) as socket:
        await send(socket, start(), END)
        heard = await hear(socket)
    assert heard.code == BROKEN


async def test_streams_of_a_token_are_counted_until_they_end(
    guarded: Guarded, http: aiohttp.ClientSession
) -> None:
    header = {"Authorization": f"Bearer {guarded.secret}"}
    async with http.ws_connect(guarded.server.page + "v1/stream", headers=header) as socket:
        await send(socket, start(), bytes(SECOND), {"finalize": {}})
        await socket.receive_json(timeout=TIMEOUT)
        refused = await guarded.stream(http, headers=header)
        assert refused.code == RESOURCE_EXHAUSTED
        assert "the token page has 1 stream open" in refused.error["message"]
    assert await asyncio.to_thread(until, lambda: guarded.server.engine.active == 0)
    for _ in range(3):
        assert (await guarded.stream(http, headers=header)).code == 1000


async def test_calls_are_counted_and_logged_like_those_of_grpc(
    guarded: Guarded, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ossicle")
    metrics = guarded.server.telemetry.metrics
    ended = metrics.calls.labels("StreamingRecognize", "OK")._value
    before = ended.get()
    header = {"Authorization": f"Bearer {guarded.secret}", "X-Request-Id": "counted"}
    await guarded.stream(http, headers=header)
    assert ended.get() == before + 1
    facts = [record.facts for record in caplog.records if hasattr(record, "facts")]
    (line,) = [fact for fact in facts if fact["request_id"] == "counted"]
    assert (line["code"], line["client"], line["audio_seconds"]) == ("OK", "page", 1.0)
    assert line["peer"].startswith("http:127.0.0.1:")


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("own", True),
        ("https://asr.example.org", True),
        ("https://evil.example.org", False),
        ("null", False),
    ],
)
async def test_pages_of_other_sites_may_not_connect(
    serve: Any, tapes: Any, http: aiohttp.ClientSession, origin: str | None, allowed: bool
) -> None:
    config = WebConfig(0, ("https://asr.example.org",))
    with serve(tapes.model, web=config) as server:
        if origin == "own":
            origin = server.page.rstrip("/")
        if allowed:
            heard = await stream(http, server.page, start(), END, origin=origin)
            assert heard.code == 1000
        else:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await stream(http, server.page, start(), END, origin=origin)
            assert refused.value.status == 403


async def test_what_is_no_websocket_is_told_so(
    small: SpeechServer, http: aiohttp.ClientSession
) -> None:
    async with http.get(small.page + "v1/stream") as response:
        assert response.status == 400
        assert "docs/websocket.md" in (await response.json())["error"]["message"]
