"""A supervisor of workers that misbehave: python odd_workers.py BEHAVIOUR FOLDER."""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from ossicle.service.workers import supervisor as supervision
from ossicle.service.workers.messages import AskPulse, Broken, Ready, TellPulse
from ossicle.service.workers.supervisor import Supervisor


@dataclass(frozen=True)
class Odd:
    """What each worker does; `folder` tells how often one was started."""

    behaviour: str
    folder: Path

    def __call__(self, number: int, connection: Connection) -> None:
        started = len(list(self.folder.glob(f"{number}-*")))
        (self.folder / f"{number}-{started}").touch()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        behave: Callable[[int, int, Connection], None] = getattr(self, self.behaviour)
        behave(number, started, connection)

    def does_not_start(self, number: int, started: int, connection: Connection) -> None:
        sys.exit(3)

    def is_killed(self, number: int, started: int, connection: Connection) -> None:
        signal.raise_signal(signal.SIGKILL)

    def breaks_once(self, number: int, started: int, connection: Connection) -> None:
        connection.send(Ready("greeting", {}))
        if number == 1 and started == 0:  # the last to be ready
            connection.send(Broken())
        signal.pause()

    def stays(self, number: int, started: int, connection: Connection) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        connection.send(Ready("greeting", {}))
        time.sleep(60)

    def stands_still(self, number: int, started: int, connection: Connection) -> None:
        connection.send(Ready("greeting", {}))
        while True:
            if isinstance(connection.recv(), AskPulse) and (number, started) != (1, 0):
                connection.send(TellPulse())

    def hangs_while_it_starts(self, number: int, started: int, connection: Connection) -> None:
        if (number, started) == (1, 1):
            time.sleep(60)
        connection.send(Ready("greeting", {}))
        if (number, started) == (1, 0):
            time.sleep(0.2)  # until all were seen to serve
            sys.exit(7)
        while True:
            if isinstance(connection.recv(), AskPulse):
                connection.send(TellPulse())

    def ends_again_and_again(self, number: int, started: int, connection: Connection) -> None:
        connection.send(Ready("greeting", {}))
        if number == 1 and started < 3:
            time.sleep(0.2)  # until all were seen to serve
            sys.exit(7)
        signal.pause()


def main(behaviour: str, folder: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # What "stays" waits for is its end; a month is more than the system can be asked to wait.
    stop_seconds = {"stays": 1.0, "stands_still": 3e6}.get(behaviour, 60.0)
    if behaviour == "stands_still":
        supervision.PULSE_SECONDS = 0.25
    if behaviour == "hangs_while_it_starts":
        supervision.PULSE_SECONDS = 0.5
        # Ten times the first starts is more than a busy machine may need for another.
        supervision.LEAST_START_SECONDS = 2.0
    supervisor = Supervisor(2, stop_seconds, lambda ready: print(ready.greeting, flush=True))
    sys.exit(supervisor.run(Odd(behaviour, Path(folder))))


if __name__ == "__main__":
    main(*sys.argv[1:])
