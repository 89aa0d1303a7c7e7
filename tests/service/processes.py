"""Servers as processes of their own, which a test can stop, kill and ask how they are."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

COMMAND = [sys.executable, "-m", "ossicle.service.cli"]
# That the machine which runs the tests is busy is no reason to refuse their streams.
TAKE_ALL = {"OSSICLE_MAX_DELAY_SECONDS": "0"}


@dataclass
class Served:
    process: subprocess.Popen[str]
    address: str
    banner: str
    log: IO[str]

    @property
    def page(self) -> str:
        """The address of its web page."""
        match = re.search(r"^page +(http\S+)$", self.banner, re.MULTILINE)
        assert match
        return match[1]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def written(self) -> str:
        """What it has logged so far."""
        self.log.seek(0)
        return self.log.read()

    def memory_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        match = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert match
        return int(match[1]) / 1024


def serve(*options: str, **variables: str) -> Served:
    """A server on a free port; its banner has been printed, so it serves."""
    # Not a pipe: a log that nobody reads would fill it, and the server would wait for ever.
    log = tempfile.TemporaryFile("a+")  # noqa: SIM115 - open for as long as the server runs
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env={**os.environ, **TAKE_ALL, **variables},
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "--grace-seconds" in line:
            break
    banner = "".join(lines)
    match = re.match(r"serving on (\S+)\n", banner)
    if match is None:
        process.kill()
        process.communicate()
        log.seek(0)
        raise AssertionError(f"no server: {banner}{log.read()}")
    return Served(process, match[1], banner, log)


def stop(served: Served) -> int:
    served.process.send_signal(signal.SIGTERM)
    served.process.communicate(timeout=30)
    return served.process.returncode
