"""What goes wrong on networks and machines, with servers and clients as processes of their own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from calls import until
from ossicle.data.sample import sample_path
from ossicle.service.client import (
    AsyncSpeechClient,
    BusyError,
    Result,
    SpeechClient,
    TimedOutError,
    UnavailableError,
)
from processes import Served, serve, stop
from trouble import CHUNK, LINEAR16, STEPS, Trouble, cut, finals

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="stops servers by SIGTERM")


@pytest.fixture(scope="module")
def steady() -> Iterator[Served]:
    """A server that nothing happens to."""
    server = serve("--max-streams", "12")
    yield server
    assert stop(server) == 0


@pytest.fixture
def victim() -> Iterator[Served]:
    """A server that something happens to."""
    server = serve("--max-streams", "12")
    yield server
    server.kill()


@pytest.fixture
def small() -> Iterator[Served]:
    """A server that one stream fills."""
    server = serve("--max-streams", "1")
    yield server
    assert stop(server) == 0


def test_a_server_is_killed_in_a_sentence_and_another_goes_on(
    steady: Served, victim: Served, speech: bytes
) -> None:
    chunks = cut(speech * 2)
    trouble = Trouble(victim.kill, words=6, before=40)
    with SpeechClient(steady.address) as client:
        undisturbed = list(client.stream(chunks, **LINEAR16, **STEPS))
    results = []
    with SpeechClient([victim.address, steady.address]) as client:
        for result in client.stream(trouble.chunks(chunks), **LINEAR16, **STEPS):
            results.append(result)
            trouble.look_at(result)
    assert trouble.happened
    assert len({result.request_id for result in results}) == 2
    assert finals(results) == finals(undisturbed)


def test_a_server_is_killed_while_a_file_is_sent_to_it_asynchronously(
    steady: Served, victim: Served
) -> None:
    chunks = cut(sample_path().read_bytes(), 4000)
    trouble = Trouble(victim.kill, words=4, before=len(chunks) // 2)

    async def converse() -> tuple[list[Result], list[Result]]:
        async with AsyncSpeechClient(steady.address) as client:
            undisturbed = [result async for result in client.stream(chunks, **STEPS)]
        results = []
        async with AsyncSpeechClient(f"{victim.address},{steady.address}") as client:
            async for result in client.stream(trouble.chunks_async(chunks), **STEPS):
                results.append(result)
                trouble.look_at(result)
        return undisturbed, results

    undisturbed, results = asyncio.run(converse())
    assert trouble.happened
    assert finals(results) == finals(undisturbed)


def test_a_server_under_load_shuts_down_and_no_stream_loses_a_word(
    steady: Served, victim: Served, speech: bytes
) -> None:
    """Half of the streams are content with their last final, half go on at another server."""
    chunks = cut(speech)
    both = f"{victim.address},{steady.address}"
    begun: set[int] = set()
    told = asyncio.Event()

    async def spoken() -> AsyncIterator[bytes]:
        for chunk in chunks[:40]:
            yield chunk
        await told.wait()
        for chunk in chunks[40:]:
            yield chunk
            await asyncio.sleep(0.02)

    async def one(client: AsyncSpeechClient, number: int) -> tuple[list[Result], str]:
        results: list[Result] = []
        try:
            async for result in client.stream(spoken(), **LINEAR16, **STEPS):
                results.append(result)
                begun.add(number)
                if len(begun) == 8 and not told.is_set():
                    victim.process.terminate()
                    told.set()
        except UnavailableError as error:
            return results, error.message
        return results, ""

    async def converse() -> list[tuple[list[Result], str]]:
        async with (
            AsyncSpeechClient(steady.address) as calm,
            AsyncSpeechClient(both, resumption=None) as content,
            AsyncSpeechClient(both) as going_on,
        ):
            undisturbed = [result async for result in calm.stream(chunks, **LINEAR16, **STEPS)]
            streams = [one(content, n) for n in range(4)]
            streams += [one(going_on, n) for n in range(4, 8)]
            return [(undisturbed, ""), *await asyncio.gather(*streams)]

    (undisturbed, _), *outcomes = asyncio.run(converse())
    for results, message in outcomes[:4]:
        assert "shutting down" in message
        assert results[-1].is_final
        assert results[-1].text
    for results, message in outcomes[4:]:
        assert message == ""
        assert finals(results) == finals(undisturbed)
    assert victim.process.wait(30) == 0


def answered(server: Served) -> bool:
    """Whether the server has a slot to answer from."""
    try:
        with SpeechClient(server.address, resumption=None) as client:
            return bool(list(client.stream([bytes(CHUNK)], timeout=30.0, **LINEAR16)))
    except BusyError:
        return False


def answering_time(server: Served) -> float:
    began = time.monotonic()
    assert answered(server)
    return time.monotonic() - began


# It sends a recording, tells of the first result, and then stays and sends nothing.
CLIENT = """
import sys, time
from ossicle.data.sample import sample_path
from ossicle.service.client import SpeechClient

def chunks():
    yield sample_path().read_bytes()
    time.sleep(60)

with SpeechClient(sys.argv[1]) as client:
    for result in client.stream(chunks(), interim_results=True):
        print(result.text, flush=True)
"""


def test_the_slot_of_a_killed_client_is_free_within_a_second(small: Served) -> None:
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, small.address], stdout=subprocess.PIPE, text=True
    )
    try:
        assert client.stdout is not None
        assert client.stdout.readline()
        assert not answered(small)
    finally:
        client.kill()
        client.communicate()
    killed = time.monotonic()
    assert until(lambda: answered(small), 30)
    # The answer that proves it takes its time too.
    assert time.monotonic() - killed < 1.0 + answering_time(small)


def test_the_slot_of_a_stream_past_its_deadline_is_free_within_a_second(small: Served) -> None:
    leave = threading.Event()

    def endless() -> Iterator[bytes]:
        while not leave.wait(0.05):
            yield bytes(CHUNK)

    with SpeechClient(small.address) as client:
        with pytest.raises(TimedOutError, match="within the timeout"):
            list(client.stream(endless(), timeout=1.0, **LINEAR16))
        expired = time.monotonic()
        assert until(lambda: answered(small), 30)
        assert time.monotonic() - expired < 1.0 + answering_time(small)
    leave.set()


def test_a_clock_that_jumps_moves_no_deadline(
    steady: Served, speech: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of the wall is set a day ahead, or back, in the midst of a stream."""
    really = time.time
    hours = 0.0
    monkeypatch.setattr(time, "time", lambda: really() + 3600 * hours)

    def spoken() -> Iterator[bytes]:
        nonlocal hours
        for number, chunk in enumerate(cut(speech)):
            hours = {20: 24.0, 40: -24.0}.get(number, hours)
            yield chunk

    with SpeechClient(steady.address) as client:
        results = list(client.stream(spoken(), timeout=60.0, **LINEAR16))
    assert results[-1].is_final
    assert any(result.text for result in results)
