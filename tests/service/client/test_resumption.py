"""Which server a client asks, how often, and when it gives up."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc
import pytest
from calls import until
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from ossicle.service.client import (
    AsyncSpeechClient,
    BusyError,
    Finalize,
    OssicleError,
    RequestError,
    Result,
    Resumption,
    SpeechClient,
    TimedOutError,
    UnavailableError,
)
from ossicle.service.client.replicas import parse_addresses
from ossicle.service.client.resumption import Attempts
from ossicle.speech.v1 import speech_pb2
from scripted import Request, Response, Scripted, answers, seconds, spoken

NOWHERE = "127.0.0.1:1"
GONE = UnavailableError("gone", grpc.StatusCode.UNAVAILABLE)
BUSY = BusyError("all are taken", grpc.StatusCode.RESOURCE_EXHAUSTED, retry_after=3.0)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def waits(attempts: Attempts, clock: Clock, error: OssicleError, most: int = 100) -> list[float]:
    taken: list[float] = []
    while len(taken) < most and (wait := attempts.wait_after(error)) is not None:
        taken.append(wait)
        clock.now += wait
    return taken


def test_waits_double_up_to_a_limit_with_chance() -> None:
    clock = Clock()
    attempts = Attempts(Resumption(patience=1000), 1, clock)
    attempts.answered(False)
    taken = waits(attempts, clock, GONE, 19)
    for number, wait in enumerate(taken):
        typical = min(0.1 * 2**number, 5.0)
        assert 0.5 * typical <= wait <= 1.5 * typical
    assert len({round(wait, 6) for wait in taken[7:]}) > 1


def test_a_day_of_patience_is_a_day() -> None:
    clock = Clock()
    attempts = Attempts(Resumption(patience=86_400), 1, clock)
    attempts.answered(False)
    assert 86_300 < sum(waits(attempts, clock, GONE, 100_000)) <= 86_400


def test_every_address_is_asked_before_there_is_a_wait() -> None:
    clock = Clock()
    attempts = Attempts(Resumption(), 3, clock)
    attempts.answered(True)
    assert [wait > 0 for wait in waits(attempts, clock, GONE, 6)] == [False, False, True] * 2


def test_patience_is_short_before_the_first_answer_and_starts_anew_with_each() -> None:
    clock = Clock()
    attempts = Attempts(Resumption(patience=20), 1, clock)
    assert sum(waits(attempts, clock, GONE)) <= 2.0
    attempts = Attempts(Resumption(patience=20), 1, clock)
    attempts.answered(False)
    assert 10 < sum(waits(attempts, clock, GONE)) <= 20.0
    attempts.answered(False)
    assert attempts.wait_after(GONE) is not None


@pytest.mark.parametrize("addresses", [1, 2, 4, 8])
@pytest.mark.parametrize("error", [GONE, BUSY])
def test_a_minute_of_patience_however_many_addresses(addresses: int, error: OssicleError) -> None:
    clock = Clock()
    attempts = Attempts(Resumption(), addresses, clock)
    attempts.answered(False)
    assert 45 < sum(waits(attempts, clock, error, 1000)) <= 60


def test_a_stream_that_fells_every_server_is_given_up() -> None:
    clock = Clock()
    attempts = Attempts(Resumption(attempts=4), 2, clock)
    attempts.answered(False)
    taken = 0
    while attempts.wait_after(GONE) is not None:
        attempts.answered(False)
        taken += 1
    assert taken == 3
    attempts.answered(True)
    assert attempts.wait_after(GONE) is not None


def test_a_busy_server_is_waited_for_only_by_a_stream_that_has_begun() -> None:
    assert Attempts(Resumption(), 1).wait_after(BUSY) is None
    attempts = Attempts(Resumption(), 2)
    assert attempts.wait_after(BUSY) == 0.0
    assert attempts.wait_after(BUSY) is None
    attempts = Attempts(Resumption(), 1)
    attempts.answered(False)
    assert attempts.wait_after(BUSY) == 3.0


def test_a_refused_request_is_not_repeated() -> None:
    refused = RequestError("wrong", grpc.StatusCode.INVALID_ARGUMENT)
    assert Attempts(Resumption(), 3).wait_after(refused) is None


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("Received RST_STREAM with error code 2", grpc.StatusCode.INTERNAL),
        # Of nginx whose server is killed.
        (
            "Stream removed (RST_STREAM (Received RST_STREAM with error code 2))",
            grpc.StatusCode.UNKNOWN,
        ),
    ],
)
def test_what_is_cut_between_client_and_server_is_tried_again(
    message: str, code: grpc.StatusCode
) -> None:
    assert Attempts(Resumption(), 1).wait_after(OssicleError(message, code)) is not None


@pytest.mark.parametrize(
    ("field", "value"),
    [("patience", -1.0), ("attempts", 0), ("keep_bytes", 1000), ("first_wait", float("nan"))],
)
def test_values_out_of_range_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} is {value}; give"):
        Resumption(**{field: value})


def test_addresses_come_with_commas_or_in_a_list() -> None:
    assert parse_addresses("a:1") == ("a:1",)
    assert parse_addresses("a:1, b:2,a:1") == ("a:1", "b:2")
    assert parse_addresses(["a:1", "b:2,c:3"]) == ("a:1", "b:2", "c:3")
    for wrong in ("", "a:1,", [], ["a:1", ""]):
        with pytest.raises(ValueError, match="give HOST:PORT"):
            parse_addresses(wrong)
    assert parse_addresses("[::1]:50051") == ("[::1]:50051",)
    for wrong, message in (
        ("a:65536", "ports end at 65535"),
        ("fe80::1:2", r"\[fe80::1:2\]:50051"),
    ):
        with pytest.raises(ValueError, match=message):
            parse_addresses(wrong)


# With servers that do what a test tells them


def asynchronously(
    address: str | list[str],
    chunks: Iterable[bytes | Finalize],
    resumption: Resumption | None = None,
    **options: Any,
) -> list[Result]:
    async def converse() -> list[Result]:
        settings = {} if resumption is None else {"resumption": resumption}
        async with AsyncSpeechClient(address, **settings) as client:
            return [result async for result in client.stream(chunks, **options)]

    return asyncio.run(converse())


def blocking(
    address: str | list[str],
    chunks: Iterable[bytes | Finalize],
    resumption: Resumption | None = None,
    **options: Any,
) -> list[Result]:
    settings = {} if resumption is None else {"resumption": resumption}
    with SpeechClient(address, **settings) as client:
        return list(client.stream(chunks, **options))


both = pytest.mark.parametrize("stream", [blocking, asynchronously])
Stream = Callable[..., list[Result]]


def gone(requests: Iterator[Request], context: grpc.ServicerContext) -> Iterator[Response]:
    yield from ()
    context.abort(grpc.StatusCode.UNAVAILABLE, "draining")


@both
def test_a_stream_begins_where_there_is_a_server(
    scripted: tuple[Scripted, str], stream: Stream
) -> None:
    servicer, address = scripted
    servicer.streaming = answers
    results = stream([NOWHERE, address], [b"ab", b"cd"])
    assert [result.text for result in results] == ["word 0", "word 1", "the end"]
    sent = b"".join(r.audio_content for r in servicer.received if isinstance(r, Request))
    assert sent == b"abcd"


@both
def test_a_stream_that_no_server_takes_fails_soon(
    scripted: tuple[Scripted, str], stream: Stream
) -> None:
    servicer, address = scripted
    servicer.streaming = gone
    began = time.monotonic()
    with pytest.raises(UnavailableError, match="draining"):
        stream(address, [b"audio"])
    assert servicer.calls > 2
    assert time.monotonic() - began < 20


@both
def test_a_stream_goes_on_at_another_server_from_its_last_final(
    scripted: tuple[Scripted, str], second: tuple[Scripted, str], stream: Stream
) -> None:
    first, first_address = scripted
    other, other_address = second

    def breaks(requests: Iterator[Request], context: grpc.ServicerContext) -> Iterator[Response]:
        audio = [r for r in (next(requests) for _ in range(4)) if r.audio_content]
        assert len(audio) == 3
        yield spoken("one", is_final=True, end=1.0)
        yield spoken("tw", is_final=False, end=1.5)
        context.abort(grpc.StatusCode.UNAVAILABLE, "killed")

    def goes_on(requests: Iterator[Request], context: grpc.ServicerContext) -> Iterator[Response]:
        list(requests)
        yield spoken("two", is_final=True, end=1.0)

    first.streaming, other.streaming = breaks, goes_on
    chunks = [b"a" * 32_000, b"b" * 16_000, b"c" * 16_000]
    results = stream(
        [first_address, other_address], chunks, encoding="linear16", sample_rate=16_000
    )
    assert [(r.text, r.is_final, r.end) for r in results] == [
        ("one", True, 1.0),
        ("tw", False, 1.5),
        ("two", True, 2.0),
    ]
    opening, *rest = [request for request in other.received if isinstance(request, Request)]
    assert opening.streaming_config.previous_transcripts == ["one"]
    assert b"".join(r.audio_content for r in rest) == b"b" * 16_000 + b"c" * 16_000


@both
def test_a_full_server_is_passed_over(
    scripted: tuple[Scripted, str], second: tuple[Scripted, str], stream: Stream
) -> None:
    full, full_address = scripted
    free, free_address = second

    def busy(requests: Iterator[Request], context: grpc.ServicerContext) -> Iterator[Response]:
        yield from ()
        detail = any_pb2.Any()
        detail.Pack(error_details_pb2.RetryInfo(retry_delay=seconds(2.5)))
        status = status_pb2.Status(
            code=code_pb2.RESOURCE_EXHAUSTED, message="all are taken", details=[detail]
        )
        context.abort_with_status(rpc_status.to_status(status))

    full.streaming, free.streaming = busy, answers
    assert stream([full_address, free_address], [b"ab"])[-1].text == "the end"
    with pytest.raises(BusyError):
        stream(full_address, [b"ab"])


def breaking_after(
    seconds: float,
) -> Callable[[Iterator[Request], grpc.ServicerContext], Iterator[Response]]:
    """What answers with a partial, and breaks so long after it."""

    def breaks(requests: Iterator[Request], context: grpc.ServicerContext) -> Iterator[Response]:
        yield spoken("word", is_final=False, end=0.5)
        time.sleep(seconds)
        context.abort(grpc.StatusCode.UNAVAILABLE, "again")

    return breaks


@both
def test_the_timeout_holds_over_all_connections(
    scripted: tuple[Scripted, str], stream: Stream
) -> None:
    servicer, address = scripted
    servicer.streaming = breaking_after(0.2)
    began = time.monotonic()
    with pytest.raises(TimedOutError):
        stream(address, [b"ab"], Resumption(longest_wait=0.1), timeout=3.0)
    assert 2.9 < time.monotonic() - began < 15
    assert servicer.calls > 1


@both
def test_the_timeout_holds_between_connections(
    scripted: tuple[Scripted, str], stream: Stream
) -> None:
    servicer, address = scripted
    servicer.streaming = breaking_after(0.0)
    began = time.monotonic()
    with pytest.raises(TimedOutError):
        stream(address, [b"ab"], Resumption(first_wait=20, longest_wait=20), timeout=1.0)
    assert time.monotonic() - began < 10


@both
def test_audio_that_is_too_much_to_keep_ends_with_its_server(
    scripted: tuple[Scripted, str], stream: Stream
) -> None:
    servicer, address = scripted

    def breaks(requests: Iterator[Request], context: grpc.ServicerContext) -> Iterator[Response]:
        for number, _ in enumerate(requests):
            if number == 40:
                yield spoken("word", is_final=False, end=0.5)
                context.abort(grpc.StatusCode.UNAVAILABLE, "killed")

    servicer.streaming = breaks
    with pytest.raises(UnavailableError, match=r"too much to keep.*keep_bytes"):
        stream(address, [bytes(1 << 16)] * 60, Resumption(keep_bytes=1 << 20))
    assert servicer.calls == 1


@both
def test_an_error_of_the_source_is_raised_whatever_becomes_of_the_server(
    scripted: tuple[Scripted, str], stream: Stream
) -> None:
    servicer, address = scripted

    def breaks(requests: Iterator[Request], context: grpc.ServicerContext) -> Iterator[Response]:
        yield from ()
        assert next(requests).HasField("streaming_config")
        assert next(requests).audio_content == b"ab"
        context.abort(grpc.StatusCode.UNAVAILABLE, "killed")

    def chunks() -> Iterator[bytes]:
        yield b"ab"
        raise OSError("the microphone was unplugged")

    servicer.streaming = breaks
    with pytest.raises(OSError, match="unplugged"):
        stream(address, chunks())


def test_no_more_is_read_while_there_is_no_server() -> None:
    read: list[int] = []

    def chunks() -> Iterator[bytes]:
        for number in range(1000):
            read.append(number)
            yield b"ab"

    with SpeechClient(NOWHERE) as client, pytest.raises(UnavailableError):
        list(client.stream(chunks()))
    assert len(read) <= 2
    assert until(lambda: "ossicle-source" not in [t.name for t in threading.enumerate()])


def test_unary_calls_turn_to_the_next_server_and_stay_there(
    scripted: tuple[Scripted, str],
) -> None:
    servicer, address = scripted
    servicer.unary = lambda context: speech_pb2.RecognizeResponse(request_id="r-5")

    async def asynchronous() -> str:
        async with AsyncSpeechClient([NOWHERE, address]) as client:
            return (await client.recognize(b"audio")).request_id

    assert asyncio.run(asynchronous()) == "r-5"
    with SpeechClient(f"{NOWHERE},{address}") as client:
        began = time.monotonic()
        assert client.recognize(b"audio").request_id == "r-5"
        found = time.monotonic()
        assert client.recognize(b"audio").request_id == "r-5"
        assert time.monotonic() - found < found - began, "the one that is away is asked no more"
