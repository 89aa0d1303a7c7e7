"""Decoded audio on disk: every recording of a manifest once, as 16-bit PCM at 16 kHz.

Training reads each recording many times and in random order; decoding it each time would cost
more than the network. One flat file per manifest is memory-mapped, so that worker processes
share its pages and an hour of speech costs 115 MB of disk and no private memory.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ossicle.data import pool_process
from ossicle.data.audio import AudioError, read_audio
from ossicle.data.manifest import Utterance, manifest_digest, read_manifest
from ossicle.data.replacing import replacing

_SCALE = 32767.0


class CacheError(RuntimeError):
    """Recordings of a manifest could not be decoded; the message lists them."""


class PcmCache:
    """Random access to the decoded recordings of one manifest, in its order.

    Args:
        manifest: the JSONL manifest; its content and its folder name the cache, so an edited
            manifest, or one with the same relative paths elsewhere, gets a new one. Audio files
            replaced under an unchanged manifest are not noticed: delete the cache folder then.
        folder: where caches are kept.
        rows: only these recordings of the manifest, counted from 0; None is all of them.
        workers: processes that decode.
        progress: called with (recordings done, recordings in all).

    Raises:
        CacheError: if any recording cannot be decoded, naming the first ten of them.
    """

    def __init__(
        self,
        manifest: Path,
        folder: Path,
        *,
        rows: Sequence[int] | None = None,
        workers: int = 2,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.utterances: list[Utterance] = read_manifest(manifest)
        place = f"{manifest_digest(manifest)} {manifest.absolute().parent}"
        name = f"{manifest.stem}-{hashlib.sha256(place.encode()).hexdigest()[:16]}"
        if rows is not None:
            self.utterances = [self.utterances[row] for row in rows]
            chosen = hashlib.sha256(np.asarray(rows, dtype="<i8").tobytes()).hexdigest()
            name += f"-{len(rows)}-{chosen[:8]}"
        self._samples_file = folder / f"{name}.pcm"
        self._offsets_file = folder / f"{name}.npy"
        if not self._is_whole():
            self._build(workers, progress)
        self._offsets: NDArray[np.int64] = np.load(self._offsets_file)
        self._samples: NDArray[np.int16] | None = None

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """Samples of `utterances[index]`, shape (N,), -1 to 1."""
        if self._samples is None:  # mapped on first use: a mapping does not cross processes
            self._samples = np.memmap(self._samples_file, dtype=np.int16, mode="r")
        begin, end = self._offsets[index : index + 2]
        return np.asarray(self._samples[begin:end], dtype=np.float32) / _SCALE

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_samples": None}

    @property
    def durations(self) -> NDArray[np.float64]:
        """Length of each recording in seconds, from its samples."""
        return np.diff(self._offsets) / 16_000

    def _is_whole(self) -> bool:
        """Whether all samples are there; a disk that was full, or a copy, may have lost some."""
        try:
            samples = int(np.load(self._offsets_file)[-1])
            return self._samples_file.stat().st_size == samples * np.dtype(np.int16).itemsize
        except (OSError, ValueError, IndexError):
            return False

    def _build(self, workers: int, progress: Callable[[int, int], None] | None) -> None:
        # Decoding takes hours for a large corpus; what is not there can be told at once.
        paths = [utterance.audio_filepath for utterance in self.utterances]
        self._refuse([f"{path}: no such file" for path in paths if not os.path.isfile(path)])
        offsets = np.zeros(len(self.utterances) + 1, dtype=np.int64)
        bad: list[str] = []
        # A name of its own for each builder: two trainings may start side by side.
        with (
            replacing(self._samples_file) as part,
            part.open("wb") as out,
            closing(_decode_all(paths, workers)) as decoded,
        ):
            for i, result in enumerate(decoded):
                if isinstance(result, str):
                    bad.append(result)
                    result = np.zeros(0, dtype=np.int16)
                out.write(result.tobytes())
                offsets[i + 1] = offsets[i] + len(result)
                if progress is not None:
                    progress(i + 1, len(self.utterances))
            self._refuse(bad)
        # The offsets are written last: what they say of the samples shows that these are whole.
        with replacing(self._offsets_file) as part, part.open("wb") as out:
            np.save(out, offsets)

    def _refuse(self, bad: Sequence[str]) -> None:
        """Raise CacheError if there are recordings, each with what is wrong, that nothing reads."""
        if bad:
            listed = "\n  ".join(bad[:10])
            raise CacheError(
                f"{len(bad)} of {len(self.utterances)} recordings cannot be decoded; remove "
                f"them from the manifest (ossicle data check --deep lists all):\n  {listed}"
            )


def _decode(path: Path) -> NDArray[np.int16] | str:
    try:
        samples = read_audio(path)
    except (AudioError, OSError) as error:
        return f"{path}: {error}"
    return np.asarray(np.rint(np.clip(samples, -1.0, 1.0) * _SCALE), dtype=np.int16)


def _decode_all(
    paths: Sequence[Path], workers: int
) -> Generator[NDArray[np.int16] | str, None, None]:
    if workers <= 1:
        yield from map(_decode, paths)
        return
    pool = ProcessPoolExecutor(workers, initializer=pool_process.begin)
    try:
        yield from pool.map(_decode, paths, chunksize=32)
    except BrokenProcessPool as error:
        raise CacheError("a process that decodes audio has died: out of memory?") from error
    finally:
        pool.shutdown(cancel_futures=True)
