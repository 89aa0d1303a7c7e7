"""``/v1/stream``: StreamingRecognize over a WebSocket; docs/websocket.md describes it for clients.

Requests and responses are the contract's messages in protobuf's own JSON mapping, so that the two
cannot drift apart. Audio comes in binary frames.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

import grpc
from aiohttp import WSMsgType, web
from google.protobuf import json_format
from google.rpc.status_pb2 import Status
from ossicle.service.errors import invalid
from ossicle.service.limits import Limits
from ossicle.service.waiting import let_go
from ossicle.speech.v1 import speech_pb2 as pb

from .caller import caller_of
from .calls import LocalCalls, Outcome
from .goodbye import tell_or_hang_up
from .refusal import status_json

STREAM = "/ossicle.speech.v1.SpeechService/StreamingRecognize"
PROTOCOL = "ossicle.v1"
END_OF_AUDIO: dict[str, dict[str, str]] = {"endOfAudio": {}}
"""What stands for gRPC's half-close, which WebSockets do not have."""

# Applications may use the codes from 4000 on; the rest is gRPC's number of the status.
CLOSE_CODES = 4000
# A configuration with all the phrases and all the text before that it may have is smaller.
MAX_TEXT_CHARACTERS = 1 << 18
# For the other side to say goodbye too.
_CLOSE_SECONDS = 5.0


class StreamSocket:
    """One stream over a WebSocket.

    Args:
        calls: where it is answered.
        limits: what clients may send.
    """

    def __init__(self, calls: LocalCalls, limits: Limits) -> None:
        self._calls = calls
        # Twice the limit, as for gRPC: what is a little too large is refused with the remedy.
        # A configuration has its own limit, and up to four bytes a character.
        self._socket = web.WebSocketResponse(
            protocols=(PROTOCOL,),
            compress=False,
            max_msg_size=max(2 * limits.max_message_bytes, 4 * MAX_TEXT_CHARACTERS),
            timeout=_CLOSE_SECONDS,
        )
        self._ended = asyncio.Event()
        self._left = asyncio.Event()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Answer until the stream is over, and close with its status.

        Raises:
            HTTPBadRequest: the client offers subprotocols, and not ours.
        """
        offered = request.headers.get("Sec-WebSocket-Protocol")
        # aiohttp would log what was offered instead: a token, perhaps.
        if offered is not None and PROTOCOL not in map(str.strip, offered.split(",")):
            raise web.HTTPBadRequest(reason=f"the subprotocols lack {PROTOCOL}, or offer none")
        await self._socket.prepare(request)
        run = self._calls.run(STREAM, self._requests(), self._send, caller_of(request))
        running = asyncio.create_task(run)
        watching = asyncio.create_task(self._until_left())
        try:
            await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                # While somebody receives, aiohttp closes without waiting for the client's goodbye.
                watching.cancel()
                await asyncio.wait({watching})
                await self._close(request, running.result())
            elif excess := watching.result():
                outcome = await running  # what was heard before is told first
                await self._close(request, Outcome(excess, outcome.request_id))
        finally:
            let_go(running)
            let_go(watching)
        return self._socket

    async def _requests(self) -> AsyncIterator[pb.StreamingRecognizeRequest]:
        while True:
            message = await self._socket.receive()
            if message.type is WSMsgType.BINARY:
                yield pb.StreamingRecognizeRequest(audio_content=message.data)
            elif message.type is WSMsgType.TEXT:
                request = parse_request(message.data)
                if request is None:
                    self._ended.set()
                    return
                yield request
            else:
                await self._leave()

    async def _leave(self) -> None:
        """Wait to be cancelled: to return would mean that the client has half-closed."""
        self._left.set()
        await asyncio.Event().wait()

    async def _until_left(self) -> Status | None:
        """Wait until the client is gone, or has said more after the end; then what is wrong."""
        events = [asyncio.create_task(event.wait()) for event in (self._ended, self._left)]
        try:
            await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for event in events:
                let_go(event)
        if self._left.is_set():
            return None
        message = await self._socket.receive()
        if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            return Status(
                code=grpc.StatusCode.INVALID_ARGUMENT.value[0],
                message="a message came after endOfAudio; open another stream for more audio",
            )
        return None

    async def _send(self, response: pb.StreamingRecognizeResponse) -> None:
        try:
            await self._socket.send_str(json_format.MessageToJson(response, indent=None))
        except ConnectionError:
            await self._leave()

    async def _close(self, request: web.Request, outcome: Outcome) -> None:
        with suppress(ConnectionError):  # nobody is there to be told
            await tell_or_hang_up(request, self._say_goodbye(outcome))

    async def _say_goodbye(self, outcome: Outcome) -> None:
        if outcome.code is grpc.StatusCode.OK:
            await self._socket.close()
            return
        await self._socket.send_json(status_json(outcome))
        code = CLOSE_CODES + outcome.status.code
        await self._socket.close(code=code, message=outcome.code.name.encode())


def parse_request(text: str) -> pb.StreamingRecognizeRequest | None:
    """The request that a text message holds; None for the end of the audio.

    Raises:
        ServiceError: INVALID_ARGUMENT.
    """
    if len(text) > MAX_TEXT_CHARACTERS:
        raise invalid(
            f"a text message has {len(text)} characters, more than {MAX_TEXT_CHARACTERS}; send "
            "audio in binary messages"
        )
    try:
        document = json.loads(text)
        if document == END_OF_AUDIO:
            return None
        return json_format.ParseDict(document, pb.StreamingRecognizeRequest())
    # Half of a character that UTF-16 writes in two parts is a SystemError of protobuf's.
    except (
        ValueError,
        TypeError,
        RecursionError,
        SystemError,
        json_format.ParseError,
    ) as error:
        wrong = "a text message is no StreamingRecognizeRequest in JSON"
        raise invalid(f"{wrong}: {error}", logged=wrong) from error  # it may quote phrases
