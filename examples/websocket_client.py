"""A recording over a WebSocket, as a browser or any language can send it; see docs/websocket.md.

ossicle serve --http 8080 &
python examples/websocket_client.py ws://localhost:8080/v1/stream data/sample/luigi.flac
"""

import asyncio
import sys
from pathlib import Path

import aiohttp


async def main(url: str, file: str) -> None:
    """Print finals as they come."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, protocols=["ossicle.v1"]) as socket,
    ):
        await socket.send_json({"streamingConfig": {"config": {}}})

        async def send() -> None:
            with Path(file).open("rb") as recording:
                while chunk := recording.read(16_000):
                    await socket.send_bytes(chunk)
            await socket.send_json({"endOfAudio": {}})

        sending = asyncio.create_task(send())
        async for message in socket:
            answer = message.json()
            if "error" in answer:
                sys.exit(f"{file}: {answer['error']['message']}")
            for result in answer.get("results", []):
                # A member that is empty is left out: the last final may have no words.
                if text := result["alternatives"][0].get("transcript"):
                    print(text)
        await sending


asyncio.run(main(*sys.argv[1:]))
