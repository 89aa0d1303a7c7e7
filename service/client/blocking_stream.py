"""A stream of the client for programs with threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterable, Iterator

import grpc
from ossicle.service.values import Result
from ossicle.speech.v1 import speech_pb2

from .audio import Chunk, parts
from .errors import OssicleError
from .replicas import Replicas
from .stream import ResumableStream, StreamOptions


class BlockingStream(ResumableStream[grpc.Channel]):
    """One stream.

    Args:
        options: how to run it.
        replicas: the servers to choose from.
        chunks: what to send; read in a thread of its own, as fast as the server takes it.
    """

    def __init__(
        self,
        options: StreamOptions,
        replicas: Replicas[grpc.Channel],
        chunks: Iterable[Chunk],
    ) -> None:
        super().__init__(options, replicas)
        self._chunks = chunks
        self._call: grpc.Call | None = None
        # Guards all that the threads share, and tells when it has changed.
        self._changed = threading.Condition()

    def results(self) -> Iterator[Result]:
        """The results, until the stream is over.

        Raises:
            OssicleError: it has failed for good.
            Exception: what the chunks raised.
        """
        threading.Thread(target=self._read_source, name="ossicle-source", daemon=True).start()
        try:
            while (yield from self._converse()):
                time.sleep(self._wait_for_next())
        except OssicleError:
            yield from self._conversation.give_up()
            raise
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _converse(self) -> Generator[Result, None, bool]:
        """The results of one connection.

        Returns:
            Whether the stream has to go on.
        """
        with self._changed:
            opening = self._connect()
            call = self._replica.speech.StreamingRecognize(
                self._requests(opening, self._connection),
                timeout=self._remaining(),
                metadata=self._access.metadata,
            )
            self._call = call
        try:
            for response in call:
                with self._changed:
                    results = self._take(response)
                yield from results
        except grpc.RpcError as error:
            if self._source_error is not None:
                raise self._source_error from None
            return self._has_failed(error)
        finally:
            call.cancel()
            with self._changed:
                self._connection += 1
                self._changed.notify_all()
        return False

    def _requests(
        self, opening: speech_pb2.StreamingRecognizeRequest, connection: int
    ) -> Iterator[speech_pb2.StreamingRecognizeRequest]:
        """What to send on a connection, while it is the present one."""
        conversation = self._conversation
        yield opening
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: (
                        connection != self._connection
                        or conversation.waiting
                        or conversation.all_sent
                    )
                )
                if connection != self._connection:
                    return
                request = conversation.next_request()
                self._changed.notify_all()
            if request is not None:
                yield request
            elif conversation.all_sent:
                return

    def _read_source(self) -> None:
        conversation = self._conversation
        try:
            for chunk in self._chunks:
                for part in parts(chunk, self._config):
                    with self._changed:
                        self._changed.wait_for(lambda: self._over or not conversation.waiting)
                        if self._over:
                            return
                        conversation.add(part)
                        self._changed.notify_all()
        except BaseException as error:
            # Also that of `sys.exit`: who reads would wait for ever.
            with self._changed:
                self._source_error = error
                if self._call is not None:
                    self._call.cancel()
        else:
            with self._changed:
                conversation.end()
                self._changed.notify_all()
