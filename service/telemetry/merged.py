"""The metrics of several processes as those of one server.

Counters and histograms are added up, those of processes that have ended too: a total never goes
down. Gauges are added up as well, but for those that tell the same in each process.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

Page = Iterable[Metric]

_ACCUMULATING = ("counter", "histogram")
_SAME: dict[str, Callable[[float, float], float]] = {
    "ossicle_workers": max,
    "ossicle_limit": max,
    "ossicle_model_info": max,
    "ossicle_build_info": max,
    "ossicle_certificate_expiry_timestamp_seconds": min,
    "process_start_time_seconds": min,
    "process_max_fds": min,
}


class MergedMetrics(Collector):
    """Metrics of processes that come and go.

    Args:
        ask: asks each process that there is how it is.
        pages: what each has said.
    """

    def __init__(self, ask: Callable[[], None], pages: Callable[[], Iterable[Page]]) -> None:
        self._ask = ask
        self._pages = pages
        self._ended: list[Metric] = []
        self._changing = threading.Lock()

    def collect(self) -> Iterable[Metric]:
        """All of them as one."""
        self._ask()
        with self._changing:
            return merge([*self._pages(), self._ended])

    @contextmanager
    def ending(self, page: Page) -> Iterator[None]:
        """Keep what a process has counted that leaves the pages meanwhile."""
        with self._changing:
            yield
            self._ended = merge([self._ended, counted(page)])


def counted(page: Page) -> list[Metric]:
    """What a process has counted, without what it is doing now."""
    return [family for family in page if family.type in _ACCUMULATING]


def merge(pages: Iterable[Page]) -> list[Metric]:
    """One page of several."""
    families: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, frozenset[tuple[str, str]]], Sample]] = {}
    for page in pages:
        for family in page:
            families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            known = values.setdefault(family.name, {})
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                value = sample.value
                if key in known:
                    value = _together(sample.name)(known[key].value, value)
                known[key] = Sample(sample.name, sample.labels, value)
    for name, family in families.items():
        family.samples = list(values[name].values())
    return list(families.values())


def _together(name: str) -> Callable[[float, float], float]:
    if name.endswith("_created"):
        return min
    return _SAME.get(name, operator.add)
