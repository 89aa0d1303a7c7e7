"""Speech to text in this process: the methods of the client library, without a server.

    from ossicle.service import Recognizer

    with Recognizer() as recognizer:
        print(recognizer.recognize("talk.flac").text)

What is asked is checked and answered through the contract's own messages, as a server does it: an
option means the same here and there, and what one refuses the other refuses in the same words.
"""

from .asynchronous import AsyncRecognizer
from .blocking import Recognizer

__all__ = ["AsyncRecognizer", "Recognizer"]
