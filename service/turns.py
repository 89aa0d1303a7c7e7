"""Whose turn it is: live streams first, those that are sent faster than speech in what is left.

A stream is *ahead* if more of it was recognised than can have been spoken since it was opened. It
has a block ready whenever it is looked at, and would take as much of each round as one who speaks;
several of them would make rounds longer than those who speak can wait.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable

from .stream import Stream

# What was said just before a stream was opened is live, too.
AHEAD_SECONDS = 2.0
# Blocks of all streams that are ahead, in a round with live ones, and in one that these wait for.
AHEAD_BESIDE_LIVE = 1
AHEAD_ALONE = 4
# A stream that has nothing to recognise and had nothing for so long needs no time of the engine.
BUSY_SECONDS = 1.0


def is_ahead(stream: Stream, sample_rate: int) -> bool:
    """Whether a stream is sent faster than speech."""
    spoken = time.monotonic() - stream.opened_at
    return stream.consumed / sample_rate > spoken + AHEAD_SECONDS


def is_late(stream: Stream, block: int) -> bool:
    """Whether a live stream whose block is being recognised has the next one waiting.

    Args:
        block: samples that are recognised at a time.
    """
    return not stream.ahead and stream.backlog >= 2 * block


def in_turn(streams: Iterable[Stream]) -> tuple[list[Stream], list[Stream]]:
    """The live streams, and those that are ahead, whoever waits longest first."""
    live: list[Stream] = []
    ahead: list[Stream] = []
    for stream in streams:
        (ahead if stream.ahead else live).append(stream)
    ahead.sort(key=lambda stream: stream.busy_at)
    return live, ahead


def most_ahead(taken: Collection[Stream], live: Collection[Stream], ahead: int) -> int:
    """Blocks that a round may have of streams that are ahead, besides those it has.

    Args:
        taken: streams that have a block in it.
        live: live streams that have none in it.
        ahead: how many of the others have none in it.
    """
    taken_ahead = sum(stream.ahead for stream in taken)
    if len(taken) > taken_ahead:
        return AHEAD_BESIDE_LIVE - taken_ahead
    return AHEAD_ALONE - taken_ahead if live else ahead


def count_busy(streams: Iterable[Stream], block: int) -> int:
    """Streams that need the engine's time; those that are ahead get no more of it than one.

    Args:
        streams: all that are open.
        block: samples that are recognised at a time.
    """
    since = time.monotonic() - BUSY_SECONDS
    busy = [stream for stream in streams if stream.busy_at > since or stream.backlog >= block]
    ahead = sum(stream.ahead for stream in busy)
    return len(busy) - max(ahead - AHEAD_BESIDE_LIVE, 0)
