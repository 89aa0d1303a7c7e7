"""The programs in examples/ do what they say, run as a reader would run them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ossicle.data.audio import read_audio
from ossicle.data.sample import sample_path
from ossicle.model.decoding.decoders import Decoding
from ossicle.model.runtime import AcousticModel
from ossicle.service import Recognizer
from ossicle.service.server import SpeechServer
from ossicle.service.web.config import WebConfig
from recipes import Recipe, encode

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(name: str, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def text() -> str:
    """What is heard in the bundled recording."""
    with Recognizer(threads=1) as recognizer:
        return recognizer.recognize(sample_path()).text


def test_a_file(text: str, tmp_path: Path) -> None:
    first, *words = run("transcribe_file.py", sample_path()).stdout.splitlines()
    assert first == text
    assert [line.split()[3] for line in words] == text.split()
    assert "missing.flac" in run("transcribe_file.py", tmp_path / "missing.flac", code=1).stderr


def test_live_captions(text: str) -> None:
    shown = run("live_captions.py", sample_path()).stdout.split("\x1b[K")
    assert shown[-1] == f"{text}\n"
    assert len(shown) > 10


def test_several_files_through_a_server(text: str, server: SpeechServer, tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"nothing to hear")
    lines = run("async_client.py", server.address, sample_path(), broken, sample_path()).stdout
    first, second, third = lines.splitlines()
    assert first == third == f"{sample_path()}: {text}"
    assert second.startswith(f"{broken}: failed: this is no audio we know")


def test_captions_of_a_film(text: str, tmp_path: Path) -> None:
    film = tmp_path / "film.mkv"
    speech = np.rint(read_audio(sample_path()) * 32768).astype(np.int16)
    encode(speech, Recipe("matroska", "flac"), film)
    run("video_captions.py", film)
    captions = film.with_suffix(".vtt").read_text(encoding="utf-8")
    assert captions.startswith("WEBVTT\n")
    spoken = [line for line in captions.splitlines() if line and not re.match(r"\d|WEBVTT", line)]
    assert " ".join(spoken) == text


def test_phrases(text: str) -> None:
    with Recognizer(threads=1) as recognizer:
        (segment,) = recognizer.recognize(sample_path(), alternatives=2).segments
    second = segment.alternatives[1].text
    printed = run("phrases.py", sample_path(), second).stdout.splitlines()
    heard = dict(line.split("\t", 1) for line in printed if not line.startswith("or"))
    assert list(heard) == ["without", "boost 5", "boost 10", "boost 20"]
    assert (heard["without"], heard["boost 10"]) == (text, second)
    assert len(printed) > len(heard)


def test_a_batch_with_a_file_that_cannot_be_read(text: str, tmp_path: Path) -> None:
    done = run("batch.py", tmp_path / "texts", sample_path(), tmp_path / "missing.wav", code=1)
    assert (tmp_path / "texts" / "luigi.txt").read_text(encoding="utf-8").strip() == text
    assert "missing.wav: No such file" in done.stderr


def test_a_websocket(
    text: str, model: AcousticModel, decoding: Decoding, serve: Any, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"nothing to hear")
    with serve(model, decoding=decoding, web=WebConfig(0)) as server:
        url = f"ws://127.0.0.1:{server.web_port}/v1/stream"
        assert run("websocket_client.py", url, sample_path()).stdout == f"{text}\n"
        assert "no audio we know" in run("websocket_client.py", url, broken, code=1).stderr


def test_every_example_is_run() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    for example in EXAMPLES.glob("*.py"):
        assert f'run("{example.name}"' in source
