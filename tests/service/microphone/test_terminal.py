"""`ossicle mic` on a real terminal, with a loopback of PulseAudio as the microphone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ossicle.data.audio import read_audio
from ossicle.data.sample import sample_path
from ossicle.service.server import SpeechServer
from recordings_on_disk import write_wav

TOOLS = ("tmux", "pulseaudio", "pactl", "paplay")
_PATIENCE = 60.0


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment of programs that hear what `paplay` plays."""
    for tool in TOOLS:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    home = tmp_path_factory.mktemp("sound")
    (home / ".asoundrc").write_text("pcm.!default pulse\nctl.!default pulse\n")
    environment = {
        **os.environ,
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "PULSE_RUNTIME_PATH": str(home / "pulse"),
        "PULSE_SOURCE": "speech.monitor",
        "LC_ALL": "C.UTF-8",
        "TERM": "xterm-256color",
    }
    for unwanted in ("NO_COLOR", "COLUMNS", "LINES", "TMUX", "OSSICLE_SERVER", "PULSE_SERVER"):
        environment.pop(unwanted, None)
    null_sink = "module-null-sink sink_name=speech rate=16000 channels=1"
    daemon = subprocess.Popen(
        [
            *("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"),
            *("-L", "module-native-protocol-unix", "-L", null_sink),
        ],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: run(["pactl", "info"], environment).returncode == 0)
        probe = [sys.executable, "-c", "import sounddevice as s; s.check_input_settings('pulse')"]
        if (listed := run(probe, environment)).returncode:
            pytest.skip(f"PortAudio does not reach PulseAudio: {listed.stderr.strip()[-200:]}")
        yield environment
    finally:
        daemon.terminate()
        daemon.wait(10)


def run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def until(true: Callable[[], bool]) -> None:
    """Wait for what only a look tells."""
    give_up = time.monotonic() + _PATIENCE
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.1)


@dataclass
class Session:
    """`ossicle mic` in a window of tmux."""

    socket: Path
    environment: dict[str, str]

    def tmux(self, *arguments: str) -> str:
        command = ["tmux", "-S", str(self.socket), *arguments]
        done = run(command, self.environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def screen(self) -> list[str]:
        return self.tmux("capture-pane", "-p").rstrip("\n").split("\n")

    def until(self, true: Callable[[list[str]], bool]) -> list[str]:
        """The first screen of which that is true."""
        screens: list[list[str]] = []

        def look() -> bool:
            screens[:] = [self.screen()]
            return true(screens[0])

        try:
            until(look)
        except AssertionError:
            pytest.fail("never seen on:\n" + "\n".join(screens[0]))
        return screens[0]


@pytest.fixture
def start(sound: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Session]]:
    session = Session(tmp_path / "tmux", sound)

    def begin(*arguments: str, width: int = 80) -> Session:
        command = f"{sys.executable} -m ossicle.service.cli mic {' '.join(arguments)}"
        size = ["-x", str(width), "-y", "24"]
        # The window outlives the command, with its exit code on the screen.
        session.tmux("-f", "/dev/null", "new-session", "-d", *size, f"{command}; echo code $?; cat")
        session.until(lambda screen: "ctrl-c: stop" in screen[-1])
        return session

    yield begin
    session.tmux("kill-server")


@pytest.fixture
def say(sound: dict[str, str], tmp_path: Path) -> Callable[[float], None]:
    def play(seconds: float) -> None:
        samples = read_audio(sample_path())[: round(seconds * 16_000)]
        path = write_wav(tmp_path / "said.wav", samples)
        assert run(["paplay", str(path)], sound).returncode == 0

    return play


@pytest.mark.parametrize("by_server", [False, True], ids=["in process", "by a server"])
def test_words_are_rewritten_in_place_and_scroll_up_when_enter_makes_them_final(
    by_server: bool,
    start: Callable[..., Session],
    say: Callable[[float], None],
    server: SpeechServer,
    tmp_path: Path,
) -> None:
    captions = tmp_path / "captions.srt"
    more = ["--server", server.address] if by_server else []
    session = start("--output", str(captions), *more)
    (before,) = session.screen()
    assert re.fullmatch(r"● 0:\d\d ▕ {12}▏  enter: end the sentence  ctrl-c: stop", before)

    say(3.0)
    screen = session.until(lambda screen: screen[0].endswith("…"))
    assert screen[0].startswith("every day")
    assert "▕█" in screen[-1]

    session.tmux("send-keys", "Enter")
    final, _status = session.until(lambda screen: len(screen) == 2 and "…" not in screen[0])
    assert final.startswith("every day")

    session.tmux("send-keys", "C-c")
    screen = session.until(lambda screen: "code" in screen[-1])
    assert (screen[0], screen[-1]) == (final, "code 0")
    assert "".join(screen[1:-1]) == f"written to {captions}"
    cue, times, *text = captions.read_text("utf-8").splitlines()
    assert (cue, " ".join(text)) == ("1", final)
    assert re.fullmatch(r"00:00:\d\d,\d{3} --> 00:00:\d\d,\d{3}", times)


def test_a_narrow_window_shows_whole_words_and_what_of_the_status_fits(
    start: Callable[..., Session], say: Callable[[float], None]
) -> None:
    session = start(width=80)
    session.tmux("resize-window", "-x", "30")
    say(5.0)
    session.until(lambda screen: len(screen) > 2 and screen[-2].endswith("…"))
    session.tmux("send-keys", "C-c")
    screen = session.until(lambda screen: "code 0" in screen[-1])
    words = " ".join(screen[:-1]).split()
    assert words[:2] == ["every", "day"]
    assert len(screen) > 2
    assert all(len(line) < 30 for line in screen)
