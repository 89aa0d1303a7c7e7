"""What a supervisor does when workers end, and when it is to end itself."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
from collections.abc import AsyncIterator

import pytest
from calls import until
from ossicle.service.client import (
    AsyncSpeechClient,
    Result,
    SpeechClient,
    UnavailableError,
)
from ossicle.service.workers.supervisor import Supervisor
from supervised import Workers, exists
from trouble import LINEAR16, STEPS, Trouble, cut, finals

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers need Linux")


def test_a_worker_is_killed_in_a_sentence_another_goes_on_and_it_is_replaced(
    victims: Workers, speech: bytes
) -> None:
    chunks = cut(speech * 2)
    with SpeechClient(victims.address) as client:
        undisturbed = list(client.stream(chunks, **LINEAR16, **STEPS))
    before = victims.metrics()
    answered = "ossicle_calls_total{code=OK,method=StreamingRecognize}"
    assert before[answered] == 1

    with SpeechClient(victims.address) as client:
        first = victims.worker_of(client.list_models().request_id)
        old = victims.pids()[first]
        trouble = Trouble(lambda: os.kill(old, signal.SIGKILL), words=6, before=40)
        results = []
        for result in client.stream(trouble.chunks(chunks), **LINEAR16, **STEPS):
            results.append(result)
            trouble.look_at(result)
    assert trouble.happened
    assert len({result.request_id for result in results}) == 2
    assert finals(results) == finals(undisturbed)

    assert until(lambda: victims.metrics()["ossicle_serving{}"] == 2, 60)
    assert victims.pids()[first] != old
    assert f"worker {first} has ended by signal 9; another is started" in victims.served.written()
    after = victims.metrics()
    assert after["ossicle_worker_restarts_total{}"] == 1
    for name in before:
        if "_total" in name or "_count" in name or "_bucket" in name:
            assert after[name] >= before[name], name
    assert after[answered] == 2


def test_what_a_worker_that_stands_still_was_doing_is_not_told(victims: Workers) -> None:
    assert victims.metrics()["ossicle_serving{}"] == 2
    still = victims.pids()[1]
    os.kill(still, signal.SIGSTOP)
    try:
        page = victims.metrics()
    finally:
        os.kill(still, signal.SIGCONT)
    assert page["ossicle_serving{}"] == 1
    assert page["ossicle_workers{}"] == 2
    assert until(lambda: victims.metrics()["ossicle_serving{}"] == 2, 20)
    assert victims.pids()[1] == still


def test_a_worker_that_cannot_be_started_now_is_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_file_is_left(*arguments: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("ossicle.service.workers.supervisor.WorkerProcess", no_file_is_left)
    supervisor = Supervisor(2, 1.0, print)
    supervisor._work = print
    with pytest.raises(OSError, match="Too many open files"):
        supervisor._start(1)  # there is no server yet that could serve on
    supervisor._serving = True
    supervisor._start(1)
    first = supervisor._due.pop(1)
    supervisor._start(1)
    assert supervisor._due[1] > first
    assert "worker 1 cannot be started: Too many open files; another is started in 0.5 s" in (
        caplog.text
    )


def test_sigterm_drains_all_workers(victims: Workers, speech: bytes) -> None:
    chunks = cut(speech)
    begun: set[int] = set()
    ended = asyncio.Event()

    async def spoken() -> AsyncIterator[bytes]:
        for chunk in chunks[:40]:
            yield chunk
        await ended.wait()

    async def one(number: int) -> list[Result]:
        results: list[Result] = []
        # Each over a connection of its own, so that both workers have some.
        async with AsyncSpeechClient(victims.address, resumption=None) as client:
            await client.list_models()
            try:
                async for result in client.stream(spoken(), **LINEAR16, **STEPS):
                    results.append(result)
                    begun.add(number)
                    if len(begun) == 8:
                        victims.served.process.terminate()
            except UnavailableError:
                return results
        raise AssertionError("the stream was not told of the end")

    async def converse() -> list[list[Result]]:
        outcomes = await asyncio.gather(*(one(number) for number in range(8)))
        ended.set()
        return outcomes

    for results in asyncio.run(converse()):
        assert results[-1].is_final
        assert results[-1].text
    assert victims.served.process.wait(30) == 0
    assert not any(exists(pid) for pid in victims.pids().values())


def test_workers_end_with_a_supervisor_that_was_killed(victims: Workers) -> None:
    pids = victims.pids()
    assert len(pids) == 2
    victims.served.kill()
    assert until(lambda: not any(exists(pid) for pid in pids.values()), 30)
