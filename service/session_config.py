"""How one stream is to be answered."""

from __future__ import annotations

from dataclasses import dataclass, field

from ossicle.model.decoding.decoders import DecodingConfig

from .endpoint import EndpointConfig

MAX_ALTERNATIVES = 10
# A network that has heard so much goes on after a cut nearly as if there had been none.
CONTEXT_SECONDS = 1.0


@dataclass(frozen=True)
class SessionConfig:
    """How to answer one stream.

    Attributes:
        interim_results: yield partials.
        single_utterance: end after the first final.
        endpointing: when utterances end.
        alternatives: readings of a final at most, 1 to 10.
        decoding: how transcripts are searched for.
        context: seconds at the start of the stream that were recognised before, in the midst of
            speech; 0 to :data:`CONTEXT_SECONDS`.

    Raises:
        ValueError: for more or fewer alternatives, or more context.
    """

    interim_results: bool = True
    single_utterance: bool = False
    endpointing: EndpointConfig = field(default_factory=EndpointConfig)
    alternatives: int = 1
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    context: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.context <= CONTEXT_SECONDS + 1e-6:  # times travel in microseconds
            raise ValueError(f"context is {self.context:g} s; give 0 to {CONTEXT_SECONDS:g} s")
        if not 1 <= self.alternatives <= MAX_ALTERNATIVES:
            raise ValueError(f"alternatives is {self.alternatives}; give 1 to {MAX_ALTERNATIVES}")
