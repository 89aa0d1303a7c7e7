"""The command `mic`, with a stand-in for the sound card: few machines of tests have a voice."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np
import pytest
from ossicle.data.audio import read_audio
from ossicle.data.pcm import to_linear16
from ossicle.data.replacing import replacing
from ossicle.data.sample import sample_path
from ossicle.service.cli import app
from ossicle.service.commands.mic import _kept, stop_at_interrupt
from ossicle.service.microphone import caption_file
from ossicle.service.microphone.caption_file import CaptionFile
from ossicle.service.microphone.level import LevelMeter
from ossicle.service.microphone.sound_card import Microphone
from ossicle.service.server import SpeechServer
from ossicle.service.values import Alternative, Finalize, ModelDescription, Result, Word
from typer.testing import CliRunner

runner = CliRunner()


class PortAudioError(Exception):
    pass


class SpeakingMicrophone:
    """Speaks the bundled recording at once, and then the user presses Ctrl-C."""

    ending = signal.SIGINT

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
        assert (channels, dtype, blocksize) == (1, "int16", samplerate // 10)
        self._hold = 48_000 // samplerate
        self._blocksize = blocksize
        self._callback = callback
        self._ends = device == "unplugged"

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
        samples = np.repeat(read_audio(sample_path()), 3)[:: self._hold]
        for start in range(0, len(samples), self._blocksize):
            block = to_linear16(samples[start : start + self._blocksize])
            self._callback(memoryview(block), len(block) // 2, None, None)
        if self._ends:
            return
        threading.Timer(0.1, os.kill, (os.getpid(), self.ending)).start()
        # Silence goes on, as it does in a room.
        for _ in range(4):
            threading.Event().wait(0.1)
            self._callback(memoryview(bytes(2 * self._blocksize)), self._blocksize, None, None)


DEVICES = [
    {"index": 0, "name": "Speaker", "max_input_channels": 0, "default_samplerate": 48_000.0},
    {"index": 1, "name": "Headset", "max_input_channels": 1, "default_samplerate": 48_000.0},
    {"index": 2, "name": "Built-in", "max_input_channels": 2, "default_samplerate": 44_100.0},
]


def query_devices(device: str | None = None, kind: str | None = None) -> Any:
    return DEVICES if device is None else DEVICES[1]


def check_input_settings(*, device: int | str | None, **settings: Any) -> None:
    if device == "Jack":
        raise ValueError("No input device matching 'Jack'")
    if device == 7:
        raise ValueError("Error querying device 7")
    if device == "Headset":
        raise PortAudioError("Invalid sample rate")


@pytest.fixture(autouse=True)
def _sound_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSSICLE_SERVER", raising=False)
    module = ModuleType("sounddevice")
    default = ModuleType("default")
    default.device = (2, 0)  # type: ignore[attr-defined]
    for name, value in {
        "PortAudioError": PortAudioError,
        "RawInputStream": SpeakingMicrophone,
        "query_devices": query_devices,
        "check_input_settings": check_input_settings,
        "default": default,
    }.items():
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "sounddevice", module)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_ctrl_c_ends_the_recording_and_what_was_said_is_still_printed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = getattr(signal, name)
    monkeypatch.setattr(SpeakingMicrophone, "ending", ending)
    before = signal.signal(ending, signal.default_int_handler)  # nohup ignores one of them
    try:
        result = runner.invoke(app, ["mic"])
        assert signal.getsignal(ending) is signal.default_int_handler
    finally:
        signal.signal(ending, before)
    assert (result.exit_code, result.stderr) == (0, "")
    assert len(result.stdout.strip()) > 10


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_at_interrupt() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.wait(0.1)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("device", ["Jack", "7"])
def test_a_device_that_is_not_there_is_named_with_the_remedy(device: str) -> None:
    result = runner.invoke(app, ["mic", "--device", device])
    assert result.exit_code == 3
    assert f"microphone '{device}'" in result.stderr
    assert "ossicle mic --list-devices" in result.stderr
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


def test_a_device_that_cannot_do_our_rate_is_heard_at_its_own() -> None:
    heard = [runner.invoke(app, ["mic", *more]).stdout for more in ([], ["--device", "Headset"])]
    same = len(set(heard[0].split()) & set(heard[1].split()))
    assert same > 0.6 * len(set(heard[0].split()))


def test_a_microphone_of_another_rate_that_never_sends_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(SpeakingMicrophone, "_speak", lambda self: None)
    monkeypatch.setattr("ossicle.service.microphone.sound_card._SILENT_SECONDS", 0.3)
    result = runner.invoke(app, ["mic", "--device", "Headset"])
    assert result.exit_code == 3
    assert "the microphone stopped sending; check its connection" in result.stderr


def test_what_was_said_before_the_device_was_unplugged_is_not_lost() -> None:
    result = runner.invoke(app, ["mic", "--device", "unplugged"])
    assert result.exit_code == 3
    assert "every day" in result.stdout
    assert result.stderr == "error: the microphone stopped sending; check its connection\n"


def test_the_devices_are_listed_with_what_to_choose_them_by() -> None:
    result = runner.invoke(app, ["mic", "--list-devices"])
    assert result.exit_code == 0
    rows = [line.split("│")[1:-1] for line in result.stdout.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["1", "Headset", "1", "48000 Hz", ""],
        ["2", "Built-in", "2", "44100 Hz", "default"],
    ]


@pytest.mark.parametrize("by_server", [False, True])
def test_what_is_said_is_written_with_times(
    by_server: bool, tmp_path: Path, server: SpeechServer
) -> None:
    output = tmp_path / "talk.json"
    more = ["--server", server.address] if by_server else []
    result = runner.invoke(app, ["mic", "--output", str(output), *more])
    assert result.exit_code == 0
    document = json.loads(output.read_text("utf-8"))
    assert [segment["text"] for segment in document["segments"]] == result.stdout.splitlines()
    words = [word for segment in document["segments"] for word in segment["words"]]
    assert words[0]["word"] == "every"
    assert 0 < words[0]["start"] < words[-1]["end"] < 11
    assert result.stderr == f"written to {output}\n"


@pytest.mark.parametrize(
    ("name", "message"), [("old.srt", "exists"), ("talk.doc", ".txt, .json, .srt, .vtt, .tsv")]
)
def test_a_file_that_cannot_be_written_is_told_before_anything_is_said(
    name: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "old.srt").write_text("what was said before")
    result = runner.invoke(app, ["mic", "--output", str(tmp_path / name)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert (tmp_path / "old.srt").read_text() == "what was said before"


@pytest.mark.parametrize("failures", [1, 2, 100])
def test_a_full_disk_does_not_end_what_is_being_said(
    failures: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    output = tmp_path / "talk.txt"
    captions = CaptionFile(output, ModelDescription("m", "", ("en",), 16_000, 0.16, 0.04, ()))
    left = iter(range(failures))

    @contextmanager
    def full(path: Path) -> Iterator[Path]:
        if next(left, None) is not None:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        with replacing(path) as part:
            yield part

    monkeypatch.setattr(caption_file, "replacing", full)
    finals = []
    for number, text in enumerate(("one", "two", "three")):
        reading = Alternative(text, 0.9, (Word(text, number, number + 1.0),))
        finals.append(
            Result(text, True, number + 1.0, 0.9, 0.0, reading.words, (reading,), 0.0, "")
        )
    assert list(_kept(finals, captions)) == finals
    assert capsys.readouterr().err.count("No space left on device") == 1
    if failures < 3:
        assert captions.failure is None
        assert output.read_text() == "one\ntwo\nthree\n"
    else:
        assert captions.failure is not None
        assert output.read_text() == ""


def test_captions_that_could_not_be_written_are_told_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "talk.txt"
    written = CaptionFile._write

    def write(self: CaptionFile) -> None:
        if self._segments:
            raise OSError(errno.ENOSPC, "No space left on device", str(output))
        written(self)

    monkeypatch.setattr(CaptionFile, "_write", write)
    result = runner.invoke(app, ["mic", "--output", str(output)])
    assert result.exit_code == 1
    assert "every day" in result.stdout
    assert result.stderr.splitlines()[-1] == f"error: {output}: No space left on device"


def test_devices_are_listed_by_their_names_whatever_is_in_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for place, name in ((1, "USB Audio [hw:1,0]"), (2, "Line [/dev/x]")):
        monkeypatch.setitem(DEVICES[place], "name", name)
    result = runner.invoke(app, ["mic", "--list-devices"])
    assert result.exit_code == 0
    assert "USB Audio [hw:1,0]" in result.stdout
    assert "Line [/dev/x]" in result.stdout


def test_a_request_for_a_final_comes_after_what_was_recorded_before_it() -> None:
    stop = threading.Event()

    def until_it_is_asked_for(chunks: Iterator[bytes | Finalize]) -> int:
        before = 0
        for chunk in chunks:
            if isinstance(chunk, Finalize):
                stop.set()
                return before
            before += len(chunk)
        raise AssertionError("never")

    with Microphone("unplugged") as microphone:
        microphone._stream._thread.join(10)
        microphone.finalize()
        assert until_it_is_asked_for(microphone.chunks(stop)) == 2 * len(read_audio(sample_path()))


def test_the_level_follows_the_peaks_and_falls_slowly() -> None:
    meter = LevelMeter()
    assert (meter.bar(True), meter.bar(False)) == (" " * 12, " " * 12)
    loud, quiet = (np.full(1600, peak, "<i2").tobytes() for peak in (32767, 33))
    meter.add(quiet)
    assert meter.level == pytest.approx(-60, abs=0.1)
    meter.add(loud)
    assert meter.bar(True) == "█" * 12
    assert (meter.bar(False), meter.style) == ("#" * 12, "31")
    meter.add(quiet)
    assert meter.level == pytest.approx(-3, abs=0.01)
    assert meter.bar(False) == "#" * 11 + " "
    assert len(meter.bar(True)) == 12


def test_a_microphone_that_gives_nothing_at_all_is_noticed() -> None:
    meter = LevelMeter()
    for chunk in (bytes(3200), bytes(3200), np.full(1600, -40, "<i2").tobytes(), bytes(3200)):
        meter.add(chunk)
    assert meter.silent_chunks == 1
