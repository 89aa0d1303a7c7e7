"""The models of a server: chosen by name, and replaced while streams go on.

Each model has an engine of its own. When a model is replaced, new streams get the new one, and the
old one stays until the last stream that began with it is over; then its memory is given back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context

from ossicle.model.decoding.decoders import Decoding, DecodingConfig
from ossicle.model.folder import LoadedModel
from ossicle.model.runtime import ModelInfo

from .admission import NoFreeSlot
from .engine import Engine
from .errors import no_such_model
from .limits import Limits
from .memory import settle
from .telemetry.metrics import ModelMetrics, ServerMetrics

log = logging.getLogger(__name__)

# The step that is under way when an engine is told to stop takes a small part of this.
ENGINE_STOP_SECONDS = 5.0


class ServedModel:
    """One model that is served.

    Attributes:
        loaded: the model.
        engine: what runs it.
        metrics: where it is counted.
        streams: that use it now.
        retired: no new stream gets it.
    """

    def __init__(self, loaded: LoadedModel, engine: Engine, metrics: ModelMetrics) -> None:
        self.loaded = loaded
        self.engine = engine
        self.metrics = metrics
        self.streams = 0
        self.retired = False

    @property
    def info(self) -> ModelInfo:
        """Its properties."""
        return self.loaded.info

    @property
    def decoding(self) -> Decoding:
        """What makes words of what it hears."""
        return self.loaded.decoding

    @property
    def digest(self) -> str:
        """Which version of it this is."""
        return self.loaded.digest


class Models:
    """All models of a server; but for the engines' threads it lives in one event loop.

    Args:
        loaded: the models, at least one; the first is the default.
        limits: how many streams they have, all together, and how much of each may wait.
        search: how transcripts are searched for unless a client says.
        metrics: of the server.
        on_failure: called from an engine's thread if a model that is served has failed.

    Raises:
        ValueError: two models have the same name, or one cannot be decoded so.
    """

    def __init__(
        self,
        loaded: Sequence[LoadedModel],
        limits: Limits,
        search: DecodingConfig,
        metrics: ServerMetrics,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self._limits = limits
        self._search = search
        self._metrics = metrics
        self._on_failure = on_failure
        self._streams = 0
        self._served: dict[str, ServedModel] = {}
        self._retired: list[ServedModel] = []
        self._releasing: set[asyncio.Task[None]] = set()
        self._served = self._prepare(loaded)
        self._tell_metrics()

    @property
    def default(self) -> ServedModel:
        """The model of requests that name none."""
        return next(iter(self._served.values()))

    @property
    def all(self) -> tuple[ServedModel, ...]:
        """The models that new streams can have, the default first."""
        return tuple(self._served.values())

    @property
    def all_run(self) -> bool:
        """Whether none has failed since it was taken."""
        return not any(model.engine.has_failed for model in self.all)

    @property
    def loaded(self) -> list[LoadedModel]:
        """The same without their engines."""
        return [model.loaded for model in self.all]

    def choose(self, name: str) -> ServedModel:
        """The model of a name; "" is the default.

        Raises:
            ServiceError: NOT_FOUND, listing those there are.
        """
        if not name:
            return self.default
        if name not in self._served:
            raise no_such_model(name, self._served)
        return self._served[name]

    @contextmanager
    def using(self, name: str) -> Iterator[ServedModel]:
        """The model of a name, for one stream, which it stays with whatever is replaced meanwhile.

        Raises:
            ServiceError: NOT_FOUND, listing those there are.
            NoFreeSlot: there are as many streams as there may be, those of all models together.
        """
        model = self.choose(name)
        if self._streams >= self._limits.max_streams:
            raise NoFreeSlot(f"all {self._limits.max_streams} streams are taken")
        self._streams += 1
        model.streams += 1
        try:
            yield model
        finally:
            self._streams -= 1
            model.streams -= 1
            self._release_if_unused(model)

    async def start(self) -> None:
        """Warm all models up.

        Raises:
            EngineStopped: one does not run.
        """
        await _warm_up(self.all)

    def reloaded(self) -> list[LoadedModel]:
        """What the folders of the models hold now; may be called in any thread.

        Raises:
            ModelError: one cannot be loaded.
        """
        return [model.reloaded() for model in self.loaded]

    async def replace(self, loaded: Sequence[LoadedModel]) -> int:
        """Serve these models, once all of them are warm; those that are served already stay.

        Returns:
            How many are new.

        Raises:
            ValueError: as the constructor; nothing has changed then.
            EngineStopped: one does not run; nothing has changed then.
        """
        old = self.all
        new = self._prepare(loaded)
        fresh = [model for model in new.values() if model not in old]
        try:
            await _warm_up(fresh)
        except BaseException:
            await _stop(fresh)
            raise
        self._served = new
        self._retired += [model for model in old if model not in new.values()]
        self._tell_metrics()
        for model in old:
            model.retired = model not in new.values()
            self._release_if_unused(model)
        return len(fresh)

    async def stop(self) -> None:
        """Stop all engines; streams that still run end with an error."""
        await _stop([*self.all, *self._retired])

    def _prepare(self, loaded: Iterable[LoadedModel]) -> dict[str, ServedModel]:
        """The models with engines that have not been started; those that are served stay, if theirs
        run."""
        known = {model.loaded: model for model in self.all}
        prepared: dict[str, ServedModel] = {}
        for each in loaded:
            if each.info.name in prepared:
                raise ValueError(
                    f"two models have the name {each.info.name}, by which requests choose one; "
                    "change the name in the config.json of one of them, or leave it out"
                )
            served = known.get(each)
            if served is None or served.engine.has_failed:
                served = self._with_engine(each)
            prepared[each.info.name] = served
        return prepared

    def _with_engine(self, loaded: LoadedModel) -> ServedModel:
        loaded.decoding.check(self._search)
        metrics = self._metrics.of_model(loaded.info)
        engine = Engine(
            loaded.network,
            loaded.decoding,
            slots=self._limits.max_streams,
            queue_seconds=self._limits.queue_seconds,
            live_first=True,
            max_delay_seconds=self._limits.max_delay_seconds,
            on_failure=lambda error: self._failed(loaded),
            on_round=metrics.round,
        )
        return ServedModel(loaded, engine, metrics)

    def _failed(self, loaded: LoadedModel) -> None:
        if any(model.loaded is loaded for model in self.all):
            self._on_failure()

    def _tell_metrics(self) -> None:
        infos = [model.info for model in self.all]
        self._metrics.watch(infos, self._limits.max_streams, self._engines_of)

    def _engines_of(self, name: str) -> list[Engine]:
        return [model.engine for model in (*self.all, *self._retired) if model.info.name == name]

    def _release_if_unused(self, model: ServedModel) -> None:
        if model.retired and not model.streams and model in self._retired:
            self._retired.remove(model)
            # The call that used it last has nothing to do with the rest, nor has its log context.
            task = Context().run(asyncio.ensure_future, _release(model))
            self._releasing.add(task)
            task.add_done_callback(self._releasing.discard)


async def _warm_up(models: Iterable[ServedModel]) -> None:
    for model in models:
        model.engine.start()
        await asyncio.to_thread(model.engine.wait_ready)


async def _stop(models: Iterable[ServedModel]) -> None:
    for model in models:
        await asyncio.to_thread(model.engine.stop, ENGINE_STOP_SECONDS)


async def _release(model: ServedModel) -> None:
    """Give back the memory of a model that nobody uses any more."""
    name, digest = model.info.name, model.digest
    await _stop([model])
    del model
    settle()
    log.info("old model released", extra={"facts": {"model": name, "digest": digest}})
