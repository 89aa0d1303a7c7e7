"""From the bytes of a call to samples in the engine's queue."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from ossicle.data.audio import AudioError, open_decoder

from .aio_stream import AioStream
from .convert import AudioSettings

# Bare samples in messages up to this size are decoded faster than handed to another thread.
INLINE_BYTES = 1 << 16


class AudioIntake:
    """Decodes the audio of one call.

    Containers and large messages are decoded by a pool of threads, block by block, so that a
    slow decoder delays only its own call and a small message that holds hours of silence needs
    little memory.

    Args:
        settings: how to read the audio.
        max_seconds: longest audio to take.
        pool: threads for decoding.

    Raises:
        AudioError: the settings do not describe audio we can read.
    """

    def __init__(self, settings: AudioSettings, max_seconds: float, pool: Executor) -> None:
        self._decoder = open_decoder(
            settings.encoding, settings.sample_rate, settings.channels, max_seconds
        )
        self._inline = settings.encoding.headerless
        self._pool = pool
        self._any = False
        self._whole = True  # whether nothing was cut off while it was decoded

    async def feed(self, data: bytes, stream: AioStream) -> None:
        """Decode the next bytes into a stream.

        Raises:
            AudioError: the bytes are not such audio, or too much of it.
        """
        if data:
            self._any = True
            inline = self._inline and len(data) <= INLINE_BYTES
            await self._write(self._decoder.feed_blocks(data), stream, inline)

    async def finish(self, stream: AioStream) -> None:
        """Decode what is left after the last byte; nothing if there was no byte at all.

        Raises:
            AudioError: the audio is cut short or none.
        """
        if self._any:
            await self._write(self._decoder.finish_blocks(), stream, self._inline)

    async def flush(self, stream: AioStream) -> None:
        """Decode what the decoder holds back, where reading has ended before the audio.

        There, nothing is cut short.
        """
        if self._any and self._whole:
            with suppress(AudioError):
                await self._write(self._decoder.finish_blocks(), stream, self._inline)

    def close(self) -> None:
        """Release the decoder, whatever it is doing."""
        self._decoder.close()

    async def _write(
        self, blocks: Iterator[NDArray[np.float32]], stream: AioStream, inline: bool
    ) -> None:
        loop = asyncio.get_running_loop()
        self._whole = False
        while not stream.ended:  # what comes after that, nobody would hear
            if inline:
                block = next(blocks, None)
            else:
                block = await loop.run_in_executor(self._pool, next, blocks, None)
            if block is None:
                self._whole = True
                break
            await stream.write(block)
