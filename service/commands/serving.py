"""A server as the command line describes it: how it is made, and what it says of itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from ossicle.service.limits import Limits
from ossicle.service.security.config import Security
from ossicle.service.web.config import WebConfig

if TYPE_CHECKING:
    from ossicle.model.decoding.decoders import Decoding, DecodingConfig
    from ossicle.model.folder import LoadedModel
    from ossicle.service.server import SpeechServer
    from ossicle.service.telemetry.telemetry import Telemetry
    from ossicle.service.workers.share import Share


@dataclass(frozen=True)
class Serving:
    """What ``ossicle serve`` was asked for, but for how it is watched.

    Attributes:
        models: names or folders, the default first; none for what OSSICLE_MODEL says, several with
            commas between them, or the bundled model.
        threads: of the network, in each process.
        decoder: search for clients that choose none; None for the model's choice.
        beam_width: hypotheses for clients that do not say; 0 for the model's choice.
        host: address to listen on.
        port: 0 for any that is free.
        limits: what clients may do, of all processes together.
        security: who may connect.
        web: where HTTP is served too; None for gRPC alone.
    """

    models: tuple[str, ...]
    threads: int
    decoder: Literal["beam", "greedy"] | None
    beam_width: int
    host: str
    port: int
    limits: Limits
    security: Security
    web: WebConfig | None

    def server(
        self,
        telemetry: Telemetry,
        limits: Limits | None = None,
        share: Share | None = None,
        on_failure: Callable[[], None] = lambda: None,
    ) -> SpeechServer:
        """The server, not started yet.

        Args:
            telemetry: what of it is watched.
            limits: of this process, if it is one of several.
            share: see :class:`SpeechServer`.
            on_failure: see :class:`SpeechServer`.

        Raises:
            ModelError: a model is not there or cannot be loaded.
            OSError, ValueError: as :class:`SpeechServer`.
        """
        self.security.check(self.host)  # before the models are loaded, which takes its time
        from ossicle.model.decoding.decoders import DecodingConfig
        from ossicle.service.server import SpeechServer

        return SpeechServer(
            self._load_models(),
            limits or self.limits,
            self.host,
            self.port,
            search=DecodingConfig(self.decoder, self.beam_width),
            telemetry=telemetry,
            security=self.security,
            web=self.web,
            share=share,
            on_failure=on_failure,
        )

    def _load_models(self) -> list[LoadedModel]:
        from ossicle.model.folder import LoadedModel
        from ossicle.model.runtime import find_model

        variable = os.environ.get("OSSICLE_MODEL", "").split(",")
        names = self.models or [name.strip() for name in variable if name.strip()] or [""]
        return [LoadedModel.load(find_model(name), self.threads) for name in names]


def description(server: SpeechServer, threads: int, metrics: str) -> dict[str, str | int | float]:
    """What a newly started server says of itself in one line of its log."""
    return {
        "address": server.address,
        "transport": server.security.transport(server.host),
        "clients": server.security.clients(),
        "health": server.security.health(server.address),
        "page": server.page,
        "metrics": metrics,
        "model": ",".join(model.info.name for model in server.models.all),
        "workers": server.share.processes if server.share else 1,
        "threads": threads,
        **asdict(server.told_limits),
    }


def banner(server: SpeechServer, threads: int, metrics: str) -> str:
    """What a newly started server says of itself: where it is, what it serves, its limits."""
    from ossicle.service.client.messages import AUTO, ENCODINGS

    models = "\n".join(
        f"model      {info.name} ({info.language}, look-ahead {info.lookahead_ms} ms)"
        for info in (model.info for model in server.models.all)
    )
    encodings = ", ".join(encoding for encoding in ENCODINGS if encoding != AUTO)
    limits = "\n".join(f"  {line}" for line in server.told_limits.describe())
    decoder = ", ".join(
        dict.fromkeys(_searching(model.decoding, server.search) for model in server.models.all)
    )
    workers = f"workers    {server.share.processes}\n" if server.share else ""
    each = " in each" if server.share else ""
    return (
        f"serving on {server.address}\n"
        f"{models}\n"
        f"audio      {encodings}; 8 to 192 kHz\n"
        f"{workers}"
        f"threads    {threads}{each}\n"
        f"decoder    {decoder}\n"
        f"transport  {server.security.transport(server.host)}\n"
        f"clients    {server.security.clients()}\n"
        f"health     {server.security.health(server.address)}\n"
        f"page       {server.page or 'not served (--http 8080)'}\n"
        f"metrics    {metrics or 'not served'}\n"
        f"limits\n{limits}"
    )


def _searching(decoding: Decoding, chosen: DecodingConfig) -> str:
    search: str = chosen.search or ("beam" if decoding.language else "greedy")
    if search != "beam":
        return search
    width = chosen.beam_width or decoding.settings.beam.width
    language = "a" if decoding.language else "no"
    return f"beam of {width} hypotheses, {language} language model"
