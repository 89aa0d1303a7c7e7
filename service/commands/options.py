"""Options that several commands share, each defined once."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from ossicle.model.commands.errors import one_line
from ossicle.model.commands.options import Search, thread_count
from ossicle.service.commands.output import fail
from ossicle.service.values import DEFAULT_BOOST, HIGHEST_BOOST, SpeechContext

if TYPE_CHECKING:
    from ossicle.model.decoding.decoders import Decoding, DecodingConfig
    from ossicle.model.runtime import AcousticModel

USAGE = 2
"""Exit code of a command that was asked wrongly."""

DEFAULT_SERVER = "localhost:50051"

ServerOption = Annotated[
    str,
    typer.Option(
        envvar="OSSICLE_SERVER",
        metavar="HOST:PORT",
        help="The server to ask; of several, with commas between them, the first that answers.",
    ),
]
OptionalServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="OSSICLE_SERVER",
        metavar="HOST:PORT",
        help="Let this server do it, or, of several with commas between them, the first that "
        "answers; by default no server is needed.",
    ),
]
ServerModelOption = Annotated[
    str, typer.Option("--model", "-m", help="Name of a model of the server; default: its first.")
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Name of a model, or without --server a model folder; see ossicle models. Default: "
        "what OSSICLE_MODEL says, or the bundled model; the server's own with --server.",
    ),
]
ThreadsOption = Annotated[
    int,
    typer.Option(
        envvar="OSSICLE_THREADS", min=0, help="Threads of the network; 0: one for each core."
    ),
]


def local_folder(name: str | None) -> Path:
    """The folder of a model to run in this process.

    Args:
        name: as :data:`ModelOption` gives it.

    Raises:
        ModelError: there is no such model.
    """
    from ossicle.model.runtime import find_model

    return find_model(name or os.environ.get("OSSICLE_MODEL"))


def local_model(name: str | None, threads: int = 0) -> tuple[AcousticModel, Decoding]:
    """A model to run in this process, with what it has for decoding.

    Args:
        name: as :data:`ModelOption` gives it.
        threads: as :data:`ThreadsOption` gives it.

    Raises:
        ModelError: there is no such model, or it cannot be loaded.
    """
    from ossicle.model.decoding.decoders import Decoding
    from ossicle.model.runtime import AcousticModel

    folder = local_folder(name)
    network = AcousticModel.load(folder, threads=thread_count(threads))
    return network, Decoding.load(folder, network.info)


@dataclass(frozen=True)
class SearchOptions:
    """How transcripts are searched for, with the phrases to expect."""

    decoder: Annotated[
        Search | None,
        typer.Option(
            help="Search with a beam and the language model, or greedily, which is faster. "
            "Default: the server's choice, or beam if the model has a language model.",
        ),
    ] = None
    beam_width: Annotated[
        int, typer.Option(min=0, help="Hypotheses that a beam search keeps; 0: the default.")
    ] = 0
    phrase: Annotated[
        list[str],
        typer.Option(metavar="TEXT", help="A word or phrase to expect; may be given repeatedly."),
    ] = field(default_factory=list)
    phrases: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file of such phrases, one a line.")
    ] = None
    boost: Annotated[
        float,
        typer.Option(
            min=0, max=HIGHEST_BOOST, help="How strongly to prefer them: 0 not at all, 20 most."
        ),
    ] = DEFAULT_BOOST

    def expected(self) -> tuple[str, ...]:
        """The phrases of the options and of the file; one that cannot be read ends the command."""
        if self.phrases is None:
            return tuple(self.phrase)
        try:
            lines = self.phrases.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError:
            fail(f"--phrases {self.phrases} is no text in UTF-8", USAGE)
        except OSError as error:
            fail(f"--phrases {one_line(error)}", USAGE)
        return (*self.phrase, *(line.strip() for line in lines if line.strip()))

    def decoding(self, decoding: Decoding) -> DecodingConfig:
        """What they ask of a model in this process; what it cannot do ends the command."""
        from ossicle.model.decoding.decoders import DecodingConfig, Phrase

        config = DecodingConfig(
            search=self.decoder.value if self.decoder else None,
            beam_width=self.beam_width,
            phrases=tuple(Phrase(text, self.boost) for text in self.expected()),
        )
        try:
            decoding.check(config)
        except ValueError as error:
            fail(str(error), USAGE)
        return config

    def request(self) -> dict[str, Any]:
        """The same as arguments of a client's methods."""
        expected = self.expected()
        return {
            "decoder": self.decoder.value if self.decoder else "",
            "beam_width": self.beam_width,
            "speech_contexts": [SpeechContext(expected, self.boost)] if expected else [],
        }


def with_group(
    name: str, options: Sequence[inspect.Parameter], make: Callable[..., object]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator that gives a command the options of a group.

    Args:
        name: the parameter of the command that takes the group.
        options: an option each, annotated for typer.
        make: makes the group of the options' values; a ValueError of it ends the command.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def collected(**values: Any) -> None:
            own = {option.name: values.pop(option.name) for option in options}
            try:
                group = make(**own)
            except ValueError as error:
                fail(str(error), USAGE)
            command(**values, **{name: group})

        parameters = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in inspect.signature(command, eval_str=True).parameters.values()
            if parameter.name != name
        ]
        parameters += options
        collected.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        collected.__annotations__ = {
            parameter.name: parameter.annotation for parameter in parameters
        }
        return collected

    return decorate


def options_of(group: type) -> list[inspect.Parameter]:
    """The fields of a dataclass whose annotations describe options."""
    annotations = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            part.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=(
                part.default_factory() if part.default_factory is not MISSING else part.default
            ),
            annotation=annotations[part.name],
        )
        for part in fields(group)
    ]


with_search = with_group("search", options_of(SearchOptions), SearchOptions)
"""Gives a command :class:`SearchOptions` as ``search``."""
