"""Decoded audio on disk: every recording of a manifest once, as 16-bit PCM at 16 kHz.

Training reads each recording many times and in random order; decoding it each time would cost
more than the network. One flat file per manifest is memory-mapped, so that worker processes
share its pages and an hour of speech costs 115 MB of disk and no private memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ossicle.data import pool_process
from ossicle.data.audio import AudioError, read_audio
from ossicle.data.manifest import Utterance, read_manifest
from ossicle.data.pcm_store import KeptRecordings, PcmStore, keys_of, write_store

_SCALE = 32767.0


class CacheError(RuntimeError):
    """Recordings of a manifest could not be decoded; the message lists them."""


class PcmCache:
    """Random access to the decoded recordings of one manifest, in its order.

    What other caches of the folder hold is not decoded again: of a manifest that has grown only the
    new recordings are, and where decoding was stopped it goes on.

    Args:
        manifest: the JSONL manifest. Audio files replaced under the same paths are not noticed:
            delete the cache folder then.
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
        if rows is not None:
            self.utterances = [self.utterances[row] for row in rows]
        keys = keys_of(utterance.audio_filepath for utterance in self.utterances)
        self._store = PcmStore.of(keys, folder, manifest.stem)
        offsets = self._store.offsets()
        if offsets is None:
            kept = KeptRecordings(folder)
            write_store(self._all(keys, kept, workers, progress), keys, folder, manifest.stem)
            offsets = self._store.offsets()
        if offsets is None:
            raise CacheError(f"{folder}: somebody else changes what is written there")
        self._offsets = offsets
        self._samples: NDArray[np.int16] | None = None

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """Samples of `utterances[index]`, shape (N,), -1 to 1."""
        if self._samples is None:  # mapped on first use: a mapping does not cross processes
            self._samples = self._store.samples()
        begin, end = self._offsets[index : index + 2]
        return np.asarray(self._samples[begin:end], dtype=np.float32) / _SCALE

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_samples": None}

    @property
    def durations(self) -> NDArray[np.float64]:
        """Length of each recording in seconds, from its samples."""
        return np.diff(self._offsets) / 16_000

    def _all(
        self,
        keys: NDArray[np.uint64],
        kept: KeptRecordings,
        workers: int,
        progress: Callable[[int, int], None] | None,
    ) -> Iterator[tuple[int, NDArray[np.int16]]]:
        """Key and samples of each recording; CacheError at the end if any cannot be decoded."""
        recordings = list(
            zip(keys.tolist(), (u.audio_filepath for u in self.utterances), strict=True)
        )
        unknown = [path for key, path in recordings if key not in kept]
        # Decoding takes hours for a large corpus; what is not there can be told at once.
        self._refuse([f"{path}: no such file" for path in unknown if not os.path.isfile(path)])
        bad: list[str] = []
        with closing(_decode_all(unknown, workers)) as decoded:
            for done, (key, _) in enumerate(recordings, 1):
                samples = kept[key] if key in kept else next(decoded)
                if isinstance(samples, str):
                    bad.append(samples)
                else:
                    yield key, samples
                if progress is not None:
                    progress(done, len(recordings))
        self._refuse(bad)

    def _refuse(self, bad: Sequence[str]) -> None:
        """Raise CacheError if there are recordings, each with what is wrong, that nothing reads."""
        if bad:
            listed = "\n  ".join(bad[:10])
            raise CacheError(
                f"{len(bad)} of {len(self.utterances)} recordings cannot be decoded; remove them "
                "from the manifest (ossicle data check --deep lists all), the others are not "
                f"decoded again:\n  {listed}"
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
