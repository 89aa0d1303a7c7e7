"""Decoded recordings one after the other in a file, with an index beside it.

The index tells which recordings they are and where each ends. A store's name is made from the
recordings' paths, in their order, so that there is one for the same recordings only.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ossicle.data.replacing import replacing

Samples = NDArray[np.int16]
_INDEX = np.dtype([("key", "<u8"), ("end", "<i8")])
_SAMPLE_BYTES = 2
_UNFINISHED = "unfinished"


def keys_of(paths: Iterable[Path]) -> NDArray[np.uint64]:
    """(N,) numbers that stand for the recordings of these paths."""
    digests = (hashlib.sha256(os.fsencode(os.path.abspath(path))).digest() for path in paths)
    return np.frombuffer(b"".join(digest[:8] for digest in digests), dtype="<u8")


@dataclass(frozen=True)
class PcmStore:
    """The samples of some recordings, on disk or not yet.

    Attributes:
        samples_file: int16, one recording after the other.
        index_file: key and end of each, written last.
    """

    samples_file: Path
    index_file: Path

    @classmethod
    def of(cls, keys: NDArray[np.uint64], folder: Path, name: str) -> PcmStore:
        """The store of these recordings in a folder, whose files' names begin so."""
        name += f"-{hashlib.sha256(keys.tobytes()).hexdigest()[:16]}"
        return cls(folder / f"{name}.pcm", folder / f"{name}.npy")

    def index(self) -> NDArray[np.void] | None:
        """Key and end of each recording.

        None if not all samples are there; a disk that was full, or a copy, may have lost some.
        """
        try:
            index = np.load(self.index_file)
            samples = int(index["end"][-1]) if len(index) else 0
            whole = self.samples_file.stat().st_size == samples * _SAMPLE_BYTES
        except (OSError, EOFError, ValueError, IndexError):
            return None
        return index if whole else None

    def offsets(self) -> NDArray[np.int64] | None:
        """(N + 1,) where the recordings begin and end; None as `index`."""
        index = self.index()
        return None if index is None else np.concatenate([[0], index["end"]])

    def samples(self) -> Samples:
        """All, mapped into memory."""
        return np.memmap(self.samples_file, dtype=np.int16, mode="r")


def write_store(
    recordings: Iterable[tuple[int, Samples]], keys: NDArray[np.uint64], folder: Path, name: str
) -> None:
    """Make the store of recordings.

    If an error comes while they are made, Ctrl-C too, those before it make an unfinished store; if
    they cannot be written, nothing is left.

    Args:
        recordings: key and samples (N,) of each.
        keys: of all.
        folder, name: as of `PcmStore.of`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # A name of its own for each writer: two trainings may start side by side.
    part = folder / f".{os.getpid()}.pcm.tmp"
    written = np.zeros(len(keys), _INDEX)
    count = end = 0
    try:
        with part.open("wb") as out:
            for key, samples in recordings:
                out.write(samples.tobytes())
                end += len(samples)
                written[count] = key, end
                count += 1
        _name(part, written, PcmStore.of(keys, folder, name))
    except OSError:
        raise
    except BaseException:
        if count:
            index = written[:count]
            os.truncate(part, int(index["end"][-1]) * _SAMPLE_BYTES)
            _name(part, index, PcmStore.of(index["key"], folder, _UNFINISHED))
        raise
    finally:
        part.unlink(missing_ok=True)
        _tidy(folder)


def _name(part: Path, index: NDArray[np.void], store: PcmStore) -> None:
    store.index_file.unlink(missing_ok=True)
    os.replace(part, store.samples_file)
    # Written last: what it says of the samples shows that these are whole.
    with replacing(store.index_file) as path, path.open("wb") as out:
        np.save(out, index)


def _tidy(folder: Path) -> None:
    """Delete unfinished stores all of whose recordings another one holds."""
    stores = sorted(_stores(folder), key=lambda each: len(each[1]))
    for number, (store, index) in enumerate(stores):
        larger = (other["key"] for _, other in stores[number + 1 :])
        if store.samples_file.name.startswith(_UNFINISHED) and any(
            np.isin(index["key"], keys).all() for keys in larger
        ):
            store.index_file.unlink(missing_ok=True)
            store.samples_file.unlink(missing_ok=True)


def _stores(folder: Path) -> list[tuple[PcmStore, NDArray[np.void]]]:
    """The stores of a folder that are whole, and their indices."""
    files = sorted(folder.glob("*.npy"))
    stores = [PcmStore(file.with_suffix(".pcm"), file) for file in files]
    indices = [store.index() for store in stores]
    return [
        (store, index) for store, index in zip(stores, indices, strict=True) if index is not None
    ]


class KeptRecordings:
    """The recordings that the stores of a folder hold, by their keys."""

    def __init__(self, folder: Path) -> None:
        self._places: dict[int, tuple[int, int, int]] = {}  # store, begin and end
        self._stores: list[PcmStore] = []
        self._mapped: dict[int, Samples] = {}
        for number, (store, index) in enumerate(_stores(folder)):
            self._stores.append(store)
            ends = index["end"].tolist()
            places = zip(index["key"].tolist(), [0, *ends], ends, strict=False)
            self._places.update((key, (number, begin, end)) for key, begin, end in places)

    def __contains__(self, key: int) -> bool:
        return key in self._places

    def __getitem__(self, key: int) -> Samples:
        """Samples (N,) of a recording."""
        number, begin, end = self._places[key]
        if number not in self._mapped:
            self._mapped[number] = self._stores[number].samples()
        return self._mapped[number][begin:end]
