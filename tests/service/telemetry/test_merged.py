"""The metrics of several processes as those of one server."""

from __future__ import annotations

from metrics_page import Samples, samples
from ossicle.service.limits import Limits
from ossicle.service.telemetry.merged import MergedMetrics
from ossicle.service.telemetry.metrics import ServerMetrics
from prometheus_client import CollectorRegistry, Metric, generate_latest


def process(calls: int, seconds: float, *, serving: bool = True) -> list[Metric]:
    """What a process tells that has answered some calls, one of them so long."""
    metrics = ServerMetrics()
    metrics.set_limits(Limits(max_streams=8))
    metrics.set_serving(serving)
    metrics.calls.labels("Recognize", "OK").inc(calls)
    metrics.calls_active.labels("Recognize").set(calls)
    metrics.call_seconds.labels("Recognize").observe(seconds)
    return list(metrics.registry.collect())


def read(merged: MergedMetrics) -> Samples:
    registry = CollectorRegistry()
    registry.register(merged)
    return samples(generate_latest(registry).decode())


def test_counts_and_gauges_add_up_and_what_is_the_same_in_all_is_told_once() -> None:
    pages = [process(2, 0.2, serving=False), process(3, 20.0)]
    page = read(MergedMetrics(lambda: None, lambda: pages))
    assert page["ossicle_calls_total{code=OK,method=Recognize}"] == 5
    assert page["ossicle_calls_active{method=Recognize}"] == 5
    assert page["ossicle_call_seconds_count{method=Recognize}"] == 2
    assert page["ossicle_call_seconds_sum{method=Recognize}"] == 20.2
    assert page["ossicle_call_seconds_bucket{le=0.25,method=Recognize}"] == 1
    assert page["ossicle_call_seconds_bucket{le=30.0,method=Recognize}"] == 2
    assert page["ossicle_serving{}"] == 1  # the other does not
    assert page["ossicle_limit{limit=max_streams}"] == 8
    (build,) = (value for name, value in page.items() if name.startswith("ossicle_build_info"))
    assert build == 1


def test_a_total_does_not_go_down_when_a_process_ends() -> None:
    asked = []
    pages = {0: process(2, 0.2), 1: process(3, 20.0)}
    merged = MergedMetrics(lambda: asked.append(True), lambda: pages.values())
    for replaced in (1, 0):
        with merged.ending(pages[replaced]):
            pages[replaced] = process(1, 1.0)
    page = read(merged)
    assert asked == [True]
    assert page["ossicle_calls_total{code=OK,method=Recognize}"] == 7
    assert page["ossicle_call_seconds_count{method=Recognize}"] == 4
    assert page["ossicle_calls_active{method=Recognize}"] == 2
