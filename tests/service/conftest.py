"""The model under test, servers on the loopback interface, and a recogniser of tapes."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from ossicle.data.audio import read_audio
from ossicle.data.sample import sample_path
from ossicle.model.decoding.decoders import Decoding
from ossicle.model.folder import LoadedModel
from ossicle.model.runtime import AcousticModel, ModelInfo, State, find_model
from ossicle.service.limits import Limits
from ossicle.service.server import SpeechServer
from ossicle.speech.v1 import speech_pb2_grpc
from scripted import Scripted

T = TypeVar("T")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TOKENS = ("", " ", *LETTERS)
DITTO = len(TOKENS)
FRAME = 640
LOOKAHEAD = 3


class TapeModel:
    """A recogniser that reads tokens off the samples: what it hears is known exactly.

    Each frame holds a token's number in hundredths. Like a network it looks ahead (a delay line),
    remembers (a ditto mark, written `"`, repeats the letter before it, so that a state which leaks
    from one stream to another shows), and has state tensors with the batch on different axes.
    """

    info = ModelInfo("tape", "reads tapes", "en-US", "", TOKENS, LOOKAHEAD)
    state_axes: ClassVar = {"delay": 1, "letter": 0}

    def initial_state(self, batch: int) -> State:
        return {
            "delay": np.zeros((LOOKAHEAD, batch), np.float32),
            "letter": np.zeros((batch, 1), np.float32),
        }

    settled_state = initial_state

    def step(self, samples: NDArray[np.float32], state: State) -> tuple[NDArray[np.float32], State]:
        batch = len(samples)
        heard = np.rint(samples.reshape(batch, -1, FRAME).max(axis=2) * 100)
        letter = state["letter"].copy()
        for frame in heard.T:
            ditto = frame == DITTO
            frame[ditto] = letter[ditto, 0]
            said = frame > 1
            letter[said, 0] = frame[said]
        line = np.concatenate([state["delay"].T, heard], axis=1)
        numbers = line[:, : heard.shape[1]].astype(int)
        log_probs = np.full((*numbers.shape, len(TOKENS)), np.log(0.001), np.float32)
        np.put_along_axis(log_probs, numbers[:, :, None], np.float32(np.log(0.973)), axis=2)
        return log_probs, {"delay": line[:, -LOOKAHEAD:].T.astype(np.float32), "letter": letter}


def tape(text: str) -> NDArray[np.float32]:
    """Samples that say `text`: each character is its frame and a blank one, `_` is one blank."""
    frames = []
    for character in text:
        if character == "_":
            frames.append(0)
        else:
            frames += [DITTO if character == '"' else TOKENS.index(character), 0]
    return np.repeat(np.array(frames, np.float32) / 100, FRAME).astype(np.float32)


@dataclass(frozen=True)
class Tapes:
    """What tests of tapes need."""

    model: TapeModel
    loaded: LoadedModel
    record: Callable[[str], NDArray[np.float32]]
    frame: int = FRAME
    frame_seconds: float = FRAME / 16_000


@pytest.fixture(scope="session")
def tapes() -> Tapes:
    model = TapeModel()
    return Tapes(model, loaded(model), tape)


@pytest.fixture(scope="session")
def model() -> AcousticModel:
    """The bundled model, or the folder that OSSICLE_MODEL names."""
    return AcousticModel.load(find_model(os.environ.get("OSSICLE_MODEL")))


@pytest.fixture(scope="session")
def decoding(model: AcousticModel) -> Decoding:
    """What the model under test has for decoding."""
    return Decoding.load(find_model(os.environ.get("OSSICLE_MODEL")), model.info)


@pytest.fixture(scope="session")
def speech() -> bytes:
    """The bundled recording as LINEAR16 at 16 kHz."""
    return np.rint(read_audio(sample_path()) * 32768).astype("<i2").tobytes()  # 16 bits, exactly


def loaded(model: Any, decoding: Decoding | None = None) -> LoadedModel:
    """A model to serve; without decoding it has its tokens alone."""
    return LoadedModel(model, decoding or Decoding(model.info))


class ServerThread:
    """A server with an event loop in a thread of its own."""

    def __init__(
        self,
        model: AcousticModel | list[LoadedModel],
        limits: Limits | None = None,
        port: int = 0,
        decoding: Decoding | None = None,
        **options: Any,
    ) -> None:
        models = model if isinstance(model, list) else [loaded(model, decoding)]
        self.server = SpeechServer(models, limits, port=port, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def start(self) -> Future[None]:
        """Done once clients are served."""
        return asyncio.run_coroutine_threadsafe(self.server.start(), self._loop)

    def stop(self) -> None:
        self.run(self.server.stop())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What a method of the server returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()


@contextmanager
def serving(
    model: AcousticModel | list[LoadedModel],
    limits: Limits | None = None,
    port: int = 0,
    decoding: Decoding | None = None,
    **options: Any,
) -> Iterator[SpeechServer]:
    """A server while the context lasts; `options` are further ones of `SpeechServer`."""
    thread = ServerThread(model, limits, port, decoding, **options)
    try:
        thread.start().result(timeout=30)
        yield thread.server
        thread.stop()
    finally:
        thread.end()


@pytest.fixture(scope="session")
def server_thread() -> type[ServerThread]:
    return ServerThread


@pytest.fixture(scope="session")
def serve() -> Callable[..., AbstractContextManager[SpeechServer]]:
    return serving


@pytest.fixture(scope="session")
def server(model: AcousticModel, decoding: Decoding) -> Iterator[SpeechServer]:
    limits = Limits(max_streams=12, max_unary_seconds=20, max_delay_seconds=0)
    with serving(model, limits, decoding=decoding) as server:
        yield server


@pytest.fixture(scope="session")
def stub(server: SpeechServer) -> Iterator[speech_pb2_grpc.SpeechServiceStub]:
    with grpc.insecure_channel(server.address) as channel:
        yield speech_pb2_grpc.SpeechServiceStub(channel)


@pytest.fixture
def scripted() -> Iterator[tuple[Scripted, str]]:
    server = grpc.server(ThreadPoolExecutor(4))
    servicer = Scripted()
    speech_pb2_grpc.add_SpeechServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"127.0.0.1:{port}"
    server.stop(0).wait()
