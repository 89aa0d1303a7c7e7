"""The command ``ossicle demo``: the whole path once, on the bundled recording.

A server is started as a process of its own, the recording is streamed to it at the pace at which it
was spoken, the same file is transcribed without the server, and both are compared with what was
really said.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import IO

from ossicle.data.signals import heeded
from ossicle.model.commands.options import ModelOption
from ossicle.service.commands.live_text import LiveText
from ossicle.service.commands.options import local_model
from ossicle.service.commands.output import complain, errors_in_one_line
from ossicle.service.commands.stream import show, spoken_now, stream_samples
from ossicle.service.environment import without_settings

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0


class DemoError(RuntimeError):
    """A part of the demonstration did not do what it should."""


def demo_command(
    model: ModelOption = None,
) -> None:
    """Start a server, stream a bundled recording to it, and compare with what was said.

    Example: `ossicle demo --model models/tiny`
    """
    from ossicle.data.sample import sample_path, sample_text
    from ossicle.model.runtime import ModelError, find_model
    from ossicle.service.client import OssicleError, SpeechClient
    from ossicle.service.formats import Transcript
    from ossicle.service.transcribe import transcribe

    with errors_in_one_line(DemoError, ModelError, OssicleError, OSError):
        folder = find_model(model)
        recording = sample_path()
        with _server(os.fspath(folder)) as address, SpeechClient(address) as client:
            print(f"server at {address}; streaming {recording.name} as fast as it was spoken\n")
            text = LiveText(sys.stdout, partial_lines=True)
            with spoken_now(recording) as chunks:
                finals = show(stream_samples(client, chunks), text)
        streamed = " ".join(final.text for final in finals if final.text)

        print("\nthe same file without the server")
        began = time.monotonic()
        (outcome,) = transcribe([recording], *local_model(os.fspath(folder)))
        if not isinstance(outcome, Transcript):
            raise DemoError(f"{outcome.file}: {outcome.message}")
        speed = outcome.duration / (time.monotonic() - began)
        print(f"{outcome.duration:.1f} s of audio, {speed:.0f} times as fast as it was spoken\n")
        _compare(sample_text(), {"streamed": streamed, "in process": outcome.text})


def _compare(reference: str, hypotheses: dict[str, str]) -> None:
    """Print texts with their word and character error rates."""
    import jiwer

    print(f"{'said':>10}  {reference}")
    for name, hypothesis in hypotheses.items():
        wer = jiwer.wer(reference, hypothesis)
        cer = jiwer.cer(reference, hypothesis)
        print(f"{name:>10}  {hypothesis}")
        print(f"{'':>10}  word error rate {wer:.1%}, character error rate {cer:.1%}")


@contextmanager
def _server(model: str) -> Iterator[str]:
    """The address of a server that runs meanwhile and is shut down afterwards.

    Raises:
        DemoError: it did not start, or did not end in order.
    """
    port = _free_port()
    address = f"127.0.0.1:{port}"
    command = [sys.executable, "-m", "ossicle.service.cli", "serve"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--model", model],
            stdout=log,
            stderr=log,
            env=without_settings(),
        )
        try:
            with heeded(("SIGTERM", "SIGHUP"), _leave):
                _wait_until_serving(process, address, log)
                yield address
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                complain(f"the server did not stop within {_STOP_SECONDS:.0f} s")
        # Windows ends a process at once, with a code of its own; elsewhere it is asked to end.
        if process.returncode != 0 and os.name != "nt":
            raise DemoError(f"the server ended with code {process.returncode}: {_tail(log)}")


def _leave(number: int, frame: FrameType | None) -> None:
    """Answer what asks this process to end by an exception, so that no server is left behind."""
    raise SystemExit(128 + number)


def _wait_until_serving(process: subprocess.Popen[bytes], address: str, log: IO[str]) -> None:
    from ossicle.service.client import SpeechClient, TimedOutError, UnavailableError

    deadline = time.monotonic() + _START_SECONDS
    with SpeechClient(address) as client:
        while True:
            if process.poll() is not None:
                raise DemoError(f"the server did not start: {_tail(log)}")
            try:
                if client.health(timeout=1.0):
                    return
            except (UnavailableError, TimedOutError):
                pass
            if time.monotonic() > deadline:
                raise DemoError(f"the server was not ready after {_START_SECONDS:.0f} s")
            time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tail(log: IO[str]) -> str:
    log.seek(0)
    return " | ".join(log.read().strip().splitlines()[-5:]) or "it printed nothing"
