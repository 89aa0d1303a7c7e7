"""What the network made of a set of recordings: heard once, searched as often as one likes."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ossicle.data.audio import read_recording
from ossicle.data.manifest import Utterance, batches, read_manifest
from ossicle.data.replacing import replacing
from ossicle.data.text import normalize
from ossicle.model.runtime import AcousticModel, hear

_TOGETHER = 8  # recordings that are heard at the same time

LogProbs = NDArray[np.float32]


@dataclass(frozen=True)
class HeardSet:
    """What the network made of a manifest.

    Attributes:
        name: of the set.
        references: in normal form, as the network's tokens write it.
        log_probs: of each utterance, (U, V).
    """

    name: str
    references: tuple[str, ...]
    log_probs: tuple[NDArray[np.float32], ...]

    def part(self, frames: int) -> HeardSet:
        """Every k-th utterance, so that there are about `frames` output frames at most.

        At least one in which something is said.
        """
        step = -(-sum(map(len, self.log_probs)) // frames)
        first = next(i for i, text in enumerate(self.references) if text)
        # Of the shortest, which come first, some may say nothing.
        begin = first if not any(self.references[::step]) else 0
        return HeardSet(self.name, self.references[begin::step], self.log_probs[begin::step])


def kept_file(folder: Path, graph: Path, manifest: Path) -> Path:
    """Where a folder keeps a set's log-probabilities: those of other weights or recordings have
    another file.

    Raises:
        ManifestError: the manifest is not valid.
        OSError: the graph, the manifest or a recording cannot be read.
    """
    digest = hashlib.sha256(graph.read_bytes() + manifest.read_bytes())
    for utterance in read_manifest(manifest):
        path = utterance.audio_filepath
        found = path.stat()
        digest.update(f"{path.absolute()} {found.st_size} {found.st_mtime_ns}\n".encode())
    return folder / f"{manifest.stem}-{digest.hexdigest()[:16]}.npz"


def hear_set(
    model: AcousticModel,
    manifest: Path,
    write: Callable[[str], str] = str,
    kept: Path | None = None,
    progress: Callable[[Sequence[list[Utterance]]], Iterable[list[Utterance]]] = iter,
) -> HeardSet:
    """What the network makes of a manifest's recordings, shortest first.

    Args:
        write: gives a text as the model's tokens write it.
        kept: a file with what it made of them; written if it is not there or damaged.
        progress: goes through the recordings, a few at a time, and shows how far it is.

    Raises:
        AudioError: a recording cannot be decoded; names it.
        ManifestError: the manifest is not valid.
        ValueError: nothing is said in the set.
        OSError: `kept` cannot be written.
    """
    groups = list(batches(read_manifest(manifest), _TOGETHER))
    references = tuple(write(normalize(each.text)) for each in chain.from_iterable(groups))
    if not any(references):
        raise ValueError(f"the set {manifest.stem} has no text to tune with")
    log_probs = _load(kept) if kept and kept.is_file() else None
    if log_probs is None:
        log_probs = []
        for group in progress(groups):
            log_probs += hear(model, [read_recording(each.audio_filepath) for each in group])
        if kept:
            _save(log_probs, kept)
    return HeardSet(manifest.stem, references, tuple(log_probs))


def _save(log_probs: Sequence[LogProbs], path: Path) -> None:
    """Keep log-probabilities in half precision."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            frames=np.array([len(rows) for rows in log_probs]),
            log_probs=np.concatenate(log_probs).astype(np.float16),
        )


def _load(path: Path) -> list[LogProbs] | None:
    """What `_save` kept; None if the file is damaged."""
    try:
        with np.load(path) as kept:
            ends = np.cumsum(kept["frames"])[:-1]
            return np.split(kept["log_probs"].astype(np.float32), ends)
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile):
        return None
