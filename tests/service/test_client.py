"""The client library against a scripted server: what it sends, and what it makes of answers."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Iterator

import grpc
import pytest
from ossicle.service import client as client_library
from ossicle.service.client import (
    Alternative,
    AsyncSpeechClient,
    Endpointing,
    Finalize,
    SpeechClient,
    SpeechContext,
    SpeechEvent,
    SpeechEventKind,
)
from ossicle.service.formats import Word
from ossicle.service.values import DEFAULT_BOOST
from ossicle.speech.v1 import speech_pb2
from scripted import Request, Response, Scripted, answers, seconds


def test_the_options_arrive_as_the_contract_has_them(scripted: tuple[Scripted, str]) -> None:
    servicer, address = scripted
    with SpeechClient(address) as client:
        list(
            client.stream(
                [b"ab", Finalize(), b"", b"x" * 100_000],
                encoding="mulaw",
                sample_rate=8000,
                channels=2,
                language="en",
                model="small",
                words=True,
                alternatives=3,
                speech_contexts=[SpeechContext(["Palestrina", "a b"], 2.5), SpeechContext(["c"])],
                decoder="beam",
                beam_width=12,
                interim_results=True,
                single_utterance=True,
                endpointing=Endpointing(trailing_silence=0.7, leading_silence_timeout=0),
                on_event=lambda event: None,
            )
        )
    first, *rest = servicer.received
    expected = speech_pb2.StreamingRecognitionConfig(
        config=speech_pb2.RecognitionConfig(
            encoding=speech_pb2.AUDIO_ENCODING_MULAW,
            sample_rate_hertz=8000,
            audio_channel_count=2,
            language_code="en",
            model="small",
            max_alternatives=3,
            enable_word_time_offsets=True,
            enable_word_confidence=True,
            speech_contexts=[
                speech_pb2.SpeechContext(phrases=["Palestrina", "a b"], boost=2.5),
                speech_pb2.SpeechContext(phrases=["c"], boost=DEFAULT_BOOST),
            ],
            decoder=speech_pb2.DecoderConfig(type=speech_pb2.DECODER_TYPE_BEAM, beam_width=12),
        ),
        interim_results=True,
        single_utterance=True,
        endpointing_config=speech_pb2.EndpointingConfig(
            trailing_silence=seconds(0.7), leading_silence_timeout=seconds(0)
        ),
        enable_voice_activity_events=True,
        enable_silence_events=True,
    )
    assert first == Request(streaming_config=expected)
    kinds = [request.WhichOneof("streaming_request") for request in rest]
    assert kinds == ["audio_content", "finalize", "audio_content", "audio_content"]
    assert b"".join(r.audio_content for r in rest) == b"ab" + b"x" * 100_000


def test_options_left_alone_ask_for_nothing_but_a_reading(scripted: tuple[Scripted, str]) -> None:
    servicer, address = scripted
    with SpeechClient(address) as client:
        list(client.stream([]))
    config = speech_pb2.RecognitionConfig(max_alternatives=1)
    asked = speech_pb2.StreamingRecognitionConfig(config=config, enable_silence_events=True)
    assert servicer.received == [Request(streaming_config=asked)]
    servicer.received.clear()
    with SpeechClient(address, resumption=None) as client:
        list(client.stream([]))
    asked.enable_silence_events = False
    assert servicer.received == [Request(streaming_config=asked)]


def test_results_and_events_come_as_they_are_sent(scripted: tuple[Scripted, str]) -> None:
    servicer, address = scripted
    servicer.streaming = answers
    events: list[SpeechEvent] = []
    with SpeechClient(address) as client:
        results = list(client.stream([b"ab", b"cd"], on_event=events.append))
    assert events == [SpeechEvent(SpeechEventKind.SPEECH_BEGIN, 0.5)]
    assert [(r.text, r.is_final) for r in results] == [
        ("word 0", False),
        ("word 1", False),
        ("the end", True),
    ]
    assert (results[0].stability, results[0].confidence) == (0.25, 0.0)
    assert (results[2].stability, results[2].confidence) == (0.0, 0.5)
    assert (results[2].end, results[2].audio_processed) == (9.25, 9.25)
    assert results[2].request_id == "r-1"


def test_the_readings_of_a_final_come_best_first(scripted: tuple[Scripted, str]) -> None:
    servicer, address = scripted
    readings = [
        speech_pb2.SpeechRecognitionAlternative(
            transcript=text,
            confidence=confidence,
            words=[speech_pb2.WordInfo(word=text, end_offset=seconds(0.5))],
        )
        for text, confidence in (("flock", 0.5), ("clock", 0.25))
    ]
    response = speech_pb2.RecognizeResponse(
        results=[speech_pb2.SpeechRecognitionResult(alternatives=readings)]
    )
    final = speech_pb2.StreamingRecognitionResult(alternatives=readings, is_final=True)
    servicer.unary = lambda context: response
    servicer.streaming = lambda requests, context: [Response(results=[final])]
    expected = (
        Alternative("flock", 0.5, (Word("flock", 0.0, 0.5),)),
        Alternative("clock", 0.25, (Word("clock", 0.0, 0.5),)),
    )
    with SpeechClient(address) as client:
        (segment,) = client.recognize(b"ab", alternatives=2).segments
        (result,) = client.stream([b"ab"], alternatives=2)
    assert (segment.text, segment.alternatives) == ("flock", expected)
    assert (result.text, result.alternatives) == ("flock", expected)


def test_options_that_mean_nothing_are_refused_before_the_call() -> None:
    with SpeechClient("127.0.0.1:1") as client:
        with pytest.raises(ValueError, match="'viterbi'; choose one of greedy, beam"):
            client.stream([b"ab"], decoder="viterbi")
        with pytest.raises(TypeError, match="phrases is the text 'Palestrina'"):
            SpeechContext("Palestrina")


def test_a_partial_comes_before_the_audio_after_it_is_read(scripted: tuple[Scripted, str]) -> None:
    servicer, address = scripted
    servicer.streaming = answers
    answered = threading.Event()

    def chunks() -> Iterator[bytes]:
        yield b"ab"
        assert answered.wait(5), "the answer to the first chunk did not come while waiting"
        yield b"cd"

    with SpeechClient(address) as client:
        for result in client.stream(chunks()):
            if result.text == "word 0":
                answered.set()


def test_an_error_of_the_source_reaches_the_caller(scripted: tuple[Scripted, str]) -> None:
    servicer, address = scripted
    servicer.streaming = answers

    def chunks() -> Iterator[bytes]:
        yield b"ab"
        raise OSError("the microphone was unplugged")

    with SpeechClient(address) as client, pytest.raises(OSError, match="unplugged"):
        list(client.stream(chunks()))

    async def asynchronous() -> None:
        async with AsyncSpeechClient(address) as client:
            async for _ in client.stream(chunks()):
                pass

    with pytest.raises(OSError, match="unplugged"):
        asyncio.run(asynchronous())


def test_leaving_the_loop_ends_the_call_on_the_server(scripted: tuple[Scripted, str]) -> None:
    servicer, address = scripted
    ended = threading.Event()

    def streaming(requests: Iterator[Request], context: grpc.ServicerContext) -> Iterator[Response]:
        context.add_callback(ended.set)
        return answers(requests, context)

    servicer.streaming = streaming
    stop = threading.Event()

    def endless() -> Iterator[bytes]:
        while not stop.wait(0.01):
            yield b"ab"

    with SpeechClient(address) as client:
        for _ in client.stream(endless()):
            break
        assert ended.wait(5)
    stop.set()


def test_the_asynchronous_client_takes_chunks_as_they_come(scripted: tuple[Scripted, str]) -> None:
    servicer, address = scripted
    servicer.streaming = answers

    async def converse() -> list[str]:
        heard: asyncio.Queue[str] = asyncio.Queue()

        async def chunks() -> AsyncIterator[bytes]:
            yield b"ab"
            assert await asyncio.wait_for(heard.get(), 5) == "word 0"
            yield b"cd"

        async with AsyncSpeechClient(address) as client:
            texts = []
            async for result in client.stream(chunks()):
                heard.put_nowait(result.text)
                texts.append(result.text)
            return texts

    assert asyncio.run(converse()) == ["word 0", "word 1", "the end"]


def test_cancelling_the_task_of_an_asynchronous_stream_cancels_it(
    scripted: tuple[Scripted, str],
) -> None:
    servicer, address = scripted
    servicer.streaming = answers

    async def cancelled() -> None:
        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b"ab"
                await asyncio.sleep(0.01)

        async with AsyncSpeechClient(address) as client:

            async def listen() -> None:
                async for _ in client.stream(endless()):
                    pass

            task = asyncio.create_task(listen())
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancelled())


@pytest.mark.parametrize("method", ["recognize", "stream", "list_models", "health"])
def test_both_clients_have_the_same_options(method: str) -> None:
    sync = inspect.signature(getattr(SpeechClient, method)).parameters
    asynchronous = inspect.signature(getattr(AsyncSpeechClient, method)).parameters
    assert list(sync) == list(asynchronous)
    for name, parameter in sync.items():
        assert parameter.default == asynchronous[name].default
        assert parameter.kind == asynchronous[name].kind


def test_everything_named_in_all_can_be_imported() -> None:
    assert all(hasattr(client_library, name) for name in client_library.__all__)
