"""OpenAI's own client, and others, transcribe files with a real server."""

from __future__ import annotations

import asyncio
import io
import json
import math
import wave
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from calls import SECOND, TIMEOUT, until
from ossicle.data.pcm import to_linear16
from ossicle.data.sample import sample_path
from ossicle.model.decoding.decoders import Decoding
from ossicle.model.folder import LoadedModel
from ossicle.service import Recognizer, SpeechContext
from ossicle.service.formats import Transcript, format_transcript
from ossicle.service.limits import Limits
from ossicle.service.security.config import Security
from ossicle.service.security.tokens import edited_tokens, make_token
from ossicle.service.server import SpeechServer
from ossicle.service.values import Recognition
from ossicle.service.web.config import WebConfig

PATH = "v1/audio/transcriptions"


@pytest.fixture(scope="module")
def client(web: SpeechServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=web.page + "v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def model_name(web: SpeechServer) -> str:
    return web.engine.info.name


@pytest.fixture(scope="module")
def expected(recognizer: Recognizer) -> Recognition:
    """What is understood in this process."""
    return recognizer.recognize(sample_path(), words=True)


@pytest.fixture(scope="module")
def small(serve: Any, tapes: Any) -> Iterator[SpeechServer]:
    """A server with room for one stream, which hears tapes."""
    limits = Limits(max_streams=1, idle_timeout_seconds=2)
    with serve(tapes.model, limits, web=WebConfig(0)) as server:
        yield server


def transcribe(client: openai.OpenAI, model: str, file: Any = None, **fields: Any) -> Any:
    return client.audio.transcriptions.create(file=file or sample_path(), model=model, **fields)


def form(*fields: tuple[str, Any]) -> aiohttp.FormData:
    """A form whose fields keep their order."""
    form = aiohttp.FormData()
    for name, value in fields:
        if name == "file":
            form.add_field(name, value, filename="recording.wav")
        else:
            form.add_field(name, value)
    return form


def wav(samples: bytes) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(16_000)
        written.writeframes(samples)
    return file.getvalue()


def test_json_and_text_hold_what_is_understood_in_process(
    client: openai.OpenAI, model_name: str, expected: Recognition
) -> None:
    assert transcribe(client, model_name).text == expected.text
    assert transcribe(client, model_name, response_format="text") == expected.text + "\n"


def test_verbose_json_has_segments_with_times(
    client: openai.OpenAI, model_name: str, expected: Recognition
) -> None:
    answer = transcribe(
        client, model_name, response_format="verbose_json", language="en", temperature=0
    )
    assert (answer.text, answer.language) == (expected.text, "en")
    assert answer.duration == pytest.approx(expected.duration, abs=0.001)
    assert answer.words is None
    assert [segment.text for segment in answer.segments] == [s.text for s in expected.segments]
    for number, (mine, segment) in enumerate(zip(answer.segments, expected.segments, strict=True)):
        assert (mine.id, mine.tokens) == (number, [])
        assert mine.start == pytest.approx(segment.start, abs=0.001)
        assert mine.end == pytest.approx(segment.end, abs=0.001)
        logs = [math.log(word.confidence) for word in segment.words]
        assert mine.avg_logprob == pytest.approx(sum(logs) / len(logs), abs=0.001)
        assert 0 < mine.compression_ratio < 10


def test_words_have_times_if_they_are_asked_for(
    client: openai.OpenAI, model_name: str, expected: Recognition
) -> None:
    answer = transcribe(
        client, model_name, response_format="verbose_json", timestamp_granularities=["word"]
    )
    words = [word for segment in expected.segments for word in segment.words]
    assert [word.word for word in answer.words] == [word.text for word in words]
    assert [word.start for word in answer.words] == [round(word.start, 3) for word in words]
    assert [word.end for word in answer.words] == [round(word.end, 3) for word in words]
    assert answer.segments is None
    both = transcribe(
        client,
        model_name,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert both.words
    assert both.segments


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_subtitles_are_those_of_the_command_line(
    client: openai.OpenAI, model_name: str, expected: Recognition, form: str
) -> None:
    answer = transcribe(client, model_name, response_format=form)
    transcript = Transcript("", expected.duration, "en-US", model_name, expected.segments)
    assert answer == format_transcript(transcript, form)
    assert " --> " in answer


def test_a_stream_of_events_adds_up_to_the_text(
    client: openai.OpenAI, model_name: str, expected: Recognition
) -> None:
    events = list(transcribe(client, model_name, stream=True))
    assert [event.type for event in events[:-1]] == ["transcript.text.delta"] * (len(events) - 1)
    assert "".join(event.delta for event in events[:-1]) == expected.text
    assert (events[-1].type, events[-1].text) == ("transcript.text.done", expected.text)


def test_a_prompt_lists_words_to_expect(
    client: openai.OpenAI, model_name: str, recognizer: Recognizer, expected: Recognition
) -> None:
    listed = recognizer.recognize(sample_path(), alternatives=2)
    other = listed.segments[0].alternatives[1].text
    prompt = f"Luigi, {other};\nPiazza"
    contexts = [SpeechContext(["Luigi", other, "Piazza"])]
    prompted = recognizer.recognize(sample_path(), speech_contexts=contexts)
    assert transcribe(client, model_name, prompt=prompt).text == prompted.text != expected.text


def test_models_are_listed_and_described(client: openai.OpenAI, web: SpeechServer) -> None:
    (model,) = client.models.list()
    assert (model.id, model.object, model.owned_by) == (web.engine.info.name, "model", "ossicle")
    assert model.ossicle["languageCodes"] == [web.engine.info.language]
    assert client.models.retrieve(model.id) == model
    with pytest.raises(openai.NotFoundError, match="there is no model 'whisper-1'"):
        client.models.retrieve("whisper-1")
    calls = web.telemetry.metrics.registry
    ended = {"method": "GetModel", "code": "NOT_FOUND"}
    assert calls.get_sample_value("ossicle_calls_total", ended) == 1


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"temperature": 0.5}, "temperature", "temperature is '0.5'"),
        ({"language": "de"}, "language", "language_code is 'de'"),
        ({"response_format": "diarized_json"}, "response_format", "choose one of json, text"),
        (
            {"timestamp_granularities": ["word"]},
            "timestamp_granularities",
            "needs the response_format verbose_json, not json",
        ),
        ({"stream": True, "response_format": "srt"}, "stream", "json or text, not srt"),
        ({"include": ["logprobs"]}, "include", "does not know the field 'include[]'"),
        ({"extra_body": {"speed": "2"}}, "speed", "does not know the field 'speed'"),
        ({"prompt": "x" * 40_000}, "prompt", "prompt has more than"),
        ({"prompt": "?!, !"}, "prompt", "speech_contexts"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_its_name(
    client: openai.OpenAI, model_name: str, fields: dict[str, Any], param: str, message: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=message.replace("[", r"\[")) as refused:
        transcribe(client, model_name, **fields)
    body: Any = refused.value.body
    assert body["type"] == "invalid_request_error"
    assert body["param"] == param
    assert refused.value.request_id


def test_an_unknown_model_is_not_found(client: openai.OpenAI, model_name: str) -> None:
    with pytest.raises(openai.NotFoundError, match=f"there is: {model_name}") as refused:
        transcribe(client, "whisper-1")
    body: Any = refused.value.body
    assert (body["param"], body["code"]) == ("model", "model_not_found")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the audio is empty"),
        (b"This is a text, and no recording of anybody." * 9, "audio"),
        (wav(b""), "audio"),
    ],
)
def test_what_is_no_recording_is_refused(
    client: openai.OpenAI, model_name: str, content: bytes, message: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=message):
        transcribe(client, model_name, ("recording.wav", content))


