"""The client library: transcribe through a server from a Python program.

    from ossicle.service.client import SpeechClient

    with SpeechClient("localhost:50051") as client:
        print(client.recognize("talk.flac").text)

        for result in client.stream(chunks, encoding="linear16", sample_rate=16000):
            print(result.text)

:class:`ossicle.service.Recognizer` has the same methods and needs no server.

Given several addresses, a client turns to the next where one does not answer, and a stream whose
server is gone goes on at another, from the last final result, as if nothing had happened; see
:class:`Resumption`.

:class:`AsyncSpeechClient` has the same methods for ``asyncio``. What a call can fail with is in
:mod:`ossicle.service.client.errors`. A :class:`SpeechClient` may be used from several threads, an
:class:`AsyncSpeechClient` from one event loop.
"""

from ossicle.service.formats import Alternative
from ossicle.service.values import (
    Endpointing,
    Finalize,
    ModelDescription,
    ModelList,
    Recognition,
    Result,
    ServerLimits,
    SpeechContext,
    SpeechEvent,
    SpeechEventKind,
)

from .access import Tls
from .async_speech_to_text import AsyncSpeechToText
from .asynchronous import AsyncSpeechClient
from .blocking import SpeechClient
from .errors import (
    AuthenticationError,
    BusyError,
    CallCancelledError,
    InvalidRequestError,
    LimitError,
    OssicleError,
    RequestError,
    ServerError,
    TimedOutError,
    UnavailableError,
    UnknownModelError,
    UnsupportedError,
)
from .resumption import Resumption
from .speech_to_text import SpeechToText

__all__ = [
    "Alternative",
    "AsyncSpeechClient",
    "AsyncSpeechToText",
    "AuthenticationError",
    "BusyError",
    "CallCancelledError",
    "Endpointing",
    "Finalize",
    "InvalidRequestError",
    "LimitError",
    "ModelDescription",
    "ModelList",
    "OssicleError",
    "Recognition",
    "RequestError",
    "Result",
    "Resumption",
    "ServerError",
    "ServerLimits",
    "SpeechClient",
    "SpeechContext",
    "SpeechEvent",
    "SpeechEventKind",
    "SpeechToText",
    "TimedOutError",
    "Tls",
    "UnavailableError",
    "UnknownModelError",
    "UnsupportedError",
]
