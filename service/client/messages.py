"""The contract's messages to and from the values of :mod:`ossicle.service.values`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from ossicle.service.durations import duration, seconds
from ossicle.service.formats import Alternative, Segment, Word
from ossicle.service.values import (
    Endpointing,
    Finalize,
    ModelDescription,
    ModelList,
    Recognition,
    Result,
    ServerLimits,
    SpeechContext,
    SpeechEvent,
    SpeechEventKind,
)
from ossicle.speech.v1 import speech_pb2

AUTO = "auto"
_ENCODING_PREFIX = "AUDIO_ENCODING_"
_DECODERS = {
    "": speech_pb2.DECODER_TYPE_UNSPECIFIED,
    "greedy": speech_pb2.DECODER_TYPE_GREEDY,
    "beam": speech_pb2.DECODER_TYPE_BEAM,
}
_EVENTS = {
    speech_pb2.SPEECH_EVENT_TYPE_SPEECH_ACTIVITY_BEGIN: SpeechEventKind.SPEECH_BEGIN,
    speech_pb2.SPEECH_EVENT_TYPE_SPEECH_ACTIVITY_END: SpeechEventKind.SPEECH_END,
    speech_pb2.SPEECH_EVENT_TYPE_END_OF_UTTERANCE: SpeechEventKind.END_OF_UTTERANCE,
}


def encoding_name(encoding: int) -> str:
    """``linear16`` for AUDIO_ENCODING_LINEAR16, ``auto`` for the unspecified one."""
    name: str = speech_pb2.AudioEncoding.Name(encoding)
    name = name.removeprefix(_ENCODING_PREFIX).lower()
    return AUTO if name == "unspecified" else name


ENCODINGS = tuple(encoding_name(number) for number in speech_pb2.AudioEncoding.values())


def channel_options() -> list[tuple[str, str | int]]:
    """Options of a client's channel: retries of unary calls, keep-alive, no limit on messages.

    gRPC does not repeat a stream, of which the server may have answered a part; see
    :mod:`ossicle.service.client.conversation`.
    """
    service = speech_pb2.DESCRIPTOR.services_by_name["SpeechService"].full_name
    retries = {
        "methodConfig": [
            {
                "name": [
                    {"service": service, "method": "Recognize"},
                    {"service": service, "method": "ListModels"},
                ],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
    return [
        ("grpc.service_config", json.dumps(retries)),
        # A server that has vanished without a word is found out within half a minute, also while
        # there is nothing to send; by default gRPC waits a minute for some pings, and between
        # others. Servers allow a ping every 10 s.
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.ping_timeout_ms", 10_000),
        # The server says what it takes; a limit of our own would only blur its message.
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
    ]


def recognition_config(
    *,
    encoding: str,
    sample_rate: int,
    channels: int,
    language: str,
    model: str,
    words: bool,
    alternatives: int,
    speech_contexts: Sequence[SpeechContext],
    decoder: str,
    beam_width: int,
) -> speech_pb2.RecognitionConfig:
    """The configuration that the options of a call describe.

    Raises:
        ValueError: no such encoding or decoder.
    """
    if encoding not in ENCODINGS:
        raise ValueError(f"unknown encoding {encoding!r}; choose one of {', '.join(ENCODINGS)}")
    if decoder not in _DECODERS:
        names = ", ".join(name for name in _DECODERS if name)
        raise ValueError(f"unknown decoder {decoder!r}; choose one of {names}, or '' for none")
    chosen = speech_pb2.DecoderConfig(type=_DECODERS[decoder], beam_width=beam_width)
    name = "UNSPECIFIED" if encoding == AUTO else encoding.upper()
    return speech_pb2.RecognitionConfig(
        encoding=_ENCODING_PREFIX + name,
        sample_rate_hertz=sample_rate,
        audio_channel_count=channels,
        language_code=language,
        model=model,
        max_alternatives=alternatives,
        enable_word_time_offsets=words,
        enable_word_confidence=words,
        speech_contexts=[
            speech_pb2.SpeechContext(phrases=context.phrases, boost=context.boost)
            for context in speech_contexts
        ],
        decoder=chosen if decoder or beam_width else None,
    )


def endpointing_config(endpointing: Endpointing) -> speech_pb2.EndpointingConfig:
    """The endpointing rules that are set; the others stay unset."""
    config = speech_pb2.EndpointingConfig()
    for field in ("leading_silence_timeout", "trailing_silence", "max_utterance_duration"):
        value = getattr(endpointing, field)
        if value is not None:
            getattr(config, field).CopyFrom(duration(value))
    return config


def first_request(
    config: speech_pb2.RecognitionConfig,
    *,
    interim_results: bool,
    single_utterance: bool,
    endpointing: Endpointing | None,
    voice_activity_events: bool,
) -> speech_pb2.StreamingRecognizeRequest:
    """The message that opens a stream."""
    return speech_pb2.StreamingRecognizeRequest(
        streaming_config=speech_pb2.StreamingRecognitionConfig(
            config=config,
            interim_results=interim_results,
            single_utterance=single_utterance,
            endpointing_config=None if endpointing is None else endpointing_config(endpointing),
            enable_voice_activity_events=voice_activity_events,
        )
    )


def part_request(part: bytes | Finalize) -> speech_pb2.StreamingRecognizeRequest:
    """The message for one of the :func:`~ossicle.service.client.audio.parts`."""
    if isinstance(part, Finalize):
        return speech_pb2.StreamingRecognizeRequest(finalize=speech_pb2.Finalize())
    return speech_pb2.StreamingRecognizeRequest(audio_content=part)


def stream_result(
    response: speech_pb2.StreamingRecognizeResponse, result: speech_pb2.StreamingRecognitionResult
) -> Result:
    """One result of one response of a stream."""
    readings = _alternatives(result.alternatives)
    best = readings[0]
    return Result(
        text=best.text,
        is_final=result.is_final,
        end=seconds(result.result_end_offset),
        confidence=best.confidence,
        stability=result.stability,
        words=best.words,
        alternatives=readings if result.is_final else (),
        audio_processed=seconds(response.audio_processed),
        request_id=response.request_id,
    )


def speech_event(response: speech_pb2.StreamingRecognizeResponse) -> SpeechEvent | None:
    """The event that a response tells of, if any."""
    kind = _EVENTS.get(response.speech_event_type)
    return None if kind is None else SpeechEvent(kind, seconds(response.speech_event_offset))


def recognition(response: speech_pb2.RecognizeResponse) -> Recognition:
    """The answer to one recording.

    Without word times an utterance starts where the one before it ended.
    """
    segments = []
    start = 0.0
    for result in response.results:
        readings = _alternatives(result.alternatives)
        best = readings[0]
        words = best.words
        end = seconds(result.result_end_offset)
        if best.text:
            first, last = (words[0].start, words[-1].end) if words else (start, end)
            segments.append(
                Segment(
                    best.text,
                    first,
                    last,
                    best.confidence,
                    words,
                    readings if len(readings) > 1 else (),
                )
            )
        start = end
    return Recognition(tuple(segments), seconds(response.audio_processed), response.request_id)


def model_list(response: speech_pb2.ListModelsResponse) -> ModelList:
    """What a server says it can do."""
    limits = response.limits
    return ModelList(
        models=tuple(
            ModelDescription(
                name=model.name,
                description=model.description,
                languages=tuple(model.language_codes),
                sample_rate=model.sample_rate_hertz,
                lookahead=seconds(model.lookahead),
                frame_duration=seconds(model.frame_duration),
                encodings=tuple(map(encoding_name, model.encodings)),
                digest=model.digest,
            )
            for model in response.models
        ),
        limits=ServerLimits(
            max_streams=limits.max_streams,
            max_message_bytes=limits.max_message_bytes,
            max_unary_audio=seconds(limits.max_unary_audio),
            idle_timeout=seconds(limits.idle_timeout),
            max_session_audio=(
                seconds(limits.max_session_audio) if limits.HasField("max_session_audio") else None
            ),
        ),
        request_id=response.request_id,
    )


def _alternatives(
    readings: Iterable[speech_pb2.SpeechRecognitionAlternative],
) -> tuple[Alternative, ...]:
    return tuple(
        Alternative(reading.transcript, reading.confidence, _words(reading.words))
        for reading in readings
    )


def _words(words: Iterable[speech_pb2.WordInfo]) -> tuple[Word, ...]:
    return tuple(
        Word(word.word, seconds(word.start_offset), seconds(word.end_offset), word.confidence)
        for word in words
    )
