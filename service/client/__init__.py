"""The client library: transcribe through a server from a Python program.

    from ossicle.service.client import SpeechClient

    with SpeechClient("localhost:50051") as client:
        print(client.recognize("talk.flac").text)

        for result in client.stream(chunks, encoding="linear16", sample_rate=16000):
            print(result.text)

:class:`AsyncSpeechClient` has the same methods for ``asyncio``. What a call can fail with is in
:mod:`ossicle.service.client.errors`. One client may be used from several threads.
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

__all__ = [
    "Alternative",
    "AsyncSpeechClient",
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
    "ServerError",
    "ServerLimits",
    "SpeechClient",
    "SpeechContext",
    "SpeechEvent",
    "SpeechEventKind",
    "TimedOutError",
    "Tls",
    "UnavailableError",
    "UnknownModelError",
    "UnsupportedError",
]
