"""What a supervisor and its workers tell each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ossicle.service.security.tokens import Token
from prometheus_client import Metric

QuotaAction = Literal["call", "begin_stream", "end_stream"]


@dataclass(frozen=True)
class Ready:
    """From a worker: it serves.

    Attributes:
        greeting: what the server says of itself, for people.
        facts: the same for machines.
    """

    greeting: str
    facts: dict[str, str | int | float]


@dataclass(frozen=True)
class Broken:
    """From a worker: it runs, but its recogniser has failed."""


@dataclass(frozen=True)
class AskPulse:
    """From the supervisor: are you there?"""


@dataclass(frozen=True)
class TellPulse:
    """From a worker, by what answers its clients: yes."""


@dataclass(frozen=True)
class AskMetrics:
    """From the supervisor: how are you?"""


@dataclass(frozen=True)
class TellMetrics:
    """From a worker: its metrics."""

    families: Sequence[Metric]


@dataclass(frozen=True)
class AskQuota:
    """From a worker: may the holder of a token do this? ``end_stream`` is not answered.

    Attributes:
        number: of the question.
        action: what.
        token: whose.
    """

    number: int
    action: QuotaAction
    token: Token


@dataclass(frozen=True)
class TellQuota:
    """From the supervisor: the answer.

    Attributes:
        number: of the question.
        refusal: why not, and in how many seconds it makes sense to try again; None for yes.
    """

    number: int
    refusal: tuple[str, int] | None