@pytest.mark.parametrize(
    ("late", "status", "message"),
    [
        ([("model", "NAME"), ("response_format", "text"), ("language", "en")], 200, ""),
        ([("prompt", "Luigi")], 400, "prompt comes after the file"),
        ([("model", "whisper-1")], 404, "there is no model 'whisper-1'"),
        ([("language", "de")], 400, "language_code is 'de'"),
        ([("file", b"RIFF")], 400, "there are two files"),
    ],
)
async def test_fields_may_follow_the_file_unless_they_change_what_is_heard(
    web: SpeechServer,
    http: aiohttp.ClientSession,
    model_name: str,
    expected: Recognition,
    late: list[tuple[str, Any]],
    status: int,
    message: str,
) -> None:
    fields = [(name, model_name if value == "NAME" else value) for name, value in late]
    data = form(("file", sample_path().read_bytes()), *fields)
    async with http.post(web.page + PATH, data=data) as response:
        assert response.status == status
        body = await response.text()
    if status == 200:
        assert body == expected.text + "\n"
    else:
        assert message in json.loads(body)["error"]["message"]


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (b"{}", "application/json", "the request is no form"),
        (b"", "", "the request is no form"),
        (b"nothing", "multipart/form-data", "the request is no form"),
        (b"nothing", "multipart/form-data; boundary=b", "the form cannot be read"),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\n\r\n--b--\r\n", "B", "has no name"),
        (b"--b\r\nNo header\r\n\r\n1\r\n--b--\r\n", "B", "the form cannot be read"),
        (b"--b\r\nX: " + 9000 * b"a" + b"\r\n\r\n1\r\n--b--\r\n", "B", "cannot be read"),
        (
            b'--b\r\nContent-Disposition: form-data; name="stream"\r\n\r\n1\r\n--b--\r\n',
            "B",
            "no file",
        ),
        (
            b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n\xff\r\n--b--\r\n',
            "B",
            "form",
        ),
    ],
)
async def test_what_is_no_form_is_refused(
    small: SpeechServer, http: aiohttp.ClientSession, data: bytes, kind: str, message: str
) -> None:
    kind = "multipart/form-data; boundary=b" if kind == "B" else kind
    headers = {"Content-Type": kind} if kind else {}
    async with http.post(small.page + PATH, data=data, headers=headers) as response:
        assert response.status == 400
        assert message in (await response.json())["error"]["message"]


