"""The server that is measured, and what its metrics say of it."""

from __future__ import annotations

import asyncio
import math
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryFile

from ossicle.service.environment import without_settings
from prometheus_client.parser import text_string_to_metric_families

# How often memory is looked at.
SAMPLE_SECONDS = 1.0
STOP_SECONDS = 30.0


class TargetError(Exception):
    """The server cannot be measured; the message says why and what to do."""


@dataclass(frozen=True)
class Target:
    """A server.

    Attributes:
        address: where it serves.
        metrics: the page of its metrics, "" if there is none.
    """

    address: str
    metrics: str = ""


@dataclass(frozen=True)
class ServerSettings:
    """What a server of our own is started with.

    Attributes:
        streams: slots.
        model: name or folder of the model; None for the bundled one.
        threads: of the network; 0 for one for each core.
        options: further arguments of ``ossicle serve``.
    """

    streams: int
    model: str | None = None
    threads: int = 0
    options: tuple[str, ...] = ()


@contextmanager
def own_server(settings: ServerSettings) -> Iterator[Target]:
    """A server in a process of its own on the loopback interface.

    Raises:
        TargetError: it does not start.
    """
    command = [sys.executable, "-m", "ossicle.service.cli", "serve", "--host", "127.0.0.1"]
    command += ["--port", "0", "--metrics-port", "0", "--max-streams", str(settings.streams)]
    # All streams are taken, late or not: how late they are is what is measured.
    command += ["--max-delay-seconds", "0"]
    command += ["--threads", str(settings.threads), "--log-format", "text"]
    command += ["--model", settings.model] if settings.model else []
    with TemporaryFile("w+", encoding="utf-8") as log:
        process = subprocess.Popen(
            [*command, *settings.options],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=without_settings(),
        )
        assert process.stdout is not None
        try:
            address = metrics = ""
            for line in process.stdout:
                if found := re.match(r"serving on (\S+)", line):
                    address = found[1]
                if found := re.match(r"metrics\s+(http\S+)", line):
                    metrics = found[1]
                    break
            if not metrics:
                process.wait(STOP_SECONDS)
                log.seek(0)
                raise TargetError(f"the server did not start: {log.read().strip()[-1000:]}")
            yield Target(address, metrics)
        finally:
            process.terminate()
            try:
                process.communicate(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


class MetricsPage:
    """One reading of a server's metrics.

    Args:
        text: the page.
    """

    def __init__(self, text: str) -> None:
        self.at = time.monotonic()
        self._samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def total(self, name: str, **labels: str) -> float:
        """The sum of the samples of a name that have the labels; NaN if there are none."""
        values = [
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return sum(values) if values else math.nan

    @classmethod
    def read(cls, address: str) -> MetricsPage:
        """The page at an address.

        Raises:
            TargetError: there is none.
        """
        if not address.startswith(("http://", "https://")):
            raise TargetError(f"--metrics {address} is no address; give http://HOST:PORT/metrics")
        try:
            with urllib.request.urlopen(address, timeout=10) as response:
                return cls(response.read().decode())
        except (OSError, ValueError) as error:
            raise TargetError(f"no metrics at {address}: {error}; is it an Ossicle's?") from error


@dataclass
class Usage:
    """What a server needed while it was watched.

    Attributes:
        address: the page of its metrics.
        samples: seconds since the watching began, memory in MiB, and streams it had.
        first: the page when the measurement began; None until then.
        last: the page at its end.
    """

    address: str
    samples: list[tuple[float, float, float]] = field(default_factory=list)
    first: MetricsPage | None = None
    last: MetricsPage | None = None

    async def watch(self, start: float, end: float) -> None:
        """Look at memory once a second until cancelled, and at all of the page at two moments.

        Args:
            start: the first moment, by ``time.monotonic``.
            end: the second.
        """
        await asyncio.gather(self._sample(), self._read_first(start), self._read_last(end))

    async def _sample(self) -> None:
        began = time.monotonic()
        while True:
            page = await self._read(0.0)
            memory = page.total("process_resident_memory_bytes") / 2**20
            streams = page.total("ossicle_streams_active")
            self.samples.append((round(page.at - began, 1), round(memory, 1), streams))
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _read_first(self, moment: float) -> None:
        self.first = await self._read(moment)

    async def _read_last(self, moment: float) -> None:
        self.last = await self._read(moment)

    async def _read(self, moment: float) -> MetricsPage:
        await asyncio.sleep(moment - time.monotonic())
        return await asyncio.to_thread(MetricsPage.read, self.address)

    @property
    def memory_mib(self) -> float:
        """Most memory it had at any moment; NaN if it does not tell, as outside Linux."""
        return max((memory for _, memory, _ in self.samples), default=math.nan)

    def rate(self, name: str) -> float:
        """Increase of a counter in a second between the two moments."""
        if self.first is None or self.last is None or self.last.at <= self.first.at:
            return math.nan
        return (self.last.total(name) - self.first.total(name)) / (self.last.at - self.first.at)

    def mean(self, name: str, **labels: str) -> float:
        """The mean of what a histogram observed between the two moments."""
        if self.first is None or self.last is None:
            return math.nan
        total, count = (
            self.last.total(f"{name}_{part}", **labels)
            - self.first.total(f"{name}_{part}", **labels)
            for part in ("sum", "count")
        )
        return total / count if count else math.nan
