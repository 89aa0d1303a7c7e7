"""What a server is that shares its port with other processes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ossicle.service.limits import Limits
from ossicle.service.security.quota import TokenQuota


@dataclass(frozen=True)
class Share:
    """The part that one process has in a server of several.

    Attributes:
        processes: how many there are.
        limits: of all together, which is what clients are told.
        quota: where it is counted what tokens use, in all of them.
    """

    processes: int
    limits: Limits
    quota: TokenQuota


def divided(limits: Limits, processes: int, number: int) -> Limits:
    """The limits of one process: streams are divided, all else is per stream, call or message.

    Args:
        limits: of all together.
        processes: how many there are.
        number: of the process, from 0.

    Raises:
        ValueError: there are fewer streams than processes.
    """
    streams, rest = divmod(limits.max_streams, processes)
    if not streams:
        raise ValueError(
            f"--max-streams is {limits.max_streams}, less than --workers {processes}, each of "
            "which takes a part; give fewer workers or more streams"
        )
    return replace(limits, max_streams=streams + (number < rest))
