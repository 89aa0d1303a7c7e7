"""Streams over WebSockets as the tests open them, and what comes back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import aiohttp

LINEAR16 = {"encoding": "AUDIO_ENCODING_LINEAR16", "sampleRateHertz": 16_000}
END: dict[str, Any] = {"endOfAudio": {}}
TIMEOUT = 30


def start(config: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {"streamingConfig": {"config": LINEAR16 if config is None else config, **fields}}


@dataclass
class Heard:
    """What a server has sent until it closed the connection."""

    code: int | None = None
    error: dict[str, Any] = field(default_factory=dict)
    responses: list[dict[str, Any]] = field(default_factory=list)

    @property
    def results(self) -> list[dict[str, Any]]:
        return [r["results"][0] for r in self.responses if "results" in r]

    @property
    def finals(self) -> list[dict[str, Any]]:
        return [result for result in self.results if result.get("isFinal")]

    @property
    def transcripts(self) -> list[str]:
        return [final["alternatives"][0].get("transcript", "") for final in self.finals]


async def send(socket: aiohttp.ClientWebSocketResponse, *messages: Any) -> None:
    for message in messages:
        if isinstance(message, bytes):
            await socket.send_bytes(message)
        elif isinstance(message, str):
            await socket.send_str(message)
        else:
            await socket.send_json(message)


async def hear(socket: aiohttp.ClientWebSocketResponse) -> Heard:
    """All that comes until the server closes."""
    heard = Heard()
    async for message in socket:
        document = json.loads(message.data)
        if "error" in document:
            heard.error = document["error"]
        else:
            heard.responses.append(document)
    heard.code = socket.close_code
    return heard


async def stream(
    session: aiohttp.ClientSession, page: str, *messages: Any, **options: Any
) -> Heard:
    """A stream from its start to its end."""
    async with session.ws_connect(page + "v1/stream", **options) as socket:
        await send(socket, *messages)
        return await hear(socket)
