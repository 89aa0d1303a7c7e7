"""The gRPC service: engine, sessions, server, client and command line.

    from ossicle.service import Recognizer, SpeechClient

    with Recognizer() as speech:                  # in this process
        print(speech.recognize("talk.flac").text)

    with SpeechClient("localhost:50051") as speech:  # by a server: the same methods
        print(speech.recognize("talk.flac").text)

What is named here is imported when it is used, and the rest piece by piece
(``ossicle.service.server``, ...), so that a client does not load the recogniser. Errors and results
are in :mod:`ossicle.service.client`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import (
        AsyncSpeechClient,
        AsyncSpeechToText,
        Endpointing,
        Finalize,
        OssicleError,
        SpeechClient,
        SpeechContext,
        SpeechToText,
        Tls,
    )
    from .recognizer import AsyncRecognizer, Recognizer

__all__ = [
    "AsyncRecognizer",
    "AsyncSpeechClient",
    "AsyncSpeechToText",
    "Endpointing",
    "Finalize",
    "OssicleError",
    "Recognizer",
    "SpeechClient",
    "SpeechContext",
    "SpeechToText",
    "Tls",
]


def __getattr__(name: str) -> Any:
    """Import what ``__all__`` names when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = ".recognizer" if name.endswith("Recognizer") else ".client"
    return getattr(import_module(module, __name__), name)
