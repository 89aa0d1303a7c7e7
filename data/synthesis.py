"""Synthetic training speech: a text becomes a folder of recordings with a manifest."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from ossicle.data import pool_process
from ossicle.data.formats import SAMPLE_RATE
from ossicle.data.manifest import manifest_digest
from ossicle.data.synthesis_engine import Engine, EngineLoader, SynthesisError
from ossicle.data.synthesis_plan import SpeechPlan, UtterancePlan, read_sentences
from ossicle.data.synthesis_writer import OddSpeechError, SpeechFolder, Spoken, compress, trim

MOST_REJECTED = 100
"""So many utterances in a row that are odd are a fault of the engine or the text."""


@dataclass(frozen=True)
class SynthesisConfig:
    """Which speech is made.

    Attributes:
        text: a sentence a line, with or without punctuation; also `.gz` or `.xz`.
        folder: where the speech is kept. One that was begun with the same text, seed and engine
            is gone on with.
        hours: of speech in the folder in the end.
        seed: another one gives another order of the sentences, other speakers and other readings.
        processes: that make speech; their number does not change what is made.
    """

    text: Path
    folder: Path
    hours: float
    seed: int = 1
    processes: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.hours < float("inf"):
            raise ValueError(f"hours is {self.hours}: make more than 0")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}: use 0 or more")
        if self.processes < 1:
            raise ValueError(f"processes is {self.processes}: use at least 1")


@dataclass(frozen=True)
class SynthesisProgress:
    """How far a synthesis is.

    Attributes:
        seconds: of speech in the folder.
        utterances: recordings in the folder.
        rejected: utterances that were odd and are not in it.
        skipped: lines of the text that are left out, because how to say them is not sure.
    """

    seconds: float
    utterances: int
    rejected: int
    skipped: int


def synthesize(
    config: SynthesisConfig,
    load_engine: EngineLoader,
    progress: Callable[[SynthesisProgress], None] | None = None,
) -> SynthesisProgress:
    """Make speech until the folder holds as many hours as wanted.

    Args:
        load_engine: called here and in every process.
        progress: called at the start and after every utterance.

    Raises:
        SynthesisError: there is no engine or no text, the folder is of another synthesis, or the
            engine makes nothing but odd speech.
        TextFileError: the text cannot be read.
    """
    engine = load_engine()
    sentences, skipped = read_sentences(config.text)
    settings = {
        "text": manifest_digest(config.text),
        "seed": config.seed,
        "engine": engine.name,
    }
    plan = SpeechPlan(sentences, engine.speakers, config.seed)
    with closing(SpeechFolder(config.folder, settings)) as folder:
        plans = (plan.utterance(number) for number in count(folder.number))

        def reached() -> SynthesisProgress:
            return SynthesisProgress(folder.seconds, folder.utterances, folder.rejected, skipped)

        if progress is not None:
            progress(reached())
        rejected_in_a_row = 0
        with closing(_speak_all(plans, engine, load_engine, config.processes)) as spoken:
            while folder.seconds < config.hours * 3600:
                utterance = next(spoken)
                folder.add(utterance)
                rejected_in_a_row = rejected_in_a_row + 1 if utterance.rejection else 0
                if rejected_in_a_row == MOST_REJECTED:
                    raise SynthesisError(
                        f"{MOST_REJECTED} utterances in a row were odd, the last "
                        f"({utterance.plan.sentence.text!r}): {utterance.rejection}"
                    )
                if progress is not None:
                    progress(reached())
        return reached()


def speak(engine: Engine, plan: UtterancePlan) -> Spoken:
    """Make one utterance."""
    samples = engine.speak(plan.sentence.spoken, plan.speaker, plan.speed, plan.seed)
    try:
        trimmed = trim(samples, engine.rate, plan)
    except OddSpeechError as error:
        return Spoken(plan, rejection=f"{plan.speaker}: {error}")
    return Spoken(plan, compress(trimmed), len(trimmed) / SAMPLE_RATE)


def _speak_all(
    plans: Iterator[UtterancePlan], engine: Engine, load_engine: EngineLoader, processes: int
) -> Generator[Spoken, None, None]:
    """Utterances in the order of their plans."""
    if processes == 1:
        for plan in plans:
            yield speak(engine, plan)
        return
    pool = ProcessPoolExecutor(
        processes,
        # A forked process would share the threads' locks of the engine that is loaded here.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_process,
        initargs=(load_engine,),
    )
    try:
        waiting: deque[Future[Spoken]] = deque()
        for plan in plans:
            waiting.append(pool.submit(_speak, plan))
            if len(waiting) == 4 * processes:
                yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise SynthesisError("a process that makes speech has died: out of memory?") from error
    finally:
        pool.shutdown(cancel_futures=True)


_engine: Engine
"""Of a process of the pool."""


def _start_process(load_engine: EngineLoader) -> None:
    global _engine
    pool_process.begin()
    _engine = load_engine()


def _speak(plan: UtterancePlan) -> Spoken:
    return speak(_engine, plan)
