"""Several models on one server, and models that are replaced while streams go on."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import pytest
from calls import (
    TIMEOUT,
    LiveStream,
    audio,
    finalize,
    linear16,
    start,
    stream,
    transcripts,
    until,
)
from grpc_health.v1 import health_pb2, health_pb2_grpc
from ossicle.model.decoding.decoders import Decoding, DecodingConfig
from ossicle.model.folder import LoadedModel
from ossicle.service.admission import EngineStopped
from ossicle.service.limits import Limits
from ossicle.service.models import Models
from ossicle.service.telemetry.metrics import ServerMetrics
from ossicle.speech.v1 import speech_pb2 as pb
from ossicle.speech.v1 import speech_pb2_grpc


def version(tapes: Any, name: str, digest: str, letters: int = 0, **info: Any) -> LoadedModel:
    """A reader of tapes that reads each letter as one further on in the alphabet."""

    class Reader(type(tapes.model)):  # type: ignore[misc]
        def step(self, samples: Any, state: Any) -> Any:
            log_probs, state = super().step(samples, state)
            log_probs[:, :, 2:] = np.roll(log_probs[:, :, 2:], letters, axis=2)
            return log_probs, state

    network = Reader()
    network.info = replace(tapes.model.info, name=name, **info)
    return LoadedModel(network, Decoding(network.info), digest)


def said(tapes: Any, text: str) -> bytes:
    return (tapes.record(text) * 32767).astype("<i2").tobytes()


def first_version(responses: list[Any]) -> tuple[str, str]:
    told = [r.model_version for r in responses if r.HasField("model_version")]
    assert responses[0].HasField("model_version")
    assert len(told) == 1
    return told[0].name, told[0].digest


class Serving:
    """A server of reading machines, and a stub to call it."""

    def __init__(self, thread: Any) -> None:
        self.thread = thread
        thread.start().result(TIMEOUT)
        self.channel = grpc.insecure_channel(thread.server.address)
        self.stub = speech_pb2_grpc.SpeechServiceStub(self.channel)

    def end(self) -> None:
        self.channel.close()
        self.thread.stop()
        self.thread.end()


@pytest.fixture
def two(server_thread: Any, tapes: Any) -> Iterator[Serving]:
    """One reads what is there, the other the letter after it, in another language."""
    models = [
        version(tapes, "plain", "1"),
        version(tapes, "next", "2", letters=1, language="de-DE"),
    ]
    serving = Serving(server_thread(models, Limits(max_streams=3)))
    yield serving
    serving.end()


def heard(serving: Serving, tapes: Any, text: str, **config: Any) -> list[str]:
    requests = (start(linear16(**config)), audio(said(tapes, text)))
    return transcripts(stream(serving.stub, *requests))


def test_a_request_chooses_its_model_and_the_first_is_the_default(two: Serving, tapes: Any) -> None:
    assert heard(two, tapes, "abc_") == ["abc"]
    assert heard(two, tapes, "abc_", model="plain") == ["abc"]
    assert heard(two, tapes, "abc_", model="next", language_code="de") == ["bcd"]
    request = pb.RecognizeRequest(config=linear16(model="next"), audio_content=said(tapes, "ab_"))
    response = two.stub.Recognize(request)
    assert response.results[0].alternatives[0].transcript == "bc"
    assert (response.model_version.name, response.model_version.digest) == ("next", "2")
    listed = two.stub.ListModels(pb.ListModelsRequest()).models
    assert [(m.name, m.digest, *m.language_codes) for m in listed] == [
        ("plain", "1", "en-US"),
        ("next", "2", "de-DE"),
    ]


def test_streams_of_two_models_go_on_side_by_side(two: Serving, tapes: Any) -> None:
    text = "hello_" * 10
    lives = [
        LiveStream(two.stub, start(linear16(model=name), interim_results=True))
        for name in ("plain", "next", "plain")
    ]
    whole = said(tapes, text)
    for begin in range(0, len(whole), 6400):
        for live in lives:
            live.send(audio(whole[begin : begin + 6400]))
    for live in lives:
        live.half_close()
    plain, other, again = (transcripts(list(live.call)) for live in lives)
    assert plain == again == ["hello" * 10]
    assert other == ["ifmmp" * 10]


def test_an_unknown_model_is_refused_with_those_there_are(two: Serving, tapes: Any) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        heard(two, tapes, "a", model="whispering")
    assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
    assert refusal.value.details() == ("there is no model 'whispering'; there are: plain, next")


def test_a_language_that_another_model_speaks_names_it(two: Serving, tapes: Any) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        heard(two, tapes, "a", language_code="de-DE")
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "the model plain speaks only en-US; set model to next" in refusal.value.details()


def test_all_models_together_have_the_streams_of_the_server(two: Serving, tapes: Any) -> None:
    lives = [
        LiveStream(two.stub, start(linear16(model=name)), audio(said(tapes, "a_")), finalize())
        for name in ("plain", "next", "next")
    ]
    for live in lives:
        next(live.call)
    for name in ("plain", "next"):
        with pytest.raises(grpc.RpcError) as refusal:
            heard(two, tapes, "a_", model=name)
        assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "all 3 streams are taken" in refusal.value.details()
    for live in lives:
        live.half_close()
        list(live.call)
    assert heard(two, tapes, "ab_") == ["ab"]


def test_two_models_of_one_name_are_refused(tapes: Any) -> None:
    models = [version(tapes, "same", "1"), version(tapes, "same", "2")]
    with pytest.raises(ValueError, match=r"two models have the name same.*config\.json"):
        Models(models, Limits(), DecodingConfig(), ServerMetrics())


def test_a_stream_ends_with_the_model_that_it_began_with_which_is_then_forgotten(
    server_thread: Any, tapes: Any
) -> None:
    old = version(tapes, "tape", "old")
    network = weakref.ref(old.network)
    serving = Serving(server_thread([old]))
    models = serving.thread.server.models
    del old
    try:
        live = LiveStream(serving.stub, start(), audio(said(tapes, "abc__")), finalize())
        responses = [next(live.call)]
        new = version(tapes, "tape", "new", letters=1)
        assert serving.thread.run(models.replace([new])) == 1

        fresh = stream(serving.stub, start(), audio(said(tapes, "abc__")))
        assert transcripts(fresh) == ["bcd"]
        assert first_version(fresh) == ("tape", "new")
        assert network() is not None

        live.send(audio(said(tapes, "def__")))
        live.half_close()
        responses += list(live.call)
        assert transcripts(responses) == ["abc", "def"]
        assert first_version(responses) == ("tape", "old")

        # Nobody but the stream knew it, whose own memory goes with its call.
        del live
        assert until(lambda: gc.collect() >= 0 and network() is None)
        assert [model.digest for model in models.all] == ["new"]
    finally:
        serving.end()


def test_a_model_that_stays_is_not_disturbed_when_another_is_replaced(
    two: Serving, tapes: Any
) -> None:
    models = two.thread.server.models
    engines = {model.info.name: model.engine for model in models.all}
    stays = models.loaded[0]
    assert two.thread.run(models.replace([stays, version(tapes, "next", "3", letters=2)])) == 1
    assert models.choose("plain").engine is engines["plain"]
    assert models.choose("next").engine is not engines["next"]
    assert heard(two, tapes, "abc_", model="next") == ["cde"]
    assert heard(two, tapes, "abc_") == ["abc"]


def test_a_model_that_does_not_run_replaces_nothing(two: Serving, tapes: Any) -> None:
    models = two.thread.server.models

    class Broken(type(tapes.model)):  # type: ignore[misc]
        info = replace(tapes.model.info, name="plain")

        def step(self, samples: Any, state: Any) -> Any:
            raise ArithmeticError("shapes do not fit")

    broken = LoadedModel(Broken(), Decoding(Broken.info), "9")
    with pytest.raises(EngineStopped, match="shapes do not fit"):
        two.thread.run(models.replace([models.loaded[1], broken]))
    assert heard(two, tapes, "abc_") == ["abc"]
    assert heard(two, tapes, "abc_", model="next") == ["bcd"]
    assert is_serving(two)


def is_serving(serving: Serving) -> bool:
    with grpc.insecure_channel(serving.thread.server.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        status = health.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT).status
        return bool(status == health_pb2.HealthCheckResponse.SERVING)


def test_a_model_that_has_failed_is_begun_again_by_a_reload(server_thread: Any, tapes: Any) -> None:
    broken = version(tapes, "plain", "1")
    works = broken.network.step

    def fail(samples: Any, state: Any) -> Any:
        raise ArithmeticError("the memory is bad")

    serving = Serving(server_thread([broken], Limits(max_streams=3)))
    try:
        assert heard(serving, tapes, "abc_") == ["abc"]
        broken.network.step = fail  # type: ignore[method-assign]
        with pytest.raises(grpc.RpcError):
            heard(serving, tapes, "abc_")
        assert until(lambda: not is_serving(serving))
        broken.network.step = works  # type: ignore[method-assign]
        serving.thread.run(serving.thread.server.reload())
        assert is_serving(serving)
        assert heard(serving, tapes, "abc_") == ["abc"]
    finally:
        serving.end()


def test_the_default_can_go_and_streams_of_it_still_end_well(two: Serving, tapes: Any) -> None:
    models = two.thread.server.models
    live = LiveStream(two.stub, start(), audio(said(tapes, "abc__")), finalize())
    assert transcripts([next(live.call)]) == ["abc"]
    live.send(audio(said(tapes, "def__")))
    two.thread.run(models.replace([models.loaded[1]]))
    assert heard(two, tapes, "abc_") == ["bcd"]
    with pytest.raises(grpc.RpcError, match="there is: next"):
        heard(two, tapes, "abc_", model="plain")
    live.half_close()
    assert transcripts(list(live.call)) == ["def"]
