"""Every command through a server that is a process of its own, encrypted and with tokens."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import wave
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from certificates import Certificates
from ossicle.data.audio import read_audio, stream_audio
from ossicle.data.pcm import to_linear16
from ossicle.data.sample import sample_path, sample_text
from ossicle.service.cli import app
from ossicle.service.client import SpeechClient, Tls
from ossicle.service.client.errors import AuthenticationError, InvalidRequestError
from ossicle.service.microphone import sound_card
from ossicle.service.values import SpeechContext
from processes import COMMAND, Served, serve
from typer.testing import CliRunner

LISTENING = ["transcribe", "stream", "mic"]
runner = CliRunner()


class Guarded:
    """A server with TLS, client certificates and tokens, and what it takes to use it."""

    def __init__(self, folder: Path) -> None:
        certificates = Certificates(folder)
        server = certificates.issue("localhost", "127.0.0.1")
        client = certificates.issue("client@example.org")
        tokens = folder / "tokens.json"
        added = runner.invoke(app, ["token", "add", "tester", "--tokens", str(tokens)])
        self.secret = added.stdout.strip()
        self.token_file = folder / "token.txt"
        self.token_file.write_text(self.secret + "\n")
        self.ca = certificates.authority()
        self.tls = Tls(self.ca, client.certificate, client.key)
        self.served: Served = serve(
            *("--tls-cert", str(server.certificate), "--tls-key", str(server.key)),
            *("--tls-client-ca", str(self.ca), "--tokens", str(tokens)),
            *("--host", "localhost", "--log-format", "text", "--max-streams", "8"),
        )
        self.recording = folder / "short.wav"
        with wave.open(str(self.recording), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(to_linear16(read_audio(sample_path())[:40_000]))
        with SpeechClient(self.served.address, tls=self.tls, token=self.secret) as connection:
            self.text = connection.recognize(self.recording).text
        self.options = [
            *("--server", self.served.address, "--ca", str(self.ca)),
            *("--client-cert", str(client.certificate), "--client-key", str(client.key)),
            *("--token-file", str(self.token_file)),
        ]
        self.environment = {
            "OSSICLE_SERVER": self.served.address,
            "OSSICLE_CA": str(self.ca),
            "OSSICLE_CLIENT_CERT": str(client.certificate),
            "OSSICLE_CLIENT_KEY": str(client.key),
            "OSSICLE_TOKEN": self.secret,
        }

    def log(self) -> str:
        """Stop the server; all that it has written."""
        self.served.process.terminate()
        rest, _ = self.served.process.communicate(timeout=30)
        return str(rest) + self.served.written()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    guarded = Guarded(tmp_path_factory.mktemp("guarded"))
    yield guarded
    guarded.log()


def test_the_server_says_how_it_is_protected(guarded: Guarded) -> None:
    banner = guarded.served.banner
    assert re.search(
        r"^transport  TLS, certificate for localhost, 127\.0\.0\.1 until 2", banner, re.M
    )
    assert "clients    with a certificate of --tls-client-ca, with a token, 1 known" in banner


@pytest.mark.parametrize("by", ["options", "environment"])
@pytest.mark.parametrize(
    ("name", "shown"),
    [("health", "serving"), ("models", "look-ahead"), *((c, "") for c in LISTENING)],
)
def test_every_command_goes_through(
    name: str, shown: str, by: str, guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sound_card, "Microphone", lambda device: Recorded(guarded.recording))
    command = [name, str(guarded.recording)] if name in ("transcribe", "stream") else [name]
    if by == "options":
        result = runner.invoke(app, [*command, *guarded.options])
    else:
        result = runner.invoke(app, command, env=guarded.environment)
    assert (result.exit_code, result.stderr) == (0, "")
    assert (guarded.text if name in LISTENING else shown) in " ".join(result.stdout.split())


class Recorded(nullcontext["Recorded"]):
    """A microphone before which a recording is played."""

    failure = None
    waiting_seconds = 0.0

    def __init__(self, recording: Path) -> None:
        super().__init__(self)
        self._recording = recording

    def finalize(self) -> None:
        raise AssertionError("there is no key to ask for it")

    def chunks(self, stop: threading.Event) -> Iterator[bytes]:
        return recorded(self._recording)


def recorded(recording: Path) -> Iterator[bytes]:
    return map(to_linear16, stream_audio(recording, 0.1))


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        ("--token-file", "no token was sent and this server asks for one"),
        ("--client-cert", "if it asks for client certificates, give --client-cert"),
        ("--ca", "not a public one; give the authority's certificate with --ca"),
        ("tls", "if it speaks TLS, connect with --tls or --ca"),
    ],
)
def test_a_command_that_lacks_something_says_what_in_one_line(
    left_out: str, message: str, guarded: Guarded
) -> None:
    pairs = dict(zip(guarded.options[::2], guarded.options[1::2], strict=True))
    for option in {
        "--client-cert": ("--client-cert", "--client-key"),
        "tls": ("--ca", "--client-cert", "--client-key", "--token-file"),
    }.get(left_out, (left_out,)):
        del pairs[option]
    options = [part for pair in pairs.items() for part in pair]
    environment = {name: text for name, text in os.environ.items() if name[:8] != "OSSICLE_"}
    run = subprocess.run(
        [*COMMAND, "models", *options], capture_output=True, text=True, env=environment
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert message in run.stderr
    assert run.stderr.count("\n") == 1  # gRPC's own lines included
    assert len(run.stderr) < 400


def test_neither_words_nor_sound_nor_tokens_are_logged(tmp_path: Path) -> None:
    guarded = Guarded(tmp_path)
    address, tls = guarded.served.address, guarded.tls
    with SpeechClient(address, tls=tls, token=guarded.secret) as client:
        for _ in client.stream(
            recorded(guarded.recording), encoding="linear16", sample_rate=16_000
        ):
            pass
        for boost in (30.0, 10.0):
            wrong = [SpeechContext(("Xanthippe Quixote", "?!"), boost)]
            with pytest.raises(InvalidRequestError, match=r"Xanthippe|'\?!'"):
                client.recognize(guarded.recording, speech_contexts=wrong)
        with pytest.raises(InvalidRequestError):
            client.recognize(b"these bytes are the sound", encoding="flac")
    with (
        SpeechClient(address, tls=tls, token="ossicle_not-the-right-one") as client,
        pytest.raises(AuthenticationError),
    ):
        client.recognize(guarded.recording)
    log = guarded.log()
    assert log.count("StreamingRecognize") == 1
    assert "client=tester" in log
    assert "UNAUTHENTICATED" in log
    assert "INVALID_ARGUMENT" in log
    words = {word for word in (*guarded.text.split(), *sample_text().split()) if len(word) > 4}
    assert len(words) > 3
    secrets = {guarded.secret, "not-the-right-one", "Xanthippe", "?!", "these bytes", *words}
    assert {secret for secret in secrets if secret.lower() in log.lower()} == set()


def test_json_logs_name_the_client_and_say_how_the_server_is_protected(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.json"
    made = runner.invoke(app, ["token", "add", "json-tester", "--tokens", str(tokens)])
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", "--tokens", str(tokens), "--log-format", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines: list[dict[str, Any]] = []
    for line in process.stderr:
        lines.append(json.loads(line))
        if lines[-1]["message"] == "serving":
            break
    facts = SimpleNamespace(**lines[-1])
    assert facts.transport == "clear text, on this machine alone"
    assert facts.clients == "with a token, 1 known"
    with SpeechClient(facts.address, token=made.stdout.strip()) as client:
        client.list_models()
    process.terminate()
    rest = [json.loads(line) for line in process.communicate(timeout=30)[1].splitlines()]
    (call,) = [line for line in rest if line.get("method") == "ListModels"]
    assert (call["client"], call["code"]) == ("json-tester", "OK")
