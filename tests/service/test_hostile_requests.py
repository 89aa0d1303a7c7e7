"""Hostile calls end with a proper status, and the server goes on as if there had been none.

`tests/bench/fuzz.py` makes as many as one likes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hostile_client import HostileClient
from hostile_requests import HostileRequests
from ossicle.data.sample import sample_path
from ossicle.service.client import SpeechClient
from processes import Served, serve, stop


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    server = serve("--max-streams", "16", "--idle-timeout-seconds", "2", "--decoder", "greedy")
    yield server
    assert stop(server) == 0


def test_calls_are_the_same_for_a_seed_and_of_every_kind() -> None:
    requests, again = HostileRequests(), HostileRequests()
    calls = [requests.call(seed) for seed in range(200)]
    assert calls == [again.call(seed) for seed in range(200)]
    assert len({call.path for call in calls}) > 5
    assert any(call.leaves for call in calls)


def test_hostile_calls_end_with_a_proper_status(served: Served) -> None:
    with SpeechClient(served.address) as client:
        said = client.recognize(sample_path()).text
        hostile = HostileClient(served.address)
        asyncio.run(hostile.run(range(500)))
        assert hostile.improper == []
        assert sum(hostile.ends.values()) == 500
        assert {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED"} <= set(hostile.ends)
        assert client.recognize(sample_path()).text == said
    log = served.written()
    assert "call ended" in log
    assert " ERROR " not in log
    assert "Traceback" not in log
