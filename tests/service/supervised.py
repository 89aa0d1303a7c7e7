"""Servers of several processes."""

from __future__ import annotations

import re
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from calls import TIMEOUT, until
from metrics_page import Samples, samples
from processes import Served


@dataclass
class Workers:
    """A server with `--workers`."""

    served: Served

    @property
    def address(self) -> str:
        return self.served.address

    def pids(self) -> dict[int, int]:
        """The newest process of each worker."""
        found = re.findall(r"worker started worker=(\d+) pid=(\d+)", self.served.written())
        return {int(number): int(pid) for number, pid in found}

    def worker_of(self, request_id: str) -> int:
        """The number of the worker that answered a call which has ended."""
        line = rf"request_id={request_id} .*worker=(\d+)"
        assert until(lambda: bool(re.search(line, self.served.written())))
        match = re.search(line, self.served.written())
        assert match
        return int(match[1])

    def metrics(self) -> Samples:
        """Samples by name and labels, such as `ossicle_refused_total{reason=no_free_slot}`."""
        address = re.search(r"^metrics +(\S+)", self.served.banner, re.MULTILINE)
        assert address
        with urllib.request.urlopen(address[1], timeout=TIMEOUT) as response:
            return samples(response.read().decode())


def exists(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2]
    except OSError:
        return False
    return not state.startswith("Z")
