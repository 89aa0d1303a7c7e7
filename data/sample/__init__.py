"""A real recording with its text, to try things on; its README.md says where it is from."""

from __future__ import annotations

from pathlib import Path

from ossicle.data.manifest import Utterance, read_manifest

_MANIFEST = Path(__file__).parent / "sample.jsonl"


def sample_utterance() -> Utterance:
    """The recording with its duration, speaker and reference text in normal form."""
    return read_manifest(_MANIFEST)[0]


def sample_path() -> Path:
    """Path of the recording: FLAC, 16 kHz, mono, 10 s."""
    return sample_utterance().audio_filepath


def sample_text() -> str:
    """What is said in the recording, in normal form."""
    return sample_utterance().text
