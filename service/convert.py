"""Between the contract's messages and our own values; every field is honoured or refused here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from ossicle.data.audio import Encoding
from ossicle.data.text import normalize
from ossicle.model.decoding.decoders import Decoding, DecodingConfig, Phrase, Search
from ossicle.model.decoding.hypothesis import Word
from ossicle.model.decoding.phrases import MOST_PHRASES, check_boost, check_phrases
from ossicle.speech.v1 import speech_pb2 as pb

from .durations import duration, seconds
from .endpoint import EndpointConfig
from .errors import invalid, quoted, unimplemented
from .events import (
    Alternative,
    EndOfUtterance,
    Event,
    Final,
    Partial,
    Silence,
    SpeechBegin,
    SpeechEnd,
    UtteranceEnd,
)
from .limits import Limits
from .session_config import MAX_ALTERNATIVES, SessionConfig
from .values import DEFAULT_BOOST

if TYPE_CHECKING:
    from ossicle.model.folder import LoadedModel
    from ossicle.model.runtime import ModelInfo

    from .models import ServedModel

_PREFIX = "AUDIO_ENCODING_"
_ENCODINGS = {
    value: Encoding.AUTO if name == _PREFIX + "UNSPECIFIED" else Encoding[name[len(_PREFIX) :]]
    for name, value in pb.AudioEncoding.items()
}
_SEARCHES: dict[int, Search | None] = {
    pb.DECODER_TYPE_UNSPECIFIED: None,
    pb.DECODER_TYPE_GREEDY: "greedy",
    pb.DECODER_TYPE_BEAM: "beam",
}
_EVENT_TYPES = {
    SpeechBegin: pb.SPEECH_EVENT_TYPE_SPEECH_ACTIVITY_BEGIN,
    SpeechEnd: pb.SPEECH_EVENT_TYPE_SPEECH_ACTIVITY_END,
    EndOfUtterance: pb.SPEECH_EVENT_TYPE_END_OF_UTTERANCE,
    Silence: pb.SPEECH_EVENT_TYPE_SILENCE,
}
_UTTERANCE_ENDS = {
    reason: pb.UtteranceEnd.Value(f"UTTERANCE_END_{reason.name}") for reason in UtteranceEnd
}
MAX_PREVIOUS_CHARACTERS = 20_000
# One at a time, whoever asks: it is Python's work, for which the engine would have to wait.
_PHRASES = ThreadPoolExecutor(1, "ossicle-phrases")
_ALL = object()  # of them have been looked at


@dataclass(frozen=True)
class AudioSettings:
    """How the audio of a call is to be read.

    Attributes:
        encoding: its format.
        sample_rate: Hz, 0 if the header says it.
        channels: 0 if the header says it.
    """

    encoding: Encoding
    sample_rate: int
    channels: int


@dataclass(frozen=True)
class AnswerSettings:
    """What a call wants to be told besides text.

    Attributes:
        word_times: words with times.
        word_confidences: words with confidences.
        events: the kinds of events.
    """

    word_times: bool
    word_confidences: bool
    events: frozenset[type[Event]]


def refuse_unknown_fields(request: Message) -> None:
    """Refuse what a newer client asks for and we have never heard of, at any depth of a request.

    Raises:
        ServiceError: UNIMPLEMENTED, naming the field; INVALID_ARGUMENT for a list that is longer
            than any may be.
    """
    unknown = UnknownFieldSet(request)
    if len(unknown):
        raise unimplemented(
            f"this server does not know field {unknown[0].field_number} of "
            f"{request.DESCRIPTOR.name}; it is older than the client: leave the field out"
        )
    # Not ListFields, which would copy the audio.
    for field in request.DESCRIPTOR.fields:
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            if field.is_repeated:
                parts = getattr(request, field.name)
                if len(parts) > MOST_PHRASES:  # before each is looked at
                    raise invalid(
                        f"{field.name} has {len(parts)} entries; give at most {MOST_PHRASES}"
                    )
                for part in parts:
                    refuse_unknown_fields(part)
            elif request.HasField(field.name):
                refuse_unknown_fields(getattr(request, field.name))


def check_config(
    config: pb.RecognitionConfig, info: ModelInfo, models: Iterable[LoadedModel]
) -> None:
    """Refuse what the chosen model cannot do.

    Args:
        config: what is asked for.
        info: the chosen model.
        models: all there are; one of them may be able to.

    Raises:
        ServiceError: INVALID_ARGUMENT, naming the field.
    """
    if not _speaks(info, config.language_code):
        others = [model.info.name for model in models if _speaks(model.info, config.language_code)]
        remedy = f"; set model to {' or '.join(others)}" if others else ""
        raise invalid(
            f"language_code is {quoted(config.language_code)}; the model {info.name} speaks only "
            f"{info.language}{remedy}"
        )
    if not 0 <= config.max_alternatives <= MAX_ALTERNATIVES:
        raise invalid(
            f"max_alternatives is {config.max_alternatives}; give 1 to {MAX_ALTERNATIVES}, or 0, "
            "which is 1"
        )


def decoding_config(
    config: pb.RecognitionConfig, decoding: Decoding, default: DecodingConfig
) -> DecodingConfig:
    """How transcripts are to be searched for.

    Args:
        config: what the client asks for.
        decoding: what the model can do.
        default: what the server was told to do if the client does not say.

    Raises:
        ServiceError: INVALID_ARGUMENT, naming the field.
    """
    decoder = config.decoder
    if decoder.type not in _SEARCHES:
        raise invalid(
            f"decoder.type is {decoder.type}, which names none; choose one of "
            + ", ".join(pb.DecoderType.keys())
        )
    search = _SEARCHES[decoder.type] or default.search
    own_width = 0 if search == "greedy" else default.beam_width
    phrases = _phrases(config)
    chosen = DecodingConfig(search, decoder.beam_width or own_width, phrases)
    field = "speech_contexts"
    try:
        for context in config.speech_contexts:
            if not context.phrases:
                check_boost(context.boost)
        check_phrases(phrases)
        field = "decoder"
        decoding.check(chosen)
    except ValueError as error:
        # Phrases are names of people, products and illnesses: words that no log should have.
        raise invalid(f"{field}: {error}", logged=f"{field} cannot be honoured") from error
    return chosen


async def checked_decoding(
    config: pb.RecognitionConfig, model: ServedModel, default: DecodingConfig
) -> DecodingConfig:
    """As `decoding_config`; phrases are looked at, which may take seconds, in another thread.

    A few at a time, so that whoever has few need not wait for whoever has many, and nothing goes
    on for a call that has ended. What was made of them is remembered, so that the event loop need
    not make it.

    Raises:
        ServiceError: as `decoding_config`.
        EngineError: there are phrases, and no room for another stream: no work is done for them.
    """
    decoding = model.decoding
    if not config.speech_contexts:
        return decoding_config(config, decoding, default)
    model.engine.check_room()

    def checked() -> DecodingConfig:
        chosen = decoding_config(config, decoding, default)
        decoding.decoder(chosen)
        return chosen

    loop = asyncio.get_running_loop()
    looking_up = decoding.look_up(_phrases(config))
    while await loop.run_in_executor(_PHRASES, next, looking_up, _ALL) is not _ALL:
        pass
    return await loop.run_in_executor(_PHRASES, checked)


def _phrases(config: pb.RecognitionConfig) -> tuple[Phrase, ...]:
    return tuple(
        Phrase(phrase, context.boost if context.HasField("boost") else DEFAULT_BOOST)
        for context in config.speech_contexts
        for phrase in context.phrases
    )


def audio_settings(config: pb.RecognitionConfig) -> AudioSettings:
    """How the audio is to be read.

    Raises:
        ServiceError: INVALID_ARGUMENT for an encoding, a rate or a channel count that is none.
    """
    if config.encoding not in _ENCODINGS:
        raise invalid(
            f"encoding is {config.encoding}, which names none; choose one of "
            + ", ".join(pb.AudioEncoding.keys())
        )
    encoding = _ENCODINGS[config.encoding]
    for name in ("sample_rate_hertz", "audio_channel_count"):
        if getattr(config, name) < 0:
            raise invalid(f"{name} is {getattr(config, name)}; it cannot be negative")
    channels = config.audio_channel_count or (1 if encoding.headerless else 0)
    return AudioSettings(encoding, config.sample_rate_hertz, channels)


def answer_settings(
    config: pb.RecognitionConfig, streaming: pb.StreamingRecognitionConfig | None = None
) -> AnswerSettings:
    """What is to be told besides text."""
    events: set[type[Event]] = {EndOfUtterance}
    if streaming is not None and streaming.enable_voice_activity_events:
        events |= {SpeechBegin, SpeechEnd}
    if streaming is not None and streaming.enable_silence_events:
        events.add(Silence)
    return AnswerSettings(
        config.enable_word_time_offsets, config.enable_word_confidence, frozenset(events)
    )


def recording_session(config: pb.RecognitionConfig, decoding: DecodingConfig) -> SessionConfig:
    """How a recording is to be answered."""
    return SessionConfig(
        interim_results=False, alternatives=max(config.max_alternatives, 1), decoding=decoding
    )


def streaming_session(
    config: pb.StreamingRecognitionConfig, decoding: DecodingConfig
) -> SessionConfig:
    """How a stream is to be answered.

    Raises:
        ServiceError: INVALID_ARGUMENT for a duration out of its range, or too much heard or said
            before.
    """
    characters = sum(map(len, config.previous_transcripts))
    if characters > MAX_PREVIOUS_CHARACTERS:
        raise invalid(
            f"previous_transcripts have {characters} characters, more than the "
            f"{MAX_PREVIOUS_CHARACTERS} allowed; send the latest only"
        )
    try:
        durations = {
            field.name: seconds(value) for field, value in config.endpointing_config.ListFields()
        }
        endpointing = EndpointConfig(**durations)
    except ValueError as error:
        raise invalid(f"endpointing_config: {error}") from error
    try:
        return SessionConfig(
            config.interim_results,
            config.single_utterance,
            endpointing,
            max(config.config.max_alternatives, 1),
            replace(
                decoding, said=tuple(filter(None, map(normalize, config.previous_transcripts)))
            ),
            seconds(config.context),
        )
    except ValueError as error:
        raise invalid(str(error)) from error


def streaming_response(
    event: Event, settings: AnswerSettings, request_id: str
) -> pb.StreamingRecognizeResponse | None:
    """The message about an event, or None if it was not asked for."""
    response = pb.StreamingRecognizeResponse(
        audio_processed=duration(event.processed), request_id=request_id
    )
    if isinstance(event, Partial | Final):
        final = isinstance(event, Final)
        response.results.add(
            alternatives=_alternatives(event, settings),
            is_final=final,
            stability=0.0 if isinstance(event, Final) else event.stability,
            result_end_offset=duration(event.offset),
            utterance_end=_UTTERANCE_ENDS[event.reason] if isinstance(event, Final) else None,
        )
        if isinstance(event, Final) and event.reason is not UtteranceEnd.INTERRUPTED:
            response.results[0].resume_offset.CopyFrom(duration(event.resume))
        return response
    if type(event) not in settings.events:
        return None
    response.speech_event_type = _EVENT_TYPES[type(event)]
    response.speech_event_offset.CopyFrom(duration(event.offset))
    return response


def recording_response(
    finals: Iterable[Final],
    settings: AnswerSettings,
    seconds: float,
    request_id: str,
    model: LoadedModel,
) -> pb.RecognizeResponse:
    """The message about a whole recording."""
    return pb.RecognizeResponse(
        results=[
            pb.SpeechRecognitionResult(
                alternatives=_alternatives(final, settings),
                result_end_offset=duration(final.offset),
            )
            for final in finals
        ],
        audio_processed=duration(seconds),
        request_id=request_id,
        model_version=model_version(model),
    )


def model_version(model: LoadedModel) -> pb.ModelVersion:
    """Which model answers."""
    return pb.ModelVersion(name=model.info.name, digest=model.digest)


def model_list(
    models: Iterable[LoadedModel], limits: Limits, request_id: str
) -> pb.ListModelsResponse:
    """What the server can do."""
    return pb.ListModelsResponse(
        models=[
            pb.Model(
                name=model.info.name,
                description=model.info.description,
                language_codes=[model.info.language],
                sample_rate_hertz=model.info.sample_rate,
                lookahead=duration(model.info.lookahead_frames * model.info.frame_seconds),
                frame_duration=duration(model.info.frame_seconds),
                encodings=[name for name, value in pb.AudioEncoding.items() if value],
                digest=model.digest,
            )
            for model in models
        ],
        limits=pb.ServiceLimits(
            max_streams=limits.max_streams,
            max_message_bytes=limits.max_message_bytes,
            max_unary_audio=duration(limits.max_unary_seconds),
            idle_timeout=duration(limits.idle_timeout_seconds),
            max_session_audio=(
                duration(limits.max_session_seconds) if limits.max_session_seconds else None
            ),
        ),
        request_id=request_id,
    )


def _speaks(info: ModelInfo, language_code: str) -> bool:
    spoken = info.language.lower()
    return language_code.lower() in ("", spoken, spoken.split("-")[0])


def _alternatives(
    event: Partial | Final, settings: AnswerSettings
) -> list[pb.SpeechRecognitionAlternative]:
    readings = (
        event.alternatives
        if isinstance(event, Final)
        else (Alternative(event.text, event.words, 0.0),)
    )
    wanted = settings.word_times or settings.word_confidences
    return [
        pb.SpeechRecognitionAlternative(
            transcript=reading.text,
            confidence=reading.confidence,
            words=[_word(word, settings) for word in reading.words] if wanted else [],
        )
        for reading in readings
    ]


def _word(word: Word, settings: AnswerSettings) -> pb.WordInfo:
    info = pb.WordInfo(word=word.text)
    if settings.word_times:
        info.start_offset.CopyFrom(duration(word.start))
        info.end_offset.CopyFrom(duration(word.end))
    if settings.word_confidences:
        info.confidence = word.confidence
    return info
