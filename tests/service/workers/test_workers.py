"""Several processes on one port: what they share, and what a client sees of them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from calls import TIMEOUT, until
from ossicle.service.client import BusyError, Finalize, SpeechClient
from processes import COMMAND, serve, stop
from supervised import Workers
from trouble import CHUNK, LINEAR16

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers need Linux")


class Occupants:
    """Streams that hold a slot each until they are told to leave."""

    def __init__(self) -> None:
        self._leave = threading.Event()
        self._streams: list[Iterator[object]] = []

    def __enter__(self) -> Occupants:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave.set()
        for stream in self._streams:
            list(stream)

    def open(self, client: SpeechClient) -> None:
        """Returns when the stream has been answered.

        Raises:
            BusyError: there is no room.
        """
        stream = client.stream(self._chunks(), **LINEAR16)
        next(stream)
        self._streams.append(stream)

    def forget(self) -> None:
        """They are not asked how they end."""
        self._streams.clear()

    def _chunks(self) -> Iterator[bytes | Finalize]:
        yield bytes(CHUNK)
        yield Finalize()
        self._leave.wait(60)


def test_the_server_says_how_many_processes_share_what(workers: Workers) -> None:
    banner = workers.served.banner
    assert re.search(r"^workers +2$", banner, re.MULTILINE)
    assert re.search(r"^threads +\d+ in each$", banner, re.MULTILINE)
    assert "--max-streams 4 " in banner
    with SpeechClient(workers.address) as client:
        assert client.list_models().limits.max_streams == 4
    assert workers.metrics()["ossicle_limit{limit=max_streams}"] == 4


def test_health_is_told_on_both_ports(workers: Workers) -> None:
    port = re.search(r"in clear text on port (\d+)", workers.served.banner)
    assert port
    for address in (workers.address, f"127.0.0.1:{port[1]}"):
        with SpeechClient(address) as client:
            assert client.health()


def test_the_web_page_is_served_by_all(workers: Workers) -> None:
    page = re.search(r"^page +(http\S+)$", workers.served.banner, re.MULTILINE)
    assert page
    for _ in range(6):  # over a connection each
        with urllib.request.urlopen(page[1], timeout=TIMEOUT) as response:
            assert b"<html" in response.read()


def test_sighup_reaches_all(workers: Workers) -> None:
    workers.served.process.send_signal(signal.SIGHUP)
    for number in (0, 1):
        line = re.compile(rf"reloaded changed=0 .*worker={number}$", re.MULTILINE)
        assert until(lambda line=line: bool(line.search(workers.served.written())))


def test_one_client_fills_all_processes_and_then_is_refused(workers: Workers) -> None:
    with SpeechClient(workers.address) as client, Occupants() as occupants:
        for _ in range(4):
            occupants.open(client)
        page = workers.metrics()
        (active,) = (page[name] for name in page if name.startswith("ossicle_streams_active"))
        assert active == page["ossicle_stream_slots{}"] == 4
        assert page["ossicle_serving{}"] == 2
        with pytest.raises(BusyError) as refused:
            occupants.open(client)
        assert refused.value.retry_after
        assert refused.value.processes == 2
        with pytest.raises(BusyError):
            client.recognize(bytes(CHUNK), **LINEAR16)
    with SpeechClient(workers.address) as client:
        assert until(lambda: not client.recognize(bytes(CHUNK), **LINEAR16).text)
    page = workers.metrics()
    assert page["ossicle_refused_total{reason=no_free_slot}"] >= 2
    answered = "ossicle_calls_total{code=OK,method=StreamingRecognize}"
    assert until(lambda: workers.metrics()[answered] >= 4)


def test_a_recording_finds_the_process_with_room(workers: Workers) -> None:
    with SpeechClient(workers.address) as client, Occupants() as occupants:
        for _ in range(3):
            occupants.open(client)
        served = 0
        for _ in range(4):
            with SpeechClient(workers.address) as newcomer, suppress(BusyError):
                served += bool(newcomer.recognize(bytes(CHUNK), **LINEAR16).request_id)
    # Eight connections all meet the full process once in 256 times.
    assert served >= 3


def test_what_a_token_may_use_is_counted_over_all_processes(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.json"
    added = subprocess.run(
        [*COMMAND, "token", "add", "kiosk", "--max-streams", "3", "--tokens", str(tokens)],
        capture_output=True,
        text=True,
        check=True,
    )
    token = added.stdout.strip().splitlines()[-1].split()[-1]
    served = serve("--workers", "2", "--max-streams", "24", "--tokens", str(tokens))
    workers = Workers(served)
    with ExitStack() as stack, Occupants() as occupants:

        def client() -> SpeechClient:
            return stack.enter_context(SpeechClient(served.address, token=token, resumption=None))

        for _ in range(3):
            occupants.open(client())
        for _ in range(6):  # over connections of their own, so to both processes
            with pytest.raises(BusyError, match="token kiosk has 3 streams open"):
                occupants.open(client())
    with SpeechClient(served.address, token=token, resumption=None) as one, Occupants() as lost:
        used = workers.worker_of(one.list_models().request_id)
        for _ in range(3):
            lost.open(one)
        os.kill(workers.pids()[used], signal.SIGKILL)
        lost.forget()
    with SpeechClient(served.address, token=token) as two, Occupants() as others:

        def room() -> bool:
            try:
                others.open(two)
            except BusyError:
                return False
            return True

        assert until(room, 30)
    assert stop(served) == 0


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--max-streams", "1"], 2, "--max-streams is 1, less than --workers 2"),
        (["--model", "nowhere"], 1, "there is no model 'nowhere'"),
        (["--host", "0.0.0.0"], 2, "--insecure"),
    ],
)
def test_what_stops_a_server_from_starting_is_said_once(
    options: list[str], code: int, words: str
) -> None:
    run = subprocess.run(
        [*COMMAND, "serve", "--port", "0", "--workers", "2", *options],
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert (run.returncode, run.stdout) == (code, "")
    assert run.stderr.count("error: ") == 1
    assert words in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("other", [["--workers", "2"], []])
def test_a_port_of_workers_is_taken_for_others(workers: Workers, other: list[str]) -> None:
    port = workers.address.rpartition(":")[2]
    run = subprocess.run(
        [*COMMAND, "serve", "--port", port, *other], capture_output=True, text=True, timeout=110
    )
    assert (run.returncode, run.stdout) == (1, "")
    (error,) = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert workers.address in error
