"""A model in this process, asked and answered in the contract's messages."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
from ossicle.data.audio import AudioDecoder, AudioError, open_decoder
from ossicle.model.commands.options import thread_count
from ossicle.model.decoding.decoders import DecodingConfig
from ossicle.model.folder import LoadedModel
from ossicle.model.runtime import find_model
from ossicle.service import convert
from ossicle.service.admission import EngineError, NoFreeSlot
from ossicle.service.client import messages
from ossicle.service.client.errors import BusyError, TimedOutError, error_of
from ossicle.service.engine import Engine
from ossicle.service.errors import ServiceError, as_service_error, invalid, no_such_model
from ossicle.service.events import Event
from ossicle.service.session_config import SessionConfig
from ossicle.service.values import ModelDescription, ModelList, Result, ServerLimits, SpeechEvent
from ossicle.speech.v1 import speech_pb2 as pb

DEFAULT_STREAMS = 8


@dataclass(frozen=True)
class Asked:
    """What a request asks for, every field of it checked.

    Attributes:
        session: how to recognise.
        audio: how to read the audio.
        answer: what to tell.
    """

    session: SessionConfig
    audio: convert.AudioSettings
    answer: convert.AnswerSettings

    def decoder(self) -> AudioDecoder:
        """What reads the audio.

        Raises:
            AudioError: it is not described as any audio we can read.
        """
        return open_decoder(self.audio.encoding, self.audio.sample_rate, self.audio.channels)


class LocalModel:
    """A model, and the engine that runs it.

    Args:
        model: name of a bundled model, or the path of a model folder; None is the default model.
        threads: of the processor, for the network; 0: one for each core.
        streams: streams and recordings at the same time.

    Raises:
        ModelError: there is no such model, or it cannot be loaded.
        ValueError: ``streams`` is not positive.
    """

    def __init__(self, model: str | os.PathLike[str] | None, threads: int, streams: int) -> None:
        folder = find_model(None if model is None else os.fspath(model))
        self.loaded = LoadedModel.load(folder, thread_count(threads))
        self.engine = Engine(self.loaded.network, self.loaded.decoding, slots=streams)
        self.engine.start()

    def recording(self, request: pb.RecognizeRequest) -> Asked:
        """What a request about a recording asks for.

        Raises:
            ServiceError: a field cannot be honoured.
        """
        decoding = self._decoding(request.config)
        answer = convert.answer_settings(request.config)
        if not request.audio_content:
            raise invalid("audio_content is empty; send a recording")
        session = convert.recording_session(request.config, decoding)
        return Asked(session, convert.audio_settings(request.config), answer)

    def streaming(self, config: pb.StreamingRecognitionConfig) -> Asked:
        """What the first message of a stream asks for.

        Raises:
            ServiceError: a field cannot be honoured.
        """
        session = convert.streaming_session(config, self._decoding(config.config))
        answer = convert.answer_settings(config.config, config)
        return Asked(session, convert.audio_settings(config.config), answer)

    def list_models(self) -> ModelList:
        """The model; audio and calls are limited by nothing but the memory of the machine."""
        info = self.engine.info
        model = ModelDescription(
            name=info.name,
            digest=self.loaded.digest,
            description=info.description,
            languages=(info.language,),
            sample_rate=info.sample_rate,
            lookahead=info.lookahead_ms / 1000,
            frame_duration=info.frame_seconds,
            encodings=tuple(name for name in messages.ENCODINGS if name != messages.AUTO),
        )
        limits = ServerLimits(self.engine.slots, sys.maxsize, math.inf, math.inf, None)
        return ModelList((model,), limits, "")

    def ready(self, timeout: float | None) -> bool:
        """Whether streams are taken, once the model is warm.

        Raises:
            TimedOutError: it is not yet.
        """
        try:
            if not self.engine.wait_ready(timeout):
                raise timed_out()
        except EngineError:
            return False
        return True

    def _decoding(self, config: pb.RecognitionConfig) -> DecodingConfig:
        info = self.engine.info
        if config.model not in ("", info.name):
            raise no_such_model(config.model, [info.name])
        convert.check_config(config, info, ())
        return convert.decoding_config(config, self.engine.decoding, DecodingConfig())


def told(
    event: Event, asked: Asked, on_event: Callable[[SpeechEvent], None] | None
) -> Iterator[Result]:
    """The result that an event of the engine is, if it is one; other events are told."""
    response = convert.streaming_response(event, asked.answer, "")
    if response is None:
        return
    happened = messages.speech_event(response)
    if happened is not None and on_event is not None:
        on_event(happened)
    for result in response.results:
        yield messages.stream_result(response, result)


@contextmanager
def failing_like_a_call() -> Iterator[None]:
    """Raise what refuses a request, or ends a stream, as the error that a client would raise.

    Raises:
        OssicleError: in place of an error of the request, the audio or the engine.
    """
    try:
        yield
    except NoFreeSlot as error:
        raise BusyError(
            f"{error}; wait until one ends, or give the recogniser more streams",
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        ) from error
    except (ServiceError, AudioError, EngineError) as error:
        refusal = as_service_error(error)
        raise error_of(refusal.code, refusal.message) from error


def timed_out() -> TimedOutError:
    """The error of a call that took longer than its timeout."""
    return TimedOutError(
        "no answer within the timeout of this call", grpc.StatusCode.DEADLINE_EXCEEDED
    )
