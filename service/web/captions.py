"""``POST /v1/captions``: a transcript that a client has put together, as a file.

Subtitles are cut in one place, and that is not the browser.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
from aiohttp import web
from ossicle.service.errors import as_service_error, invalid
from ossicle.service.formats import Segment, Transcript, Word, format_transcript
from ossicle.service.security.arrival import name_of_call

from .caller import caller_of
from .calls import LocalCalls
from .refusal import named, refused

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]

FORMAT_CAPTIONS = "/ossicle.web/FormatCaptions"
CONTENT_TYPES = {"srt": "application/x-subrip", "vtt": "text/vtt"}
# Ten hours of speech are less, and take a few seconds, which a server that shuts down waits for.
MAX_BYTES = 16 << 20
MAX_WORDS = 100_000
_MOST_SECONDS = 1e7  # four months

# Cutting cannot be stopped: one at a time, and no work of others waits for it.
_CUTTING = ThreadPoolExecutor(1, "captions")


class Captions:
    """The endpoint.

    Args:
        calls: where it is answered, as a call like any other.
    """

    def __init__(self, calls: LocalCalls) -> None:
        self._calls = calls

    async def post(self, request: web.Request) -> web.Response:
        """Answer with the file that ``?format=`` names."""
        written: list[str] = []

        async def bodies() -> AsyncIterator[tuple[str, bytes | None]]:
            try:
                body: bytes | None = await request.read()
            except web.HTTPRequestEntityTooLarge:
                body = None
            except web.RequestPayloadError:  # packed, it says, and it is not
                body = b""
            yield request.query.get("format", "srt"), body

        async def write(text: str) -> None:
            written.append(text)

        caller = caller_of(request)
        outcome = await self._calls.run(FORMAT_CAPTIONS, bodies(), write, caller)
        if outcome.code is not grpc.StatusCode.OK:
            return refused(outcome)
        kind = CONTENT_TYPES[request.query.get("format", "srt")]
        return web.Response(
            text=written[0], content_type=kind, charset="utf-8", headers=named(outcome)
        )


async def format_captions(request: tuple[str, bytes | None], context: Context) -> str:
    """The method behind the endpoint: a format's name and JSON, None if too much, to a file."""
    try:
        name, body = request
        if name not in CONTENT_TYPES:
            raise invalid(f"format is {name!r}; choose one of {', '.join(CONTENT_TYPES)}")
        if body is None:
            raise invalid(f"the transcript has more than {MAX_BYTES} bytes; send it in parts")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            _CUTTING, lambda: format_transcript(read_transcript(body), name)
        )
    except Exception as error:
        await as_service_error(error).abort(context, name_of_call())


def read_transcript(body: bytes) -> Transcript:
    """The transcript in JSON as ``ossicle transcribe -f json`` writes it; only segments count.

    Raises:
        ServiceError: INVALID_ARGUMENT.
    """
    try:
        document = json.loads(body)
        segments = tuple(map(_segment, document["segments"]))
    # No float can hold every whole number: that is an overflow, an ArithmeticError.
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
        ArithmeticError,
    ) as error:
        raise invalid(
            "the body is no transcript in JSON; send "
            '{"segments": [{"text": ..., "start": ..., "end": ..., "words": [...]}]}',
        ) from error
    words = sum(len(segment.words) or len(segment.text.split()) for segment in segments)
    if words > MAX_WORDS:
        raise invalid(f"the transcript has {words} words, {MAX_WORDS} at most; send it in parts")
    return Transcript("", 0.0, "", "", segments)


def _segment(document: dict[str, Any]) -> Segment:
    words = tuple(
        Word(_word(word["word"]), _seconds(word["start"]), _seconds(word["end"]))
        for word in document.get("words", ())
    )
    return Segment(
        _text(document["text"]), _seconds(document["start"]), _seconds(document["end"]), 0.0, words
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    value.encode()  # half a surrogate pair, which JSON can write, is no text
    return value


def _word(value: object) -> str:
    if not (text := _text(value)).strip():
        raise ValueError("no word")
    return text


def _seconds(value: object) -> float:
    seconds = float(value)  # type: ignore[arg-type]
    if not 0 <= seconds <= _MOST_SECONDS:
        raise ValueError("no time")
    return seconds
