"""A client that has the contract and none of our code: stubs made by protoc alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ossicle.data.sample import sample_path

CONTRACT = Path(__file__).resolve().parents[2] / "proto/ossicle/speech/v1/speech.proto"

# Stands for a program in another language: it sees the stubs, grpc and nothing of ours.
CLIENT = """
import json, sys
stubs, address, recording = sys.argv[1:]
sys.path.insert(0, stubs)
import grpc
import speech_pb2 as pb, speech_pb2_grpc

def requests():
    config = pb.RecognitionConfig(
        language_code="en-US",
        enable_word_time_offsets=True,
        max_alternatives=3,
        decoder=pb.DecoderConfig(type=pb.DECODER_TYPE_BEAM, beam_width=12),
        speech_contexts=[pb.SpeechContext(phrases=["Palestrina", "to graze"], boost=5)],
    )
    yield pb.StreamingRecognizeRequest(
        streaming_config=pb.StreamingRecognitionConfig(config=config, interim_results=True)
    )
    with open(recording, "rb") as file:
        while data := file.read(4000):
            yield pb.StreamingRecognizeRequest(audio_content=data)

with grpc.insecure_channel(address) as channel:
    stub = speech_pb2_grpc.SpeechServiceStub(channel)
    for response in stub.StreamingRecognize(requests(), timeout=60):
        result = response.results[0]
        best = result.alternatives[0]
        readings = [alternative.transcript for alternative in result.alternatives]
        print(json.dumps([result.is_final, readings, len(best.words)]))
assert "ossicle" not in sys.modules
"""


def test_a_client_generated_from_the_contract_gets_partials_and_a_final(
    server: Any, tmp_path: Path
) -> None:
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"-I{CONTRACT.parent}"),
            *(f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}"),
            CONTRACT.name,
        ],
        check=True,
        timeout=60,
    )
    client = subprocess.run(
        [sys.executable, "-I", "-c", CLIENT, str(tmp_path), server.address, str(sample_path())],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert client.returncode == 0, client.stderr
    results = [json.loads(line) for line in client.stdout.splitlines()]
    partials = [readings for final, readings, _ in results if not final]
    finals = [(readings, words) for final, readings, words in results if final]
    assert len(partials) > 3
    assert all(len(readings) == 1 for readings in partials)
    assert results[-1][0], "the last result is final"
    assert any(readings[0] for readings, _ in finals)
    assert any(len(readings) > 1 for readings, _ in finals)
    assert all(len(set(readings)) == len(readings) <= 3 for readings, _ in finals)
    assert all(words == len(readings[0].split()) for readings, words in finals)
