"""Faults that take long to be found out: half-open connections, and a reader that does not read.

    python tests/bench/faults.py

Half-open: a relay between client and server falls silent without closing anything, as a network
does whose cable is pulled. The client must find that out by its keep-alive, go on at another server
and lose nothing; the server must find it out too and free the slot. Slow reader: a client sends and
never reads; the server's memory must stay where it is, and the slot must come free. Takes about
three minutes; fails with what did not come to pass.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
from ossicle.data.audio import read_audio
from ossicle.data.pcm import to_linear16
from ossicle.data.sample import sample_path
from ossicle.service.client import BusyError, Result, SpeechClient
from ossicle.speech.v1 import speech_pb2 as pb
from ossicle.speech.v1 import speech_pb2_grpc

sys.path.insert(0, str(Path(__file__).parents[1] / "service"))
from processes import Served, serve, stop

CHUNK = 3200
# Keep-alive: the client pings after 20 s, the server after 30 s; both wait 10 s for the answer.
CLIENT_SECONDS = 45.0
SERVER_SECONDS = 60.0
READER_SECONDS = 20.0
MORE_MIB = 16.0


class Relay:
    """Passes bytes on between a client and a server until it falls silent."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._silent = threading.Event()
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def fall_silent(self) -> None:
        self._silent.set()

    def _accept(self) -> None:
        while not self._silent.is_set():
            client, _ = self._listener.accept()
            server = socket.create_connection(self._target)
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        while data := source.recv(1 << 16):
            if self._silent.is_set():
                threading.Event().wait()  # keeps both sockets open, and says nothing
            sink.sendall(data)


def is_free(server: Served) -> bool:
    try:
        with SpeechClient(server.address, resumption=None) as client:
            chunks = [bytes(CHUNK)]
            return bool(list(client.stream(chunks, encoding="linear16", sample_rate=16_000)))
    except BusyError:
        return False


def free_after(server: Served, most: float) -> float:
    """Seconds until the one slot is free."""
    began = time.monotonic()
    while not is_free(server):
        if time.monotonic() - began > most:
            raise SystemExit(f"the slot was not free after {most:g} s")
        time.sleep(0.5)
    return time.monotonic() - began


def finals(results: list[Result]) -> list[tuple[str, float]]:
    return [(result.text, result.end) for result in results if result.is_final]


def half_open(cut: Served, other: Served) -> None:
    audio = to_linear16(read_audio(sample_path()))
    chunks = [audio[start : start + CHUNK] for start in range(0, len(audio), CHUNK)]
    options = {"encoding": "linear16", "sample_rate": 16_000, "interim_results": True}
    with SpeechClient(other.address) as client:
        undisturbed = list(client.stream(chunks, **options))
    relay = Relay(cut.address)
    silent = threading.Event()

    def spoken() -> Iterator[bytes]:
        yield from chunks[: len(chunks) // 2]
        silent.wait()
        yield from chunks[len(chunks) // 2 :]

    results: list[Result] = []
    since = 0.0
    waited = 0.0
    with SpeechClient([relay.address, other.address]) as client:
        for result in client.stream(spoken(), **options):
            results.append(result)
            if not waited and result.request_id != results[0].request_id:
                waited = time.monotonic() - since
            if not silent.is_set() and len(result.text.split()) > 3:
                relay.fall_silent()
                silent.set()
                since = time.monotonic()
    if finals(results) != finals(undisturbed):
        raise SystemExit(f"not what was said: {finals(results)}, not {finals(undisturbed)}")
    print(f"half-open: the client went on elsewhere after {waited:.1f} s, and lost nothing")
    if waited > CLIENT_SECONDS:
        raise SystemExit(f"that is more than {CLIENT_SECONDS:g} s")
    free_after(cut, SERVER_SECONDS)
    print(f"half-open: the server freed the slot {time.monotonic() - since:.1f} s after the cut")


@contextmanager
def reader_that_does_not_read(server: Served) -> Iterator[None]:
    """A client that is answered as often as possible and leaves all answers unread."""
    config = pb.RecognitionConfig(encoding=pb.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=16_000)
    left = threading.Event()

    def requests() -> Iterator[pb.StreamingRecognizeRequest]:
        opening = pb.StreamingRecognitionConfig(config=config, interim_results=True)
        yield pb.StreamingRecognizeRequest(streaming_config=opening)
        while not left.is_set():
            yield pb.StreamingRecognizeRequest(audio_content=bytes(CHUNK))
            yield pb.StreamingRecognizeRequest(finalize=pb.Finalize())

    # gRPC itself reads ahead for a client unless it is told to keep little.
    little = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_535)]
    with grpc.insecure_channel(server.address, options=little) as channel:
        call = speech_pb2_grpc.SpeechServiceStub(channel).StreamingRecognize(requests())
        try:
            yield
        finally:
            left.set()
            call.cancel()


def slow_reader(server: Served) -> None:
    before = server.memory_mib()
    began = time.monotonic()
    most = before
    with reader_that_does_not_read(server):
        while time.monotonic() - began < READER_SECONDS:
            time.sleep(0.5)
            most = max(most, server.memory_mib())
        print(f"slow reader: memory rose from {before:.0f} to {most:.0f} MiB at most")
        if most > before + MORE_MIB:
            raise SystemExit(f"that is more than {MORE_MIB:g} MiB")
        free_after(server, SERVER_SECONDS)
    print(f"slow reader: it was sent away after {time.monotonic() - began:.1f} s or before")


def main() -> int:
    # Nothing but its keep-alive tells the one whose client is cut off; the reader is idle soon.
    servers = [serve("--max-streams", "1", "--idle-timeout-seconds", s) for s in ("300", "10")]
    try:
        half_open(*servers)
        slow_reader(servers[1])
    finally:
        codes = [stop(server) for server in servers]
    return 1 if any(codes) else 0


if __name__ == "__main__":
    sys.exit(main())
