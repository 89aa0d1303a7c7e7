"""A server's client and the recogniser in this process do the same, for threads and for asyncio."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pytest
from ossicle.data.audio import read_audio
from ossicle.data.sample import sample_path
from ossicle.model.folder import model_digest
from ossicle.model.runtime import find_model
from ossicle.service import (
    AsyncRecognizer,
    AsyncSpeechClient,
    AsyncSpeechToText,
    Endpointing,
    Finalize,
    Recognizer,
    SpeechClient,
    SpeechContext,
    SpeechToText,
)
from ossicle.service.client import (
    BusyError,
    InvalidRequestError,
    Recognition,
    Result,
    SpeechEvent,
    SpeechEventKind,
    TimedOutError,
    UnknownModelError,
)
from ossicle.service.limits import Limits
from ossicle.service.server import SpeechServer

T = TypeVar("T")
MODEL = os.environ.get("OSSICLE_MODEL")
SAMPLES = read_audio(sample_path())
FLAC = sample_path().read_bytes()
RAW: dict[str, Any] = {"encoding": "linear16", "sample_rate": 16_000}
CHUNKS = [SAMPLES[start : start + 1600] for start in range(0, len(SAMPLES), 1600)]


class Awaited:
    """An asynchronous one, used as the blocking ones are."""

    def __init__(self, make: Callable[[], AsyncSpeechToText]) -> None:
        self._loop = asyncio.new_event_loop()
        self._speech = self._run(self._made(make))

    def recognize(self, *args: Any, **options: Any) -> Recognition:
        return self._run(self._speech.recognize(*args, **options))

    def stream(self, *args: Any, **options: Any) -> Iterator[Result]:
        results = self._speech.stream(*args, **options)
        try:
            while (result := self._run(anext(results, None))) is not None:  # type: ignore[arg-type]
                yield result
        finally:
            self._run(results.aclose())  # type: ignore[attr-defined]

    def list_models(self) -> Any:
        return self._run(self._speech.list_models())

    def health(self) -> bool:
        return self._run(self._speech.health())

    def close(self) -> None:
        self._run(self._speech.close())
        self._loop.close()

    async def _made(self, make: Callable[[], AsyncSpeechToText]) -> AsyncSpeechToText:
        return make()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)


Speech = SpeechToText | Awaited
MAKERS: dict[str, Callable[[str], Speech]] = {
    "Recognizer": lambda address: Recognizer(MODEL, threads=1),
    "SpeechClient": SpeechClient,
    "AsyncRecognizer": lambda address: Awaited(lambda: AsyncRecognizer(MODEL, threads=1)),
    "AsyncSpeechClient": lambda address: Awaited(lambda: AsyncSpeechClient(address)),
}


@pytest.fixture(scope="module", params=MAKERS)
def speech(request: pytest.FixtureRequest, server: SpeechServer) -> Iterator[Speech]:
    made = MAKERS[request.param](server.address)
    yield made
    made.close()


@pytest.fixture(scope="module")
def said() -> Recognition:
    """What the others must agree with."""
    with Recognizer(MODEL, threads=1) as recognizer:
        return recognizer.recognize(sample_path(), words=True, alternatives=3)


@pytest.mark.parametrize(
    ("audio", "options"),
    [
        (sample_path(), {}),
        (str(sample_path()), {"language": "en", "encoding": "flac"}),
        (FLAC, {"sample_rate": 16_000, "channels": 1}),
        (SAMPLES, {"sample_rate": 16_000}),
        (SAMPLES.astype(np.float64), RAW),
        (np.rint(SAMPLES * 32768).astype(np.int16)[:, None].repeat(2, axis=1), RAW),
    ],
    ids=["path", "name", "bytes", "float32", "float64", "stereo int16"],
)
def test_a_recording_in_any_form(
    speech: Speech, said: Recognition, audio: Any, options: dict[str, Any]
) -> None:
    heard = speech.recognize(audio, words=True, alternatives=3, **options)
    assert heard.segments == said.segments
    assert heard.duration == pytest.approx(said.duration)
    assert len(heard.segments[0].alternatives) == 3
    assert heard.segments[0].words[0].end > heard.segments[0].words[0].start > 0


def test_a_stream_of_chunks(speech: Speech, said: Recognition) -> None:
    results = list(speech.stream(CHUNKS, interim_results=True, words=True, **RAW))
    finals = [result for result in results if result.is_final]
    partials = [result for result in results if not result.is_final]
    assert " ".join(final.text for final in finals) == said.text
    assert [word for final in finals for word in final.words] == [
        word for segment in said.segments for word in segment.words
    ]
    assert len(partials) > 5
    # What was shown as one word may become two.
    letters = said.text.replace(" ", "")
    assert all(letters.startswith(partial.text.split()[0]) for partial in partials)
    assert results[-1].audio_processed == pytest.approx(said.duration)


def test_a_stream_of_a_file_cut_anywhere(speech: Speech, said: Recognition) -> None:
    pieces = [FLAC[start : start + 7777] for start in range(0, len(FLAC), 7777)]
    assert " ".join(r.text for r in speech.stream(pieces) if r.text) == said.text


def test_phrases_and_decoders_change_what_is_heard(speech: Speech, said: Recognition) -> None:
    _, second, _ = said.segments[0].alternatives
    phrases = [SpeechContext([second.text])]
    assert (
        speech.recognize(SAMPLES, speech_contexts=phrases, **RAW).text == second.text != said.text
    )
    assert speech.recognize(SAMPLES, decoder="greedy", **RAW).text != said.text


def test_a_final_on_request_and_events(speech: Speech) -> None:
    events: list[SpeechEvent] = []
    half = len(CHUNKS) // 2
    chunks = [*CHUNKS[:half], Finalize(), *CHUNKS[half:]]
    finals = list(
        speech.stream(
            chunks, on_event=events.append, endpointing=Endpointing(trailing_silence=0), **RAW
        )
    )
    assert [final.is_final for final in finals] == [True, True]
    assert finals[0].end == pytest.approx(half * 0.1, abs=0.05)
    assert finals[1].end > finals[0].end
    kinds = [event.kind for event in events]
    assert kinds.count(SpeechEventKind.SPEECH_BEGIN) == kinds.count(SpeechEventKind.SPEECH_END) == 2


def test_one_utterance(speech: Speech) -> None:
    events: list[SpeechEvent] = []
    silence = [np.zeros(1600, np.float32)] * 30
    results = list(
        speech.stream(
            [*CHUNKS, *silence, *CHUNKS], single_utterance=True, on_event=events.append, **RAW
        )
    )
    assert [result.is_final for result in results] == [True]
    assert events[-1].kind is SpeechEventKind.END_OF_UTTERANCE


@pytest.mark.parametrize("asynchronous", [False, True])
def test_one_utterance_of_a_source_that_never_ends(speech: Speech, asynchronous: bool) -> None:
    silence = np.zeros(1600, np.float32)

    def endless() -> Iterator[np.ndarray]:
        yield from CHUNKS
        while True:
            yield silence

    async def endless_too() -> AsyncIterator[np.ndarray]:
        for chunk in endless():
            yield chunk

    if asynchronous and not isinstance(speech, Awaited):
        pytest.skip("threads take no asynchronous source")
    source = endless_too() if asynchronous else endless()
    results = list(speech.stream(source, single_utterance=True, **RAW))
    assert [result.is_final for result in results] == [True]


def test_a_reader_who_is_behind_is_told_that_the_time_is_up(speech: Speech) -> None:
    def endless() -> Iterator[np.ndarray | Finalize]:
        while True:
            yield CHUNKS[0]
            yield Finalize()

    def read_slowly(results: Iterator[Result]) -> None:
        began = time.monotonic()
        for _ in results:
            time.sleep(0.2)
            assert time.monotonic() < began + 20

    results = speech.stream(endless(), timeout=1.0, **RAW)
    with pytest.raises(TimedOutError, match="within the timeout of this call"):
        read_slowly(results)


@pytest.mark.parametrize(
    ("audio", "options", "error", "message"),
    [
        (b"", RAW, InvalidRequestError, "audio_content is empty"),
        (b"no audio at all", {}, InvalidRequestError, "this is no audio we know"),
        (FLAC[:9000], {}, InvalidRequestError, "."),
        (FLAC, {"sample_rate": 8000}, InvalidRequestError, "8000"),
        (SAMPLES, {**RAW, "model": "none"}, UnknownModelError, "no model 'none'; there is: "),
        (SAMPLES, {**RAW, "language": "de"}, InvalidRequestError, "'de'; the model .* speaks only"),
        (SAMPLES, {**RAW, "alternatives": 11}, InvalidRequestError, "max_alternatives is 11"),
        (SAMPLES, {**RAW, "beam_width": 999}, InvalidRequestError, "beam_width is 999"),
        (
            SAMPLES,
            {**RAW, "decoder": "greedy", "speech_contexts": [SpeechContext(["a"])]},
            InvalidRequestError,
            "phrases need a beam",
        ),
        (SAMPLES, {}, ValueError, "its sample_rate"),
        (SAMPLES, {**RAW, "encoding": "aac"}, ValueError, "unknown encoding 'aac'"),
        (SAMPLES, {**RAW, "timeout": 0.0001}, TimedOutError, "within the timeout of this call"),
        ("missing.wav", {}, FileNotFoundError, "missing.wav"),
    ],
)
def test_the_same_is_refused_in_the_same_words(
    speech: Speech, audio: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        speech.recognize(audio, **options)


@pytest.mark.parametrize(
    ("chunks", "options", "error", "message"),
    [
        ([SAMPLES], {}, ValueError, "encoding='linear16'"),
        (["text"], RAW, TypeError, "a chunk of audio is str"),
        (
            CHUNKS,
            {**RAW, "endpointing": Endpointing(trailing_silence=-1)},
            InvalidRequestError,
            "trailing_silence",
        ),
    ],
)
def test_a_stream_that_cannot_be(
    speech: Speech, chunks: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        list(speech.stream(chunks, **options))


def test_what_was_heard_before_an_error_of_the_audio_is_told(speech: Speech) -> None:
    results = speech.stream([*CHUNKS, b"x"], **RAW)
    first = next(results)
    assert first.is_final
    assert first.text
    with pytest.raises(InvalidRequestError, match="byte"):
        list(results)


def test_an_error_of_the_source_is_raised(speech: Speech) -> None:
    def chunks() -> Iterator[Any]:
        yield CHUNKS[0]
        raise OSError("the microphone was unplugged")

    with pytest.raises(OSError, match="unplugged"):
        list(speech.stream(chunks(), **RAW))


def test_a_source_that_ends_the_program_ends_its_stream(speech: Speech) -> None:
    def chunks() -> Iterator[Any]:
        yield CHUNKS[0]
        sys.exit(3)

    with pytest.raises(SystemExit):
        list(speech.stream(chunks(), **RAW))


@pytest.mark.parametrize("name", ["AsyncRecognizer", "AsyncSpeechClient"])
def test_a_source_that_is_cancelled_ends_its_stream(name: str, server: SpeechServer) -> None:
    speech = MAKERS[name](server.address)

    async def chunks() -> AsyncIterator[Any]:
        yield CHUNKS[0]
        other = asyncio.create_task(asyncio.sleep(60))
        other.cancel()
        await other

    with pytest.raises(asyncio.CancelledError):
        list(speech.stream(chunks(), **RAW))
    speech.close()


def test_leaving_a_stream_frees_its_place(speech: Speech) -> None:
    limit = speech.list_models().limits.max_streams
    for _ in range(limit + 2):
        stream = speech.stream(CHUNKS, interim_results=True, **RAW)
        assert next(stream).text
        stream.close()  # type: ignore[attr-defined]


def test_models_and_health(speech: Speech, server: SpeechServer) -> None:
    assert speech.health()
    with SpeechClient(server.address) as client:
        (model,) = client.list_models().models
    (found,) = speech.list_models().models
    # The server here was given a model without a folder, of which a digest would be.
    assert replace(found, digest=model.digest) == model
    with Recognizer(MODEL, threads=1) as recognizer:
        (own,) = recognizer.list_models().models
    assert own.digest == model_digest(find_model(MODEL))


@pytest.mark.parametrize("name", ["Recognizer", "SpeechClient"])
def test_one_stream_too_many(
    name: str, model: Any, decoding: Any, serve: Callable[..., Any]
) -> None:
    with serve(model, Limits(max_streams=1), decoding=decoding) as server:
        make: dict[str, Callable[[], SpeechToText]] = {
            "Recognizer": lambda: Recognizer(MODEL, threads=1, streams=1),
            "SpeechClient": lambda: SpeechClient(server.address, resumption=None),
        }
        released = threading.Event()

        def endless() -> Iterator[Any]:
            yield from CHUNKS[:20]
            released.wait(60)

        with make[name]() as speech:
            held = speech.stream(endless(), interim_results=True, **RAW)
            next(held)
            with pytest.raises(BusyError, match="all 1 streams are taken"):
                speech.recognize(SAMPLES, **RAW)
            released.set()
            assert list(held)


def test_a_stream_that_lasts_too_long(speech: Speech) -> None:
    released = threading.Event()

    async def endless() -> Any:
        yield CHUNKS[0]
        await asyncio.sleep(60)

    def blocked() -> Iterator[Any]:
        yield CHUNKS[0]
        released.wait(60)

    chunks = endless() if isinstance(speech, Awaited) else blocked()
    with pytest.raises(TimedOutError, match="within the timeout of this call"):
        list(speech.stream(chunks, timeout=0.3, **RAW))
    released.set()


def test_a_closed_recogniser_says_so() -> None:
    recognizer = Recognizer(MODEL, threads=1)
    recognizer.close()
    assert not recognizer.health()
    with pytest.raises(Exception, match="the engine was stopped"):
        recognizer.recognize(SAMPLES, **RAW)


@pytest.mark.parametrize("method", ["recognize", "stream", "list_models", "health"])
def test_all_four_have_the_same_options(method: str) -> None:
    kinds = (Recognizer, SpeechClient, AsyncRecognizer, AsyncSpeechClient)
    signatures = [
        [
            replace_annotation(parameter)
            for parameter in inspect.signature(getattr(kind, method)).parameters.values()
        ]
        for kind in kinds
    ]
    assert all(signature == signatures[0] for signature in signatures)


def replace_annotation(parameter: inspect.Parameter) -> inspect.Parameter:
    """Without its type: of chunks, the asynchronous ones take more kinds."""
    return parameter.replace(annotation=inspect.Parameter.empty)
