"""Who is let in by a real server that asks for tokens, and how much at once."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from calls import SECOND, TIMEOUT, LiveStream, audio, own_messages, start, until, until_error
from google.rpc.error_details_pb2 import RetryInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from ossicle.service.client import (
    AsyncSpeechClient,
    AuthenticationError,
    BusyError,
    SpeechClient,
)
from ossicle.service.limits import Limits
from ossicle.service.security.config import Security
from ossicle.service.security.tokens import edited_tokens, make_token
from ossicle.service.server import SpeechServer
from ossicle.speech.v1 import speech_pb2 as pb
from ossicle.speech.v1 import speech_pb2_grpc

TAPE: dict[str, Any] = {"encoding": "linear16", "sample_rate": 16_000}


class TokenFile:
    """A file of tokens that a server watches."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, name: str, **limits: Any) -> str:
        secret, token = make_token(name, **limits)
        with edited_tokens(self.path, create=True) as tokens:
            tokens.append(token)
        return secret

    def remove(self, name: str) -> None:
        with edited_tokens(self.path) as tokens:
            tokens[:] = [token for token in tokens if token.name != name]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> TokenFile:
    file = TokenFile(tmp_path_factory.mktemp("tokens") / "tokens.json")
    file.add("first")
    return file


@pytest.fixture(scope="module")
def guarded(serve: Any, tapes: Any, tokens: TokenFile) -> Iterator[SpeechServer]:
    with serve(tapes.model, Limits(max_streams=4), security=Security(tokens=tokens.path)) as server:
        yield server