@pytest.mark.parametrize(
    ("path", "message"),
    [(PATH, "the form cannot be read"), ("v1/captions", "no transcript in JSON")],
)
async def test_a_body_that_is_not_packed_as_it_says_is_refused(
    small: SpeechServer, http: aiohttp.ClientSession, path: str, message: str
) -> None:
    kind = {
        "Content-Type": "multipart/form-data; boundary=b",
        "Content-Encoding": "gzip",
        "Connection": "close",
    }
    async with http.post(small.page + path, data=b"abc", headers=kind) as response:
        assert response.status == 400
        assert message in (await response.json())["error"]["message"]


async def test_a_file_that_is_to_blame_is_named(
    web: SpeechServer, http: aiohttp.ClientSession
) -> None:
    data = form(("file", sample_path().read_bytes()[:20_000]))
    async with http.post(web.page + PATH, data=data) as response:
        error = (await response.json())["error"]
    assert (response.status, error["param"]) == (400, "file")
    assert "cut short" in error["message"]


async def test_finals_come_while_the_file_is_still_being_sent(
    small: SpeechServer, http: aiohttp.ClientSession, tapes: Any
) -> None:
    said = asyncio.Event()

    async def recording() -> AsyncIterator[bytes]:
        # A live WAV: its header does not know how long it will be.
        yield wav(b"")[:40] + b"\xff\xff\xff\xff"
        yield to_linear16(tapes.record("one two" + 40 * "_"))
        await asyncio.wait_for(said.wait(), TIMEOUT)
        yield to_linear16(tapes.record("three"))

    data = form(("stream", "true"), ("file", recording()))
    async with http.post(small.page + PATH, data=data) as response:
        assert response.content_type == "text/event-stream"
        events = []
        async for line in response.content:
            if line.startswith(b"data: "):
                events.append(json.loads(line[6:]))
                said.set()
    assert [event.get("delta", event.get("text")) for event in events] == [
        "one two",
        " three",
        "one two three",
    ]


