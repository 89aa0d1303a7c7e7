"""The form of OpenAI's transcription API, read while it arrives."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError
from ossicle.model.runtime import ModelInfo
from ossicle.service import convert
from ossicle.service.errors import invalid
from ossicle.service.limits import CLIENTS_SEND_BYTES
from ossicle.service.models import Models
from ossicle.speech.v1 import speech_pb2 as pb

# The longest is a prompt.
_FIELD_BYTES = 1 << 15

RESPONSE_FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
GRANULARITIES = ("word", "segment")
_BETWEEN_PHRASES = re.compile(r"[,;\n]")
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


@dataclass
class TranscriptionForm:
    """What a client asks for; complete once all :meth:`requests` were taken.

    Attributes:
        model: a model's name.
        language: BCP-47, "" for the model's.
        phrases: words and phrases to expect, which a prompt lists.
        response_format: one of :data:`RESPONSE_FORMATS`.
        granularities: what ``verbose_json`` is to have; segments, if nothing is said.
        stream: send each final as it is found.
        param: the field that is to blame for a refusal.
        info: of the model that hears the file, from where that begins: by the end its name may be
            another model's.
    """

    model: str = ""
    language: str = ""
    phrases: tuple[str, ...] = ()
    response_format: str = "json"
    granularities: tuple[str, ...] = ()
    stream: bool = False
    param: str | None = None
    info: ModelInfo | None = None

    async def requests(
        self, request: web.Request, models: Models
    ) -> AsyncIterator[pb.StreamingRecognizeRequest]:
        """The form as a stream of the contract: the file goes on as it comes, and is never kept.

        Args:
            request: a request whose body was not touched.
            models: those there are.

        Raises:
            ServiceError: INVALID_ARGUMENT or NOT_FOUND; :attr:`param` then names the field.
        """
        try:
            reader = await request.multipart()
        except (ValueError, KeyError, AssertionError) as error:
            raise invalid(
                "the request is no form; send the file and its fields as multipart/form-data"
            ) from error
        try:
            while (part := await reader.next()) is not None:
                if not isinstance(part, BodyPartReader) or not part.name:
                    raise invalid("a part of the form has no name; send fields and the file")
                self.param = part.name.removesuffix("[]")
                if part.name == "file":
                    if self.info:
                        raise invalid("there are two files; send each in a request of its own")
                    self._check_stream()
                    self.info = models.choose(self.model).info
                    self._check_language(self.info, models)
                    # The configuration has nothing else of the client's that is not checked yet.
                    self.param = "prompt" if self.phrases else "file"
                    yield self._opening()
                    self.param = "file"
                    while chunk := await part.read_chunk(CLIENTS_SEND_BYTES):
                        yield pb.StreamingRecognizeRequest(audio_content=bytes(chunk))
                else:
                    self._take(part.name, await _text(part), models)
                    if self.info:
                        self._check_late(part.name, self.info, models)
        except (
            ValueError,
            RuntimeError,
            web.HTTPException,
            web.RequestPayloadError,
            HttpProcessingError,
        ) as error:
            raise invalid(f"the form cannot be read: {error}") from error
        self.param = "file"
        if not self.info:
            raise invalid("the form has no file; send the recording as its field file")
        self._check_together()

    def _opening(self) -> pb.StreamingRecognizeRequest:
        config = pb.RecognitionConfig(
            model=self.model,
            language_code=self.language,
            enable_word_time_offsets=True,
            enable_word_confidence=True,
        )
        if self.phrases:
            config.speech_contexts.add(phrases=self.phrases)
        return pb.StreamingRecognizeRequest(
            streaming_config=pb.StreamingRecognitionConfig(config=config)
        )

    def _take(self, name: str, value: str, models: Models) -> None:
        """Honour a field or refuse it."""
        if name == "model":
            models.choose(value)
            self.model = value
        elif name == "language":
            self.language = value
        elif name == "prompt":
            self.phrases = tuple(filter(None, map(str.strip, _BETWEEN_PHRASES.split(value))))
        elif name == "response_format":
            self.response_format = _one_of(RESPONSE_FORMATS, name, value)
        elif name in ("timestamp_granularities[]", "timestamp_granularities"):
            self.granularities += (_one_of(GRANULARITIES, name, value),)
        elif name == "stream":
            self.stream = _TRUTHS[_one_of(tuple(_TRUTHS), name, value.lower())]
        elif name == "temperature":
            if _number(value) != 0:
                raise invalid(
                    f"temperature is {value!r}; nothing is drawn by lot here: leave it out or 0"
                )
        else:
            raise invalid(f"this server does not know the field {name!r}; leave it out")

    def _check_late(self, name: str, info: ModelInfo, models: Models) -> None:
        """Refuse what comes after the file and would have changed how it was heard."""
        another = self.model not in ("", info.name)
        if name == "prompt" or (name == "model" and another):
            raise invalid(
                f"{name} comes after the file, which is heard as it arrives and not kept; send "
                f"{name} before it"
            )
        self._check_language(info, models)

    def _check_language(self, info: ModelInfo, models: Models) -> None:
        self.param = "language"
        asked = pb.RecognitionConfig(language_code=self.language)
        convert.check_config(asked, info, models.loaded)

    def _check_together(self) -> None:
        if self.granularities and self.response_format != "verbose_json":
            self.param = "timestamp_granularities"
            raise invalid(
                f"timestamp_granularities needs the response_format verbose_json, not "
                f"{self.response_format}"
            )
        self._check_stream()

    def _check_stream(self) -> None:
        if self.stream and self.response_format not in ("json", "text"):
            self.param = "stream"
            raise invalid(
                f"stream needs the response_format json or text, not {self.response_format}"
            )


async def _text(part: BodyPartReader) -> str:
    content = bytearray()
    while chunk := await part.read_chunk(CLIENTS_SEND_BYTES):
        content += chunk
        if len(content) > _FIELD_BYTES:
            raise invalid(f"{part.name} has more than {_FIELD_BYTES} bytes; send less")
    return content.decode()


def _one_of(choices: tuple[str, ...], name: str, value: str) -> str:
    if value not in choices:
        raise invalid(f"{name} is {value!r}; choose one of {', '.join(choices)}")
    return value


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise invalid(f"temperature is {value!r}, which is no number") from None
