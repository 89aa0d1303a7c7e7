"""The command `mic`, with a stand-in for the sound card: no machine of the tests has a voice."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import ModuleType, TracebackType

import pytest
from ossicle.data.audio import read_audio
from ossicle.data.pcm import to_linear16
from ossicle.data.sample import sample_path
from ossicle.service.cli import app
from ossicle.service.server import SpeechServer
from typer.testing import CliRunner

runner = CliRunner()


class PortAudioError(Exception):
    pass


class SpeakingMicrophone:
    """Speaks the bundled recording at once, and then the user presses Ctrl-C."""

    def __init__(
        self,
        *,
        samplerate: int,
        channels: int,
        dtype: str,
        blocksize: int,
        device: int | str | None,
        callback: Callable[[object, int, object, object], None],
    ) -> None:
        assert (samplerate, channels, dtype) == (16_000, 1, "int16")
        if device == "Jack":
            raise ValueError("No input device matching 'Jack'")
        if device == 7:
            raise PortAudioError("Error querying device 7")
        self._blocksize = blocksize
        self._callback = callback

    def __enter__(self) -> SpeakingMicrophone:
        self._thread = threading.Thread(target=self._speak)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.join()

    def _speak(self) -> None:
        samples = read_audio(sample_path())
        for start in range(0, len(samples), self._blocksize):
            block = to_linear16(samples[start : start + self._blocksize])
            self._callback(memoryview(block), len(block) // 2, None, None)
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
        # Silence goes on, as it does in a room.
        for _ in range(15):
            threading.Event().wait(0.1)
            self._callback(memoryview(bytes(2 * self._blocksize)), self._blocksize, None, None)


@pytest.fixture(autouse=True)
def _sound_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSSICLE_SERVER", raising=False)
    module = ModuleType("sounddevice")
    module.PortAudioError = PortAudioError  # type: ignore[attr-defined]
    module.RawInputStream = SpeakingMicrophone  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sounddevice", module)


def test_ctrl_c_ends_the_recording_and_what_was_said_is_still_printed() -> None:
    before = signal.getsignal(signal.SIGINT)
    result = runner.invoke(app, ["mic"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert len(result.stdout.strip()) > 10
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("device", ["Jack", "7"])
def test_a_device_that_is_not_there_is_named_with_the_remedy(device: str) -> None:
    result = runner.invoke(app, ["mic", "--device", device])
    assert result.exit_code == 3
    assert f"microphone '{device}'" in result.stderr
    assert "python -m sounddevice" in result.stderr
    assert result.stderr.count("\n") == 1


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    result = runner.invoke(app, ["mic"])
    assert result.exit_code == 3
    assert "pip install 'ossicle[mic]'" in result.stderr


def test_a_server_transcribes_the_microphone(server: SpeechServer) -> None:
    result = runner.invoke(app, ["mic", "--server", server.address])
    assert (result.exit_code, result.stderr) == (0, "")
    assert len(result.stdout.strip()) > 10


def test_a_server_that_is_not_there_is_an_error_of_one_line() -> None:
    result = runner.invoke(app, ["mic", "--server", "127.0.0.1:1"])
    assert result.exit_code == 1
    assert "127.0.0.1:1" in result.stderr
