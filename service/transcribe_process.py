"""Other processes that transcribe files beside this one, each with an engine of its own.

One engine decodes on one core, whatever else it does. Where there are many files, each core gets a
process; the files are handed out one by one, so that none waits while another has some left.
"""

from __future__ import annotations

import itertools
import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ossicle.data import pool_process

from .admission import EngineStopped
from .formats import Transcript
from .happenings import Draft, FailedFile, Happening, Progress, Recording, Spoken
from .spawning import ending, spawned

if TYPE_CHECKING:
    from ossicle.model.decoding.decoders import DecodingConfig

MOST_PROCESSES = 8

PROCESS_BYTES = 600_000_000
"""Memory for a process: 0.45 GB with the model of the repository and sixteen recordings at once."""

_FILES_EACH = 4
_FOR_ALL = -1  # what a process says of itself and of no recording


def process_count(recordings: int, cores: int, jobs: int | None, free: int | None) -> int:
    """How many processes are worth it, this one included.

    Args:
        recordings: to transcribe.
        cores: to use.
        jobs: recordings at once that were asked for.
        free: bytes of memory that are; None where nobody knows.
    """
    most = min(cores, recordings // _FILES_EACH, jobs or recordings, MOST_PROCESSES)
    if free is not None:
        most = min(most, free // PROCESS_BYTES)
    return max(1, most)


class HelperProcess:
    """Another process that transcribes recordings.

    It begins to read its model when this is made.

    Args:
        folder: of the model.
        threads: of the network.
        slots: recordings at once, at most.
        alternatives: readings of each segment at most.
    """

    def __init__(self, folder: Path, threads: int, slots: int, alternatives: int) -> None:
        self._process, self._connection = spawned(
            "ossicle-helper", _serve, folder, threads, slots, alternatives
        )
        self._numbers = itertools.count()
        self._sending = threading.Lock()
        self._answers: dict[int, queue.SimpleQueue[Any]] = {}
        self._knowing = threading.Lock()  # of who waits for answers, and of the end
        self._ended = ""
        self._listener = threading.Thread(target=self._listen, name="ossicle-helper", daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """Its number in the system."""
        assert self._process.pid is not None
        return self._process.pid

    def begin(self, search: DecodingConfig) -> None:
        """Tell it how transcripts are searched for, once, before the first recording."""
        with suppress(OSError):  # its end is told to those who want something of it
            self._connection.send(search)

    def __call__(
        self,
        recording: Recording,
        draft: Draft,
        tell: Callable[[Happening], None],
        on_progress: Callable[[Progress], None],
    ) -> Transcript | FailedFile:
        """Transcribe a recording, as `Transcriber.__call__` does, which must be a path.

        Raises:
            EngineStopped: the process cannot go on.
        """
        number = next(self._numbers)
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        with self._knowing:
            if self._ended:
                raise EngineStopped(self._ended)
            self._answers[number] = answers
        with self._sending, suppress(OSError):  # its end is told to all who wait
            self._connection.send((number, recording, draft))
        while True:
            answer = answers.get()
            if isinstance(answer, Progress):
                on_progress(answer)
            elif isinstance(answer, Spoken):
                tell(answer)
            else:
                break
        with self._knowing:
            self._answers.pop(number, None)
        if isinstance(answer, EngineStopped):
            raise answer
        outcome: Transcript | FailedFile = answer
        return outcome

    def stop(self) -> None:
        """Break off what it is doing, and wait for its end."""
        self._process.terminate()
        self._listener.join()

    def _listen(self) -> None:
        reason = ""
        with suppress(EOFError, OSError):
            while True:
                number, answer = self._connection.recv()
                if number == _FOR_ALL:
                    reason = answer
                    continue
                with self._knowing:
                    waiting = self._answers.get(number)
                if waiting:
                    waiting.put(answer)
        self._connection.close()
        self._process.join()
        code = self._process.exitcode
        assert code is not None
        reason = reason or (
            f"a process that transcribes has ended ({ending(code)}): if that was for want of "
            "memory, use fewer with --threads"
        )
        with self._knowing:
            self._ended = reason
            for waiting in self._answers.values():
                waiting.put(EngineStopped(reason))


def _serve(
    folder: Path, threads: int, slots: int, alternatives: int, connection: Connection
) -> None:
    """Transcribe what is asked for, until nobody asks any more."""
    pool_process.begin()
    from ossicle.model.decoding.decoders import Decoding
    from ossicle.model.runtime import AcousticModel

    from .transcriber import Transcriber

    sending = threading.Lock()

    def say(number: int, answer: object) -> None:
        with sending, suppress(OSError):  # whoever asked is gone, and this process will be
            connection.send((number, answer))

    try:
        model = AcousticModel.load(folder, threads=threads)
        decoding = Decoding.load(folder, model.info)
        transcriber = Transcriber(model, decoding, connection.recv(), alternatives, slots)
    except Exception as error:
        say(_FOR_ALL, str(error))
        return

    def work(number: int, recording: Recording, draft: Draft) -> None:
        def answer(answer: object) -> None:
            say(number, answer)

        try:
            answer(transcriber(recording, draft, answer, answer))
        except EngineStopped as error:
            answer(EngineStopped(str(error)))

    with suppress(EOFError, OSError):
        while True:
            threading.Thread(target=work, args=connection.recv(), daemon=True).start()
    os._exit(0)  # threads that are in the midst of the network would not survive an orderly end
