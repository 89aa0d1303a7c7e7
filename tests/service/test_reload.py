"""SIGHUP lets a server read the folders of its models anew, while streams go on."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from calls import until
from ossicle.model.folder import LoadedModel, model_digest
from ossicle.model.pronunciation.dictionary import DICTIONARY, GRAPHONES
from ossicle.model.runtime import ModelError, find_model
from ossicle.service.client import InvalidRequestError, SpeechClient
from processes import COMMAND, TAKE_ALL, Served, serve, stop
from trouble import LINEAR16, STEPS, Trouble, cut, finals

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
GRAPH = "model.int8.onnx"
# Another decoding of the same network, another version of the model: no language model is asked.
CHANGES = {"lm_weight": 0.0, "word_score": 0.0}


def write(folder: Path, file: str, changes: dict[str, object]) -> None:
    """Change members of a JSON file as a careful operator does: another file in its place."""
    path = folder / file
    values = json.loads(path.read_text(encoding="utf-8")) | changes
    put(path, json.dumps(values).encode())


def put(path: Path, content: bytes) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(content)
    part.replace(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of the tests' own."""
    bundled = find_model(os.environ.get("OSSICLE_MODEL"))
    copied = tmp_path_factory.mktemp("models") / "model"
    copied.mkdir()
    words = ("lm.ngram", "lm.lstm.onnx", DICTIONARY, GRAPHONES)
    for name in ("config.json", GRAPH, "decoding.json", *words):
        if (bundled / name).exists():
            shutil.copy(bundled / name, copied / name)
    return copied


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    """A server of that folder, and of one that says it speaks another language."""
    other = folder.with_name("other")
    shutil.copytree(folder, other)
    write(other, "config.json", {"name": "other", "language": "de-DE"})
    server = serve("--model", str(folder), "--model", str(other), "--max-streams", "4")
    yield server
    assert stop(server) == 0


def reload(server: Served) -> str:
    """Send SIGHUP; the line that tells what came of it."""
    lines = len(outcomes(server))
    server.process.send_signal(signal.SIGHUP)
    assert until(lambda: len(outcomes(server)) > lines, 60)
    return outcomes(server)[-1]


def outcomes(server: Served) -> list[str]:
    lines = server.written().splitlines()
    return [line for line in lines if " reloaded" in line or "not reloaded" in line]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=["one process", "workers"])
def test_it_may_come_before_there_is_a_server(tmp_path: Path, options: list[str]) -> None:
    with (tmp_path / "log").open("w+") as log:
        process = subprocess.Popen(
            [*COMMAND, "serve", "--port", "0", "--max-streams", "4", *options],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **TAKE_ALL},
        )
        status = Path(f"/proc/{process.pid}/status")

        def held() -> bool:
            (blocked,) = re.findall(r"SigBlk:\s+(\w+)", status.read_text())
            return bool(int(blocked, 16) & 1 << signal.SIGHUP - 1)

        assert until(lambda: held() or process.poll() is not None, 60)
        process.send_signal(signal.SIGHUP)
        assert process.stdout is not None
        assert process.stdout.readline().startswith("serving on ")
        # One process reads its models anew; workers have not read them yet when it comes.
        expected = "the workers reload their models" if options else "reloaded"
        assert until(lambda: expected in (tmp_path / "log").read_text(), 60)
        process.terminate()
        process.communicate(timeout=60)
        assert process.returncode == 0


def digests(client: SpeechClient) -> dict[str, str]:
    return {model.name: model.digest for model in client.list_models().models}


