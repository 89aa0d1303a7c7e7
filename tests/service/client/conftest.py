"""A second server that does what a test tells it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from ossicle.speech.v1 import speech_pb2_grpc
from scripted import Scripted


@pytest.fixture
def second() -> Iterator[tuple[Scripted, str]]:
    server = grpc.server(ThreadPoolExecutor(4))
    servicer = Scripted()
    speech_pb2_grpc.add_SpeechServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"127.0.0.1:{port}"
    server.stop(0).wait()
