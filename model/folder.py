"""A model folder ready to run: its network, its decoding, and the digest that it is known by."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ossicle.data.digest import file_digest
from ossicle.model.decoding import rescoring
from ossicle.model.decoding.decoders import LANGUAGE_MODEL, SETTINGS, Decoding
from ossicle.model.pronunciation.dictionary import DICTIONARY, GRAPHONES
from ossicle.model.runtime import AcousticModel, ModelError, ModelInfo, graph_path


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model in memory.

    Attributes:
        network: what hears.
        decoding: what makes words of it.
        digest: of the folder it came from, see :func:`model_digest`; "" if it came from none.
        folder: that folder.
        threads: of the processor, for one step.
    """

    network: AcousticModel
    decoding: Decoding
    digest: str = ""
    folder: Path | None = None
    threads: int = 1

    @property
    def info(self) -> ModelInfo:
        """Its properties."""
        return self.network.info

    @classmethod
    def load(cls, folder: Path, threads: int = 1) -> LoadedModel:
        """Read a model folder.

        Raises:
            ModelError: a file is missing or damaged, or the folder changed while it was read.
        """
        digest = model_digest(folder)
        network = AcousticModel.load(folder, threads=threads)
        decoding = Decoding.load(folder, network.info)
        if model_digest(folder) != digest:
            raise ModelError(f"{folder} was changed while it was read; try again when it is done")
        return cls(network, decoding, digest, folder, threads)

    def reloaded(self) -> LoadedModel:
        """The model that its folder holds now: this one, if nothing has changed.

        Raises:
            ModelError: as :meth:`load`.
        """
        if self.folder is None or model_digest(self.folder) == self.digest:
            return self
        return LoadedModel.load(self.folder, self.threads)


def served_files(folder: Path) -> list[Path]:
    """The files of a model folder that decide what is recognised; some of them need not be there.

    Raises:
        ModelError: its `config.json` cannot be read.
    """
    return [
        folder / "config.json",
        graph_path(folder, ModelInfo.load(folder).served_precision),
        folder / SETTINGS,
        folder / LANGUAGE_MODEL,
        folder / rescoring.FILE,
        folder / DICTIONARY,
        folder / GRAPHONES,
    ]


def model_digest(folder: Path) -> str:
    """SHA-256, in hexadecimal, over the `served_files` of a model folder.

    Folders with the same digest give the same results, whatever else they hold.

    Raises:
        ModelError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in served_files(folder):
        try:
            content = file_digest(path) if path.exists() else "-"
        except OSError as error:
            raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
        digest.update(f"{path.name} {content}\n".encode())
    return digest.hexdigest()
