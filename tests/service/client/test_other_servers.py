"""What a client makes of servers that are not alike: full processes, other models."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from ossicle.service.client import (
    AsyncSpeechClient,
    BusyError,
    Result,
    Resumption,
    SpeechClient,
    SpeechEvent,
    SpeechEventKind,
    UnknownModelError,
)
from ossicle.speech.v1 import speech_pb2
from scripted import Request, Response, Scripted, answers, seconds, spoken

LINEAR16 = {"encoding": "linear16", "sample_rate": 16_000}
Told = tuple[list[Result], list[SpeechEvent]]


def blocking(address: str | list[str], chunks: list[bytes], resumption: Resumption) -> Told:
    events: list[SpeechEvent] = []
    with SpeechClient(address, resumption=resumption) as client:
        return list(client.stream(chunks, on_event=events.append, **LINEAR16)), events


def asynchronously(address: str | list[str], chunks: list[bytes], resumption: Resumption) -> Told:
    events: list[SpeechEvent] = []

    async def converse() -> list[Result]:
        async with AsyncSpeechClient(address, resumption=resumption) as client:
            stream = client.stream(chunks, on_event=events.append, **LINEAR16)
            return [result async for result in stream]

    return asyncio.run(converse()), events


both = pytest.mark.parametrize("stream", [blocking, asynchronously])
Stream = Callable[[str | list[str], list[bytes], Resumption], Told]


def full(
    context: grpc.ServicerContext, processes: int, requests: Iterator[Request] | None = None
) -> None:
    """End a call as one of several processes does that has no room.

    Args:
        requests: read to their end first: where a write is under way, gRPC may lose the status
            (grpc/grpc#36066), and the client rightly calls once more than is counted here.
    """
    for _ in requests or ():
        pass
    status = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message="all are taken")
    for detail in (
        error_details_pb2.RetryInfo(retry_delay=seconds(2.5)),
        error_details_pb2.ErrorInfo(
            reason="PROCESS_FULL", domain="ossicle", metadata={"processes": str(processes)}
        ),
    ):
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    context.abort_with_status(rpc_status.to_status(status))


@both
def test_a_full_process_is_left_for_another_over_a_connection_of_its_own(
    scripted: tuple[Scripted, str], stream: Stream
) -> None:
    servicer, address = scripted
    peers: list[str] = []

    def third_has_room(
        requests: Iterator[Request], context: grpc.ServicerContext
    ) -> Iterator[Response]:
        if context.peer() not in peers:
            peers.append(context.peer())
        if len(peers) < 3:
            full(context, 3, requests)
        yield from answers(requests, context)

    servicer.streaming = third_has_room
    results, _ = stream(address, [b"ab"], Resumption())
    assert results[-1].text == "the end"
    assert len(peers) == servicer.calls == 3


@both
def test_when_all_processes_are_full_it_is_told_when_to_come_again(
    scripted: tuple[Scripted, str], stream: Stream
) -> None:
    servicer, address = scripted
    peers: set[str] = set()

    def busy(requests: Iterator[Request], context: grpc.ServicerContext) -> Iterator[Response]:
        peers.add(context.peer())
        full(context, 2, requests)
        yield from ()

    servicer.streaming = busy
    with pytest.raises(BusyError) as refused:
        stream(address, [b"ab"], Resumption())
    assert refused.value.retry_after == 2.5
    assert refused.value.processes == 2
    assert len(peers) == servicer.calls == 8


def test_a_recording_finds_room_in_the_same_way_and_stays_there(
    scripted: tuple[Scripted, str],
) -> None:
    servicer, address = scripted
    peers: list[str] = []

    def second_has_room(context: grpc.ServicerContext) -> speech_pb2.RecognizeResponse:
        peers.append(context.peer())
        if len(set(peers)) < 2:
            full(context, 2)
        return speech_pb2.RecognizeResponse(request_id="r-7")

    servicer.unary = second_has_room
    with SpeechClient(address) as client:
        for _ in range(3):
            assert client.recognize(b"audio").request_id == "r-7"
    assert len(set(peers)) == 2
    assert peers[1:] == [peers[1]] * 3


def breaking(name: str, digest: str) -> Callable[..., Iterator[Response]]:
    """A server that says which model it has, gives one final, and is gone."""

    def respond(requests: Iterator[Request], context: grpc.ServicerContext) -> Iterator[Response]:
        for _ in range(3):
            next(requests)
        response = spoken("one", is_final=True, end=1.0)
        response.model_version.name, response.model_version.digest = name, digest
        yield response
        context.abort(grpc.StatusCode.UNAVAILABLE, "killed")

    return respond


def going_on(name: str, digest: str) -> Callable[..., Iterator[Response]]:
    def respond(requests: Iterator[Request], context: grpc.ServicerContext) -> Iterator[Response]:
        list(requests)
        response = spoken("two", is_final=True, end=1.0)
        response.model_version.name, response.model_version.digest = name, digest
        yield response

    return respond


CHUNKS = [b"a" * 32_000, b"b" * 32_000]


@both
@pytest.mark.parametrize("digest", ["old", "new"])
def test_another_version_of_the_model_is_told(
    scripted: tuple[Scripted, str],
    second: tuple[Scripted, str],
    stream: Stream,
    digest: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    scripted[0].streaming = breaking("english", "old")
    second[0].streaming = going_on("english", digest)
    with caplog.at_level(logging.WARNING, "ossicle"):
        results, events = stream([scripted[1], second[1]], CHUNKS, Resumption())
    assert [result.text for result in results] == ["one", "two"]
    changed = [SpeechEvent(SpeechEventKind.MODEL_CHANGED, 1.0)] if digest == "new" else []
    assert events == changed
    assert [second[1] in record.getMessage() for record in caplog.records] == [True] * len(changed)


@both
def test_a_server_with_other_models_is_no_replica(
    scripted: tuple[Scripted, str], second: tuple[Scripted, str], stream: Stream
) -> None:
    """Its default would be another model; it is asked for the stream's, and passed over."""
    calls = 0

    def breaks_once(requests: Iterator[Request], context: grpc.ServicerContext) -> object:
        nonlocal calls
        calls += 1
        respond = breaking if calls == 1 else going_on
        return respond("english", "old")(requests, context)

    def lacks(requests: Iterator[Request], context: grpc.ServicerContext) -> Iterator[Response]:
        yield from ()
        assert next(requests).streaming_config.config.model == "english"
        context.abort(grpc.StatusCode.NOT_FOUND, "there is no model 'english'; there is: german")

    scripted[0].streaming = breaks_once  # type: ignore[assignment]
    second[0].streaming = lacks
    results, events = stream([scripted[1], second[1]], CHUNKS, Resumption())
    assert [result.text for result in results] == ["one", "two"]
    assert (calls, second[0].calls, events) == (2, 1, [])

    def breaks_for_good(requests: Iterator[Request], context: grpc.ServicerContext) -> object:
        nonlocal calls
        calls += 1
        if calls > 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        return breaking("english", "old")(requests, context)

    calls = 0
    scripted[0].streaming = breaks_for_good  # type: ignore[assignment]
    with pytest.raises(UnknownModelError, match="german"):
        stream([scripted[1], second[1]], CHUNKS, Resumption(patience=0.5))


@both
def test_a_model_that_nobody_has_is_an_error_at_once(
    scripted: tuple[Scripted, str], stream: Stream
) -> None:
    servicer, address = scripted

    def lacks(requests: Iterator[Request], context: grpc.ServicerContext) -> Iterator[Response]:
        yield from ()
        context.abort(grpc.StatusCode.NOT_FOUND, "there is no model 'x'")

    servicer.streaming = lacks
    with pytest.raises(UnknownModelError):
        stream(address, CHUNKS, Resumption())
    assert servicer.calls == 1
