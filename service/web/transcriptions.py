"""``POST /v1/audio/transcriptions``, as OpenAI's clients call it.

A recording is a stream of the contract that arrives over HTTP: it is recognised while it is being
uploaded, and never kept. docs/websocket.md has the fields, and which of them are refused.
"""

from __future__ import annotations

import asyncio
import json
import math
import zlib
from typing import Any

import grpc
from aiohttp import web
from google.rpc.status_pb2 import Status
from ossicle.service.client import messages
from ossicle.service.durations import seconds
from ossicle.service.formats import Segment, Transcript, Word, format_transcript, segment_of
from ossicle.service.models import Models
from ossicle.speech.v1 import speech_pb2 as pb

from .caller import caller_of
from .calls import LocalCalls, Outcome
from .captions import CONTENT_TYPES
from .form import TranscriptionForm
from .goodbye import tell_or_hang_up
from .refusal import named, openai_error, refused
from .websocket import STREAM

# The logarithm of nothing would be no JSON.
_LEAST_CONFIDENCE = 1e-6
# Statuses for which something that was sent may be to blame.
_CLIENTS = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
_TYPES = {"text": "text/plain", **CONTENT_TYPES}


class Transcriptions:
    """The HTTP endpoint.

    Args:
        calls: where it is answered.
        models: those there are.
    """

    def __init__(self, calls: LocalCalls, models: Models) -> None:
        self._calls = calls
        self._models = models

    async def transcribe(self, request: web.Request) -> web.StreamResponse:
        """Transcribe the file of a form."""
        form = TranscriptionForm()
        answer = _Answer(request, form)
        requests = form.requests(request, self._models)
        outcome = await self._calls.run(STREAM, requests, answer.write, caller_of(request))
        if outcome.code is grpc.StatusCode.OK and not answer.seconds:
            message = "the audio is empty; send at least one sample"
            status = Status(code=grpc.StatusCode.INVALID_ARGUMENT.value[0], message=message)
            outcome = Outcome(status, outcome.request_id)
            form.param = "file"
        return await answer.finish(outcome)


class _Answer:
    """The answer to one recording, as a whole or, if that is asked for, as it is found."""

    def __init__(self, request: web.Request, form: TranscriptionForm) -> None:
        self._request = request
        self._form = form
        self._segments: list[Segment] = []
        self._told = 0
        self._events: web.StreamResponse | None = None
        self.seconds = 0.0
        """Audio recognised so far."""

    async def write(self, response: pb.StreamingRecognizeResponse) -> None:
        """Take a response of the stream."""
        self.seconds = seconds(response.audio_processed)
        for message in response.results:
            result = messages.stream_result(response, message)
            if not (result.is_final and result.text):
                continue
            self._segments.append(segment_of(result.alternatives))
        if self._form.stream:
            await self._tell(response.request_id)

    async def _tell(self, request_id: str) -> None:
        """Send the finals that were not sent yet: of some, `stream` may not have been known."""
        while self._told < len(self._segments):
            space = " " if self._told else ""
            delta = space + self._segments[self._told].text
            self._told += 1
            await self._send({"type": "transcript.text.delta", "delta": delta}, request_id)

    async def finish(self, outcome: Outcome) -> web.StreamResponse:
        """The response, once the stream is over."""
        if outcome.code is not grpc.StatusCode.OK:
            param = self._form.param if outcome.code in _CLIENTS else None
            if self._events is None:
                return refused(outcome, param)
            return await self._end(openai_error(outcome, param), outcome)
        info = self._form.info
        assert info, "the stream began with the file"
        segments = tuple(self._segments)
        transcript = Transcript("", self.seconds, info.language, info.name, segments)
        # What has begun as events ends so, whatever a later field says.
        if self._form.stream or self._events is not None:
            await self._tell(outcome.request_id)
            done = {"type": "transcript.text.done", "text": transcript.text}
            return await self._end(done, outcome)
        wanted = self._form.response_format
        if wanted == "json":
            return web.json_response({"text": transcript.text}, headers=named(outcome))
        if wanted == "verbose_json":
            verbose = verbose_json(transcript, self._form.granularities)
            return web.json_response(verbose, headers=named(outcome))
        text = transcript.text + "\n" if wanted == "text" else format_transcript(transcript, wanted)
        return web.Response(
            text=text, content_type=_TYPES[wanted], charset="utf-8", headers=named(outcome)
        )

    async def _end(self, event: dict[str, Any], outcome: Outcome) -> web.StreamResponse:
        async def tell() -> None:
            await self._send(event, outcome.request_id)
            assert self._events is not None
            await self._events.write_eof()

        await tell_or_hang_up(self._request, tell())
        assert self._events is not None
        return self._events

    async def _send(self, event: dict[str, Any], request_id: str) -> None:
        if self._events is None:
            # The name of the call is known since its first response.
            self._events = web.StreamResponse(headers=named(Outcome(Status(), request_id)))
            self._events.content_type = "text/event-stream"
            await self._events.prepare(self._request)
        try:
            await self._events.write(f"data: {json.dumps(event)}\n\n".encode())
        except ConnectionError:
            await asyncio.Event().wait()  # who has gone is noticed, and the call cancelled


def verbose_json(transcript: Transcript, granularities: tuple[str, ...]) -> dict[str, Any]:
    """A transcript in the form that OpenAI's API calls ``verbose_json``.

    Of the fields that only make sense for Whisper, ``tokens``, ``seek``, ``temperature`` and
    ``no_speech_prob`` are always empty or 0; clients with fixed types want them. ``avg_logprob`` is
    the mean natural logarithm of the confidences of the words.

    Args:
        transcript: what was said.
        granularities: "word" and "segment"; segments, if none is given.
    """
    document: dict[str, Any] = {
        "task": "transcribe",
        "language": transcript.language.split("-")[0],
        "duration": round(transcript.duration, 3),
        "text": transcript.text,
    }
    if "word" in granularities:
        words = (word for segment in transcript.segments for word in segment.words)
        document["words"] = [
            {"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3)}
            for word in words
        ]
    if "segment" in granularities or not granularities:
        document["segments"] = [
            _segment(number, segment) for number, segment in enumerate(transcript.segments)
        ]
    return document


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    encoded = segment.text.encode()
    return {
        "id": number,
        "seek": 0,
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(_mean_log(segment.words), 4),
        "compression_ratio": round(len(encoded) / len(zlib.compress(encoded)), 4),
        "no_speech_prob": 0.0,
    }


def _mean_log(words: tuple[Word, ...]) -> float:
    logs = [math.log(max(word.confidence, _LEAST_CONFIDENCE)) for word in words]
    return sum(logs) / len(logs)