async def test_a_recording_keeps_the_model_it_began_with(
    server_thread: Any, tapes: Any, http: aiohttp.ClientSession
) -> None:
    before = LoadedModel(tapes.model, Decoding(tapes.model.info), "1")
    renamed = type(tapes.model)()
    renamed.info = replace(tapes.model.info, name="renamed", language="de-DE")
    thread = server_thread([before], Limits(max_streams=1), web=WebConfig(0))
    await asyncio.wrap_future(thread.start())
    models = thread.server.models

    async def recording() -> AsyncIterator[bytes]:
        yield wav(b"")[:40] + b"\xff\xff\xff\xff"
        for part in ("one", 40 * "_", 40 * "_"):
            # A form's reader has always one piece in hand.
            yield to_linear16(tapes.record(part))
            await asyncio.sleep(0.1)
        assert await asyncio.to_thread(until, lambda: models.default.streams == 1)
        other = [LoadedModel(renamed, Decoding(renamed.info), "2")]
        await asyncio.to_thread(thread.run, models.replace(other))
        yield to_linear16(tapes.record("two"))

    try:
        fields = [("model", before.info.name), ("response_format", "verbose_json")]
        data = form(*fields, ("file", recording()), ("language", "en"))
        async with http.post(thread.server.page + PATH, data=data) as response:
            heard = await response.json()
        assert [model.info.name for model in models.all] == ["renamed"]
        assert (response.status, heard["text"], heard["language"]) == (200, "one two", "en")
    finally:
        await asyncio.to_thread(thread.stop)
        thread.end()


@pytest.mark.parametrize("place", [0, 1])
async def test_every_final_is_sent_wherever_the_form_says_so(
    small: SpeechServer, http: aiohttp.ClientSession, tapes: Any, place: int
) -> None:
    said = wav(to_linear16(tapes.record(f"one{40 * '_'}two{40 * '_'}three")))
    fields: list[tuple[str, Any]] = [("file", said)]
    fields.insert(place, ("stream", "true"))
    async with http.post(small.page + PATH, data=form(*fields)) as response:
        lines = (await response.read()).splitlines()
    events = [json.loads(line[6:]) for line in lines if line.startswith(b"data: ")]
    deltas = [event["delta"] for event in events[:-1]]
    assert deltas == ["one", " two", " three"]
    assert events[-1]["text"] == "".join(deltas)


async def test_a_client_that_goes_away_while_it_sends_makes_room(
    small: SpeechServer, tapes: Any
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield wav(b"")[:40] + b"\xff\xff\xff\xff"
        while True:
            yield bytes(SECOND)
            await asyncio.sleep(0.01)

    async with aiohttp.ClientSession() as session:
        sending = asyncio.create_task(
            session.post(small.page + PATH, data=form(("file", endless())))
        )
        assert await asyncio.to_thread(until, lambda: small.engine.active == 1)
        sending.cancel()
        await asyncio.wait([sending])
    assert await asyncio.to_thread(until, lambda: small.engine.active == 0)


async def test_a_client_that_stops_sending_is_given_up(
    small: SpeechServer, http: aiohttp.ClientSession
) -> None:
    async def stuck() -> AsyncIterator[bytes]:
        yield wav(bytes(SECOND))[: SECOND // 2]
        await asyncio.sleep(TIMEOUT)

    async with http.post(small.page + PATH, data=form(("file", stuck()))) as response:
        assert response.status == 504
        assert "nothing was sent for 2 s" in (await response.json())["error"]["message"]


async def test_a_full_server_says_when_to_try_again(
    small: SpeechServer, http: aiohttp.ClientSession
) -> None:
    async with http.ws_connect(small.page + "v1/stream") as socket:
        await socket.send_json({"streamingConfig": {"config": {}}})
        assert await asyncio.to_thread(until, lambda: small.engine.active == 1)
        async with http.post(small.page + PATH, data=form(("file", wav(bytes(64))))) as response:
            assert response.status == 429
            assert response.headers["Retry-After"] == "2"
            assert (await response.json())["error"]["code"] == "rate_limit_exceeded"
    assert await asyncio.to_thread(until, lambda: small.engine.active == 0)


def test_keys_are_tokens(serve: Any, tapes: Any, tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    secret, token = make_token("app")
    with edited_tokens(path, create=True) as tokens:
        tokens.append(token)
    with serve(tapes.model, security=Security(tokens=path), web=WebConfig(0)) as server:
        address = server.page + "v1"
        file = ("a.wav", wav(to_linear16(tapes.record("hello"))))
        with openai.OpenAI(base_url=address, api_key=secret, max_retries=0) as client:
            assert transcribe(client, "tape", file).text == "hello"
        with openai.OpenAI(base_url=address, api_key="wrong", max_retries=0) as client:
            with pytest.raises(openai.AuthenticationError, match="does not know the token"):
                transcribe(client, "tape", file)
            with pytest.raises(openai.AuthenticationError) as refused:
                client.models.list()
    assert refused.value.response.headers["WWW-Authenticate"] == "Bearer"
