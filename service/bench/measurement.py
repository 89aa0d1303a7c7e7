"""A measurement: each recording alone, then one load after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ossicle.service.client.access import Access
from ossicle.speech.v1 import speech_pb2_grpc

from .load import Load, Settings, StreamRecord, stream_live
from .recording import Recording
from .summary import Run, summarize
from .target import MetricsPage, Target, TargetError, Usage


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        streams: clients at once, of each load.
        seconds: how long all clients of a load stream at once.
        ramp_seconds: how long it takes until they all do.
        settings: what their streams are like.
        files: if there are any, each load is put on once more beside so many clients that send
            files as fast as the server takes them.
    """

    streams: tuple[int, ...]
    seconds: float
    ramp_seconds: float
    settings: Settings = field(default_factory=Settings)
    files: int = 0


async def measure(
    target: Target,
    access: Access,
    recordings: Sequence[Recording],
    plan: Plan,
    progress: Callable[[str], None] = lambda text: None,
) -> list[Run]:
    """Put loads on a server.

    First every recording is sent alone, as fast as the server takes it, for the transcript that it
    has on an idle server: how samples are cut, and how fast they come, must make no difference.
    Then one client streams at the pace of speech, for the latencies of an idle server, and then
    each number of clients that the plan asks for.

    Args:
        target: the server.
        access: who is calling.
        recordings: what is sent, at least one.
        plan: how many clients stream for how long.
        progress: told what is being done, in a few words.

    Returns:
        The run with one client, and those of each other load.

    Raises:
        TargetError: not even a recording alone is answered, or the metrics cannot be asked.
    """
    alone: dict[str, str] = {}
    async with access.aio_channel(target.address, alone=True) as channel:
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        for number, recording in enumerate(recordings, start=1):
            progress(f"recording {number} of {len(recordings)}, alone")
            record = await stream_live(stub, access, recording, plan.settings, paced=False)
            alone[recording.name] = _transcript(record, target)
    runs = []
    for streams in (1, *(streams for streams in plan.streams if streams != 1)):
        # One client is the measure of the others, and needs no more than a recording for that.
        short = streams == 1 and plan.streams != (1,)
        ramp = plan.ramp_seconds if streams > 1 else 0.0
        seconds = min(plan.seconds, recordings[0].seconds) if short else plan.seconds
        beside = (0,) if short or not plan.files else (0, plan.files)
        for files in beside:
            progress(f"{streams} streams and {files} files, {ramp + seconds:.0f} s")
            load = Load(
                target.address, access, recordings, plan.settings, streams, ramp, seconds, files
            )
            runs.append(await _run(load, target, alone))
    return runs


async def _run(load: Load, target: Target, alone: dict[str, str]) -> Run:
    usage = Usage(target.metrics) if target.metrics else None
    began, cpu = time.monotonic(), time.process_time()
    running = asyncio.create_task(load.run())
    tasks: list[asyncio.Task[Any]] = [running]
    if usage:
        tasks.append(asyncio.create_task(usage.watch(*load.planned)))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if usage and tasks[1].done():
            tasks[1].result()  # it only ever ends by an error
        await running
        busy = (time.process_time() - cpu) / (time.monotonic() - began)
        if usage and usage.last is None:
            usage.last = await asyncio.to_thread(MetricsPage.read, target.metrics)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return summarize(load, alone, busy, usage)


def _transcript(record: StreamRecord, target: Target) -> str:
    """What was heard of a recording sent alone.

    Raises:
        TargetError: it was not answered.
    """
    if record.error:
        raise TargetError(
            f"the server at {target.address} does not answer {record.recording.name}, sent alone: "
            f"{record.error}: {record.reason}"
        )
    return record.transcript