def test_a_live_stream_ends_with_the_old_model_and_new_ones_have_the_new(
    served: Served, folder: Path, speech: bytes
) -> None:
    chunks = cut(speech)
    told: list[str] = []

    def replaced() -> None:
        write(folder, "decoding.json", CHANGES)
        told.append(reload(served))

    with SpeechClient(served.address) as client:
        before = digests(client)
        undisturbed = finals(list(client.stream(chunks, **LINEAR16, **STEPS)))
        trouble = Trouble(replaced, words=3, before=40)
        results = []
        for result in client.stream(trouble.chunks(chunks), **LINEAR16, **STEPS):
            results.append(result)
            trouble.look_at(result)
        assert trouble.happened
        assert len({result.request_id for result in results}) == 1
        assert finals(results) == undisturbed
        (name, _), (other, same) = before.items()
        after = digests(client)
        assert after == {name: model_digest(folder), other: same}
        assert after[name] != before[name]
        assert "changed=1" in told[0]
        fresh = finals(list(client.stream(chunks, **LINEAR16, **STEPS)))
        assert fresh != undisturbed  # it is another model
    assert until(lambda: f"old model released model={name}" in served.written())


@pytest.mark.parametrize("broken", ["a graph that is none", "no graph", "another's name"])
def test_a_folder_that_cannot_be_served_changes_nothing(
    served: Served, folder: Path, speech: bytes, broken: str
) -> None:
    graph = (folder / GRAPH).read_bytes()
    if broken == "another's name":
        write(folder, "config.json", {"name": "other"})
        words = "two models have the name other"
    elif broken == "no graph":
        (folder / GRAPH).unlink()
        words = f"has no {GRAPH}"
    else:
        put(folder / GRAPH, graph[: len(graph) // 2])
        words = f"cannot load {folder / GRAPH}"
    with SpeechClient(served.address) as client:
        before = digests(client)
        outcome = reload(served)
        assert "ERROR not reloaded, what was served before goes on" in outcome
        assert words in outcome
        assert client.health()
        assert digests(client) == before
        assert client.recognize(speech, **LINEAR16).text
        put(folder / GRAPH, graph)
        mended = f"not-{broken}".replace(" ", "-")
        write(folder, "config.json", {"name": mended})
        assert "changed=1" in reload(served)
        assert list(digests(client)) == [mended, "other"]


def test_models_of_several_languages_are_chosen_by_name(served: Served, speech: bytes) -> None:
    assert "(de-DE, look-ahead" in served.banner
    with SpeechClient(served.address) as client:
        first, other = client.list_models().models
        assert (first.languages, other.languages) == (("en-US",), ("de-DE",))
        assert client.recognize(speech, model="other", language="de", **LINEAR16).text
        with pytest.raises(InvalidRequestError, match="speaks only en-US; set model to other"):
            client.recognize(speech, language="de", **LINEAR16)


def test_memory_of_old_models_is_given_back(served: Served, folder: Path, speech: bytes) -> None:
    released = served.written().count("old model released")

    def replace_and_use(number: int) -> float:
        write(folder, "decoding.json", {"lm_weight": 0.5 + number / 100})
        assert "changed=1" in reload(served)
        assert until(lambda: served.written().count("old model released") == released + number)
        with SpeechClient(served.address) as client:
            client.recognize(speech, **LINEAR16)
        return served.memory_mib()

    # What the allocator keeps for the next comes and goes; a model that stayed would not go.
    settled, later = ([replace_and_use(number) for number in part] for part in ((1, 2), (3, 4, 5)))
    assert min(later) < min(settled) + 30


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    """A folder that nobody serves."""
    return Path(shutil.copytree(folder, tmp_path / "own"))


def test_a_digest_is_of_what_decides_what_is_recognised(own: Path) -> None:
    digest = model_digest(own)
    (own / "MODEL_CARD.md").write_text("about it", encoding="utf-8")
    assert model_digest(own) == digest
    write(own, "decoding.json", CHANGES)
    changed = model_digest(own)
    assert changed != digest
    (own / "lm.ngram").unlink(missing_ok=True)
    assert model_digest(own) not in (digest, changed)


def test_a_folder_that_changes_while_it_is_read_is_not_taken(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ossicle.model.decoding.decoders import Decoding

    really = Decoding.load

    def slowly(*arguments: object) -> Decoding:
        decoding = really(*arguments)  # type: ignore[arg-type]
        write(own, "decoding.json", CHANGES)
        return decoding

    monkeypatch.setattr(Decoding, "load", slowly)
    with pytest.raises(ModelError, match="was changed while it was read"):
        LoadedModel.load(own)
