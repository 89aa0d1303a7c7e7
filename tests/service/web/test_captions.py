"""A transcript that a client has put together becomes the file that the command line writes."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from ossicle.service.formats import Segment, Transcript, Word, format_transcript, to_json
from ossicle.service.server import SpeechServer

PATH = "v1/captions"
TRANSCRIPT = Transcript(
    "talk.wav",
    20.0,
    "en-US",
    "small",
    (
        Segment("hello & <welcome>", 0.5, 1.5, 0.9, ()),
        Segment(
            "one two",
            3.0,
            9.0,
            0.8,
            (Word("one", 3.0, 3.4, 0.8), Word("two", 8.5, 9.0, 0.8)),
        ),
    ),
)

EMPTY_WORD = {"word": " ", "start": 0, "end": 1}


@pytest.mark.parametrize("form", ["srt", "vtt"])
async def test_the_file_is_that_of_the_command_line(
    web: SpeechServer, http: aiohttp.ClientSession, form: str
) -> None:
    async with http.post(f"{web.page}{PATH}?format={form}", data=to_json(TRANSCRIPT)) as response:
        assert response.status == 200
        assert await response.text() == format_transcript(TRANSCRIPT, form)
        assert response.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("query", "body", "message"),
    [
        ("?format=docx", {"segments": []}, "format is 'docx'; choose one of srt, vtt"),
        ("", "no json", "no transcript in JSON"),
        ("", {}, "no transcript in JSON"),
        ("", {"segments": [{"text": 1, "start": 0, "end": 1}]}, "no transcript in JSON"),
        ("", {"segments": [{"text": "a", "start": -1, "end": 1}]}, "no transcript in JSON"),
        ("", {"segments": [{"text": "a", "start": "nan", "end": 1}]}, "no transcript in JSON"),
        ("", {"segments": [{"text": "a", "start": 0, "end": 1e306}]}, "no transcript in JSON"),
        ("", {"segments": [{"text": "a", "start": 0, "end": 10**400}]}, "no transcript in JSON"),
        ("", {"segments": [{"text": "\ud800", "start": 0, "end": 1}]}, "no transcript in JSON"),
        ("", {"segments": [{"text": "a", "start": 0, "end": 1, "words": [{}]}]}, "no transcript"),
        ("", "[" * 100_000, "no transcript in JSON"),
        ("", "x" * ((16 << 20) + 1), "more than 16777216 bytes"),
        (
            "",
            {"segments": [{"text": "a " * 50_001, "start": 0, "end": 1}] * 2},
            "100002 words, 100000 at most; send it in parts",
        ),
        (
            "?format=srt",
            {"segments": [{"text": "a", "start": 0, "end": 1, "words": [EMPTY_WORD]}]},
            "no transcript",
        ),
    ],
)
async def test_what_is_no_transcript_is_refused(
    web: SpeechServer, http: aiohttp.ClientSession, query: str, body: Any, message: str
) -> None:
    data = body if isinstance(body, str) else json.dumps(body)
    async with http.post(web.page + PATH + query, data=data) as response:
        assert response.status == 400
        assert message in (await response.json())["error"]["message"]


async def test_it_is_a_call_like_any_other(web: SpeechServer, http: aiohttp.ClientSession) -> None:
    counted = web.telemetry.metrics.calls.labels("FormatCaptions", "OK")._value
    before = counted.get()
    async with http.post(web.page + PATH, data=to_json(TRANSCRIPT)) as response:
        assert response.status == 200
    assert counted.get() == before + 1