@pytest.fixture
def channel(guarded: SpeechServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(guarded.address) as channel:
        yield channel


def bearer(secret: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {secret}"),)


def recognize(address: str, token: str | None) -> None:
    with SpeechClient(address, token=token) as client:
        client.recognize(bytes(SECOND), **TAPE)


def stream(address: str, token: str | None) -> None:
    with SpeechClient(address, token=token) as client:
        list(client.stream([bytes(SECOND)], **TAPE))


def models(address: str, token: str | None) -> None:
    with SpeechClient(address, token=token) as client:
        client.list_models()


def asynchronously(method: str) -> Callable[[str, str | None], None]:
    def call(address: str, token: str | None) -> None:
        async def make() -> None:
            async with AsyncSpeechClient(address, token=token) as client:
                if method == "recognize":
                    await client.recognize(bytes(SECOND), **TAPE)
                elif method == "stream":
                    async for _ in client.stream([bytes(SECOND)], **TAPE):
                        pass
                else:
                    await client.list_models()

        asyncio.run(make())

    return call


every_call = pytest.mark.parametrize(
    "call",
    [recognize, stream, models, *map(asynchronously, ("recognize", "stream", "models"))],
    ids=[f"{kind}-{m}" for kind in ("sync", "async") for m in ("recognize", "stream", "models")],
)
Call = Callable[[str, str | None], None]


@every_call
def test_a_known_token_is_let_in(call: Call, guarded: SpeechServer, tokens: TokenFile) -> None:
    secret = tokens.add("for-now")
    call(guarded.address, secret)
    tokens.remove("for-now")
    with pytest.raises(AuthenticationError, match="does not know the token, or no longer"):
        call(guarded.address, secret)


@every_call
def test_no_token_a_wrong_one_and_an_old_one_are_refused_with_what_to_do(
    call: Call, guarded: SpeechServer, tokens: TokenFile
) -> None:
    with pytest.raises(AuthenticationError, match=r"no token was sent.*OSSICLE_TOKEN") as caught:
        call(guarded.address, None)
    assert caught.value.status is grpc.StatusCode.UNAUTHENTICATED
    assert caught.value.request_id
    with pytest.raises(AuthenticationError, match=r"does not know the token.*ask its operator"):
        call(guarded.address, "ossicle_wrong")
    secret = tokens.add("old", expires="2001-01-01")
    with pytest.raises(AuthenticationError, match="token old has expired on 2001-01-01; ask"):
        call(guarded.address, secret)
    tokens.remove("old")


@pytest.mark.parametrize(
    "metadata",
    [
        (("authorization", "Basic dXNlcjpwYXNz"),),
        (("authorization", "Bearer"),),
        (("authorization", "Bearer  "),),
        (("authorization", ""),),
        (("authorization", "Bearer a"), ("authorization", "Bearer b")),
    ],
)
def test_what_is_no_bearer_token_is_refused(
    metadata: tuple[tuple[str, str], ...], channel: grpc.Channel
) -> None:
    stub = speech_pb2_grpc.SpeechServiceStub(channel)
    with pytest.raises(grpc.RpcError) as caught:
        stub.ListModels(pb.ListModelsRequest(), metadata=metadata, timeout=TIMEOUT)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "Bearer TOKEN" in caught.value.details()


def test_the_scheme_may_be_written_in_any_case(channel: grpc.Channel, tokens: TokenFile) -> None:
    secret = tokens.add("lower")
    stub = speech_pb2_grpc.SpeechServiceStub(channel)
    for scheme in ("bearer", "BEARER"):
        metadata = (("authorization", f"{scheme} {secret}"),)
        assert stub.ListModels(pb.ListModelsRequest(), metadata=metadata, timeout=TIMEOUT).models


def test_health_needs_no_token_and_reflection_does(
    channel: grpc.Channel, guarded: SpeechServer, tokens: TokenFile
) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest()
    assert health.Check(request, timeout=TIMEOUT).status == 1
    watch = health.Watch(request, timeout=TIMEOUT)
    assert next(watch).status == 1
    watch.cancel()
    with SpeechClient(guarded.address) as client:
        assert client.health()

    reflection = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    with pytest.raises(grpc.RpcError) as caught:
        list(reflection(iter([question]), timeout=TIMEOUT))
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    known = bearer(tokens.add("curious"))
    assert list(reflection(iter([question]), metadata=known, timeout=TIMEOUT))


def test_a_method_that_is_none_is_unknown_to_everybody(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/ossicle.speech.v1.SpeechService/Nonsense")(b"", timeout=TIMEOUT)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_no_message_of_a_refused_call_is_received(channel: grpc.Channel) -> None:
    """A recording of many megabytes without a token must not fill the server's memory."""
    stub = speech_pb2_grpc.SpeechServiceStub(channel)
    taken = 0

    def requests() -> Iterator[pb.StreamingRecognizeRequest]:
        nonlocal taken
        yield start()
        for _ in range(1000):
            taken += 1
            yield audio(bytes(1 << 20))

    with pytest.raises(grpc.RpcError) as caught:
        list(stub.StreamingRecognize(requests(), timeout=TIMEOUT))
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert taken < 50


def over_limit(error: grpc.RpcError) -> int:
    """The seconds after which to come again, of a call past a limit of its token."""
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    (detail,) = rpc_status.from_call(error).details
    info = RetryInfo()
    assert detail.Unpack(info)
    return int(info.retry_delay.seconds)


def leave_open(live: LiveStream) -> None:
    live.half_close()
    list(live.call)


def cancel(live: LiveStream) -> None:
    live.call.cancel()


@pytest.mark.parametrize("end", [leave_open, cancel], ids=["half-closed", "cancelled"])
def test_a_token_has_so_many_streams_at_the_same_time(
    end: Callable[[LiveStream], None],
    request: pytest.FixtureRequest,
    channel: grpc.Channel,
    guarded: SpeechServer,
    tokens: TokenFile,
) -> None:
    name = f"two-{request.node.callspec.id}"
    secret = tokens.add(name, max_streams=2)
    stub = speech_pb2_grpc.SpeechServiceStub(channel)
    assert until(lambda: guarded.engine.active == 0)

    def live() -> LiveStream:
        return LiveStream(_With(stub, bearer(secret)), start(), audio(bytes(SECOND)))

    first, second = live(), live()
    assert until(lambda: guarded.engine.active == 2)
    _, error = until_error(live())
    assert over_limit(error) == 2
    assert f"token {name} has 2 streams open" in error.details()
    for call in (recognize, stream, asynchronously("stream")):
        with pytest.raises(BusyError, match="2 streams open") as refused:
            call(guarded.address, secret)
        assert refused.value.retry_after == 2
    models(guarded.address, secret)  # no stream
    recognize(guarded.address, tokens.add(f"other-{name}"))

    end(first)
    assert until(lambda: guarded.engine.active == 1)
    third = live()
    assert until(lambda: guarded.engine.active == 2)
    for stream_ in (second, third):
        end(stream_)
    assert until(lambda: guarded.engine.active == 0)


class _With:
    """A stub whose streams have metadata."""

    def __init__(self, stub: Any, metadata: tuple[tuple[str, str], ...]) -> None:
        self._stub = stub
        self._metadata = metadata

    def StreamingRecognize(self, requests: Any, timeout: float) -> Any:  # noqa: N802
        return self._stub.StreamingRecognize(requests, timeout=timeout, metadata=self._metadata)


@every_call
def test_a_token_has_so_many_calls_in_a_minute(
    call: Call, request: pytest.FixtureRequest, guarded: SpeechServer, tokens: TokenFile
) -> None:
    name = f"few-{request.node.callspec.id}"
    secret = tokens.add(name, max_calls_per_minute=2)
    call(guarded.address, secret)
    call(guarded.address, secret)
    with pytest.raises(BusyError, match=f"token {name} has made the 2 calls") as refused:
        call(guarded.address, secret)
    assert refused.value.retry_after
    assert 0 < refused.value.retry_after <= 30


def test_streams_of_a_removed_token_go_on_to_their_end(
    guarded: SpeechServer, tokens: TokenFile, tapes: Any
) -> None:
    secret = tokens.add("leaving")
    assert until(lambda: guarded.engine.active == 0)
    speech = (tapes.record("good_bye") * 32768).astype("<i2").tobytes()
    with SpeechClient(guarded.address, token=secret) as client:

        def chunks() -> Iterator[bytes]:
            yield speech[: len(speech) // 2]
            assert until(lambda: guarded.engine.active == 1)
            tokens.remove("leaving")
            yield speech[len(speech) // 2 :]

        finals = [r.text for r in client.stream(chunks(), **TAPE) if r.is_final and r.text]
        assert finals
        with pytest.raises(AuthenticationError):
            client.list_models()


def test_a_broken_file_leaves_the_old_tokens_in_force(
    serve: Any, tapes: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    secret = tokens.add("steady")
    good = tokens.path.read_bytes()
    with serve(tapes.model, security=Security(tokens=tokens.path)) as server:
        with caplog.at_level(logging.ERROR):
            tokens.path.write_bytes(good[:-20])
            models(server.address, secret)
            tokens.path.unlink()
            models(server.address, secret)
            models(server.address, secret)
        broken, missing = own_messages(caplog)
        assert "no file of tokens" in broken
        assert "stays in force" in broken
        assert "No such file" in missing
        another = tokens.add("another")
        models(server.address, another)
        with pytest.raises(AuthenticationError):
            models(server.address, secret)


def test_calls_that_wait_do_not_pile_up(serve: Any, tapes: Any) -> None:
    limits = Limits(max_streams=1)
    with (
        serve(tapes.model, limits) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        silent = [LiveStream(stub) for _ in range(limits.max_calls + 5)]
        health = health_pb2_grpc.HealthStub(channel)

        def ask() -> grpc.Call:
            return stub.ListModels.with_call(pb.ListModelsRequest(), timeout=TIMEOUT)[1]

        assert until(lambda: sum(not live.call.is_active() for live in silent) == 5)
        with pytest.raises(grpc.RpcError) as caught:
            ask()
        assert over_limit(caught.value) == 2
        assert f"{limits.max_calls} calls are open" in caught.value.details()
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT).status == 1
        for live in silent:
            live.call.cancel()
        assert until(lambda: _status(ask) is grpc.StatusCode.OK)


def test_watchers_of_health_do_not_pile_up_either(serve: Any, tapes: Any) -> None:
    with (
        serve(tapes.model) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        health = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest()
        watches = [health.Watch(request, timeout=TIMEOUT) for _ in range(100)]
        for watch in watches:
            assert next(watch).status == 1
        with pytest.raises(grpc.RpcError) as caught:
            next(health.Watch(request, timeout=TIMEOUT))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert health.Check(request, timeout=TIMEOUT).status == 1, "whoever watches"
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        assert stub.ListModels(pb.ListModelsRequest(), timeout=TIMEOUT).models
        for watch in watches:
            watch.cancel()


def test_who_asks_for_nothing_is_given_up(serve: Any, tapes: Any) -> None:
    """Whoever opens reflection and stays silent would hold one of the calls for ever."""
    with (
        serve(tapes.model, Limits(idle_timeout_seconds=0.3)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        silent = threading.Event()
        asked = reflection_pb2.ServerReflectionRequest(list_services="")

        def requests() -> Iterator[reflection_pb2.ServerReflectionRequest]:
            yield asked
            silent.wait(TIMEOUT)

        call = stub.ServerReflectionInfo(requests(), timeout=TIMEOUT)
        try:
            assert next(call).list_services_response.service
            with pytest.raises(grpc.RpcError) as caught:
                next(call)
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert "nothing was sent for 0.3 s" in caught.value.details()
        finally:
            silent.set()
        assert len(list(stub.ServerReflectionInfo(iter([asked] * 3), timeout=TIMEOUT))) == 3


def test_a_recording_that_never_arrives_is_given_up(serve: Any, tapes: Any) -> None:
    limits = Limits(max_unary_seconds=0.2, idle_timeout_seconds=0.2)
    with (
        serve(tapes.model, limits) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        # To the server it is the same: a call whose one request takes its time.
        slowly = channel.stream_unary("/ossicle.speech.v1.SpeechService/Recognize")

        def request() -> Iterator[bytes]:
            time.sleep(5)
            yield b""

        began = time.monotonic()
        with pytest.raises(grpc.RpcError) as caught:
            slowly(request(), timeout=TIMEOUT)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "has not arrived within 0.4 s" in caught.value.details()
        assert time.monotonic() - began < 4
        with pytest.raises(grpc.RpcError) as caught:
            slowly(iter([]), timeout=TIMEOUT)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_stream_that_stays_open_too_long_ends_with_its_last_final(serve: Any, tapes: Any) -> None:
    speech = (tapes.record("hello") * 32768).astype("<i2").tobytes()
    with (
        serve(tapes.model, Limits(max_call_seconds=1)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        live = LiveStream(speech_pb2_grpc.SpeechServiceStub(channel), start(), audio(speech))
        responses, error = until_error(live)
    assert error.code() is grpc.StatusCode.OUT_OF_RANGE
    assert "open for 1 s, as long as one may; go on in another" in error.details()
    assert responses[-1].results[0].is_final
    assert responses[-1].results[0].alternatives[0].transcript == "hello"


def test_a_flood_of_messages_is_slowed_down(serve: Any, tapes: Any) -> None:
    limits = Limits(max_messages_per_second=20, queue_seconds=1)
    with (
        serve(tapes.model, limits) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        requests = [start(), *[audio(bytes(2))] * 60]
        began = time.monotonic()
        list(stub.StreamingRecognize(iter(requests), timeout=TIMEOUT))
        assert time.monotonic() - began >= 1.9  # 20 at once, 40 at 20 in a second


def test_connections_are_limited(serve: Any, tapes: Any) -> None:
    limits = Limits(max_streams=1)
    with serve(tapes.model, limits) as server:

        def connect() -> grpc.Channel:
            alone = [("grpc.use_local_subchannel_pool", 1)]
            return grpc.insecure_channel(server.address, options=alone)

        channels = [connect() for _ in range(limits.max_connections + 3)]
        statuses = [_health(channel) for channel in channels]
        assert statuses.count(grpc.StatusCode.OK) == limits.max_connections
        assert statuses.count(grpc.StatusCode.UNAVAILABLE) == 3
        for channel in channels:
            channel.close()
        with connect() as channel:
            assert until(lambda: _health(channel) is grpc.StatusCode.OK)


def _status(call: Callable[[], Any]) -> grpc.StatusCode:
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def _health(channel: grpc.Channel) -> grpc.StatusCode:
    check = health_pb2_grpc.HealthStub(channel).Check
    return _status(lambda: check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT))


def test_a_token_for_this_machine_goes_to_no_proxy(
    guarded: SpeechServer, tokens: TokenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # where nothing listens
    monkeypatch.delenv("no_proxy", raising=False)
    with SpeechClient(guarded.address, token=tokens.add("athome")) as client:
        assert client.list_models().models
