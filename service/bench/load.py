"""Live streams: recordings sent at the pace of speech by many clients at once.

The time of everything is told from when it was due to be spoken. A stream begins at some moment;
sample p of its recording is spoken p / rate later, and a chunk is sent when its last sample is. So
a client that is late, because its machine is busy, makes latencies longer and not shorter; how late
clients were is measured too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
from google.protobuf.duration_pb2 import Duration
from ossicle.data.audio import SAMPLE_RATE
from ossicle.service.client.access import Access
from ossicle.service.client.ended_call import status_now
from ossicle.service.client.errors import from_rpc_error
from ossicle.service.client.messages import first_request, recognition_config
from ossicle.service.client.replicas import connections_for
from ossicle.speech.v1 import speech_pb2 as pb
from ossicle.speech.v1 import speech_pb2_grpc

from .recording import Recording, as_file

T = TypeVar("T")

# Seconds that a stream may take beyond its recording before it is given up.
PATIENCE_SECONDS = 60.0
# A client whose stream has failed tries again after so long: a failing server is not hammered.
AFTER_FAILURE_SECONDS = 1.0
# A recording that is not sent at the pace of speech is cut so.
FAST_CHUNK_SECONDS = 1.0
# What is sent as a file is the recordings one after the other, again and again for so long.
FILE_SECONDS = 60.0


@dataclass(frozen=True)
class Settings:
    """What every stream of a load is like.

    Attributes:
        chunk_seconds: audio of one message.
        model: name of the server's model, "" for its first.
        decoder: the search to ask for, "" for the server's choice.
        beam_width: hypotheses to ask for, 0 for the server's choice.
    """

    chunk_seconds: float = 0.1
    model: str = ""
    decoder: str = ""
    beam_width: int = 0

    def first(self) -> pb.StreamingRecognizeRequest:
        """The message that opens a stream."""
        config = recognition_config(
            encoding="linear16",
            sample_rate=SAMPLE_RATE,
            channels=1,
            language="",
            model=self.model,
            words=False,
            alternatives=1,
            speech_contexts=(),
            decoder=self.decoder,
            beam_width=self.beam_width,
        )
        return first_request(
            config,
            interim_results=True,
            single_utterance=False,
            endpointing=None,
            voice_activity_events=False,
        )


@dataclass
class StreamRecord:
    """What happened in one stream; times in seconds, ``at`` by ``time.monotonic``.

    Attributes:
        recording: which was sent.
        began: when its first sample was due to be spoken.
        partials: of each partial, when it came, how long after the last audio it covers was spoken,
            and how long after the chunk with that audio was sent.
        final: when the last final came, and how long after half-closing; None if none came.
        lateness: of each chunk, how long after it was due it was sent.
        transcript: the finals in a row.
        error: the status that ended it, "" for OK.
        reason: what the server said of that.
        processes: of the server, if it was refused by a full one.
    """

    recording: Recording
    began: float
    partials: list[tuple[float, float, float]] = field(default_factory=list)
    final: tuple[float, float] | None = None
    lateness: list[float] = field(default_factory=list)
    transcript: str = ""
    error: str = ""
    reason: str = ""
    processes: int = 1


async def stream_live(
    stub: speech_pb2_grpc.SpeechServiceStub,
    access: Access,
    recording: Recording,
    settings: Settings,
    paced: bool = True,
) -> StreamRecord:
    """Send one recording as a stream and listen to the answers.

    Args:
        stub: the server.
        access: who is calling.
        recording: what to send.
        settings: how.
        paced: as it would be spoken; else as fast as the server takes it.
    """
    record = StreamRecord(recording, time.monotonic())
    call = stub.StreamingRecognize(
        timeout=recording.seconds + PATIENCE_SECONDS, metadata=access.metadata
    )
    chunk_seconds = settings.chunk_seconds if paced else FAST_CHUNK_SECONDS
    sent: list[float] = []  # when each chunk was
    closed = 0.0

    async def send() -> None:
        nonlocal closed
        await call.write(settings.first())
        for number, request in enumerate(recording.requests(chunk_seconds), start=1):
            if paced:
                due = record.began + min(number * chunk_seconds, recording.seconds)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                record.lateness.append(time.monotonic() - due)
            sent.append(time.monotonic())
            await call.write(request)
        closed = time.monotonic()
        await call.done_writing()

    ended: list[grpc.aio.AioRpcError] = []
    call.add_done_callback(lambda call: ended.append(status_now(call)))
    sending = asyncio.create_task(send())
    finals: list[str] = []
    last = None
    try:
        async for response in call:
            now = time.monotonic()
            for result in response.results:
                last = result
                if result.is_final:
                    finals.append(result.alternatives[0].transcript)
                    record.final = (now, now - closed)
                elif paced:
                    covered = _seconds(result.result_end_offset)
                    chunk = min(int(covered / chunk_seconds - 1e-9), len(sent) - 1)
                    spoken = now - (record.began + covered)
                    record.partials.append((now, spoken, now - sent[chunk]))
    except grpc.aio.AioRpcError as error:
        failure = from_rpc_error(ended[0] if ended else error, "its address")
        record.error, record.reason = failure.status.name, failure.message
        record.processes = failure.processes
    finally:
        sending.cancel()
        call.cancel()
        # Its own failure is that of the call, which has been told.
        await asyncio.gather(sending, return_exceptions=True)
    if not record.error and (last is None or not last.is_final or not closed):
        record.error, record.reason = "NO_FINAL", "the stream ended without its last final"
    if record.error:
        record.final = None
    record.transcript = " ".join(filter(None, finals))
    return record


@dataclass
class Load:
    """Clients that stream one recording after the other, each over a connection of its own.

    Attributes:
        address: the server.
        access: who is calling.
        recordings: what they send, each client beginning with another one.
        settings: how.
        clients: how many there are.
        ramp_seconds: they begin evenly spread over so long.
        seconds: all run for so long after that; a recording that was begun is sent to its end.
        files: further clients, which send files as fast as the server takes them meanwhile.
        records: the streams of each client that are over.
        file_records: those of the further clients.
        began: when it began, by ``time.monotonic``.
        stopped: when the first client was done; None while none is.
    """

    address: str
    access: Access
    recordings: Sequence[Recording]
    settings: Settings
    clients: int
    ramp_seconds: float
    seconds: float
    files: int = 0
    records: list[list[StreamRecord]] = field(default_factory=list)
    file_records: list[StreamRecord] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    stopped: float | None = None

    async def run(self) -> None:
        """Begin, go on, end."""
        self.records = [[] for _ in range(self.clients)]
        clients = [self._client(number) for number in range(self.clients)]
        if self.files:
            file = as_file(self.recordings, FILE_SECONDS)
            clients += [self._send_files(file) for _ in range(self.files)]
        await asyncio.gather(*clients)

    @property
    def planned(self) -> tuple[float, float]:
        """From when to when all clients are to stream, by ``time.monotonic``."""
        start = self.began + self.ramp_seconds
        return start, start + self.seconds

    @property
    def steady(self) -> tuple[float, float]:
        """From when to when all clients did stream."""
        start, end = self.planned
        return start, end if self.stopped is None else self.stopped

    async def _client(self, number: int) -> None:
        await asyncio.sleep(number * self.ramp_seconds / self.clients)
        until = self.planned[1]
        turn = number
        full = 0  # processes that had no room, one after the other

        def goes_on() -> bool:
            return not self.records[number] or time.monotonic() < until

        while goes_on():
            async with self.access.aio_channel(self.address, alone=True) as channel:
                stub = speech_pb2_grpc.SpeechServiceStub(channel)
                record = None
                while goes_on() and not (record and record.error):
                    recording = self.recordings[turn % len(self.recordings)]
                    record = await stream_live(stub, self.access, recording, self.settings)
                    full += record.processes > 1
                    if record.processes > 1 and full < connections_for(record.processes):
                        continue  # over another connection, as the client library does
                    full = 0
                    turn += 1
                    self.records[number].append(record)
                    if record.error:
                        await asyncio.sleep(AFTER_FAILURE_SECONDS)
        self.stopped = self.stopped or time.monotonic()

    async def _send_files(self, file: Recording) -> None:
        async with self.access.aio_channel(self.address, alone=True) as channel:
            stub = speech_pb2_grpc.SpeechServiceStub(channel)
            while time.monotonic() < self.planned[1]:
                record = await stream_live(stub, self.access, file, self.settings, paced=False)
                self.file_records.append(record)
                if record.error:
                    await asyncio.sleep(AFTER_FAILURE_SECONDS)


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9
