"""A client that makes hostile calls, many at a time, and tells what came of them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable

import grpc
from hostile_requests import HostileCall, HostileRequests
from ossicle.service.client.ended_call import status_now

# What a call may end with. A server that fails would say UNKNOWN, INTERNAL or UNAVAILABLE.
PROPER = frozenset(
    {
        *("OK", "INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED", "OUT_OF_RANGE"),
        *("RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "CANCELLED", "closed", "lost"),
    }
)
_CLIENT = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_metadata_size", 64 << 10)]
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class HostileClient:
    """Calls a server.

    Args:
        address: where it is.
        at_once: how many calls are open at the same time.
        longest: seconds after which a call that has not ended hangs.
    """

    def __init__(self, address: str, at_once: int = 12, longest: float = 60.0) -> None:
        self._address = address
        self._at_once = at_once
        self._longest = longest
        self._requests = HostileRequests()
        self.ends: Counter[str] = Counter()
        self.improper: list[str] = []

    async def run(self, seeds: Iterable[int]) -> None:
        """Make the calls of some seeds."""
        waiting = iter(seeds)
        async with grpc.aio.insecure_channel(self._address, options=_CLIENT) as channel:

            async def work() -> None:
                for seed in waiting:
                    await self._one(channel, seed)

            await asyncio.gather(*(work() for _ in range(self._at_once)))

    async def _one(self, channel: grpc.aio.Channel, seed: int) -> None:
        way = self._connection(seed) if seed % 50 == 49 else self._call(channel, seed)
        try:
            end = await asyncio.wait_for(way, self._longest)
        except asyncio.TimeoutError:
            end = "hangs"
        self.ends[end.partition(":")[0]] += 1
        if end.partition(":")[0] not in PROPER:
            self.improper.append(f"seed {seed} {end}")

    async def _call(self, channel: grpc.aio.Channel, seed: int) -> str:
        hostile = self._requests.call(seed)
        call = channel.stream_stream(hostile.path, bytes, bytes)(
            _sent(hostile), timeout=hostile.timeout, metadata=hostile.metadata
        )
        status: list[grpc.aio.AioRpcError] = []
        call.add_done_callback(lambda call: status.append(status_now(call)))
        try:
            async for _ in call:
                if hostile.leaves:
                    call.cancel()
        except asyncio.CancelledError:
            if not call.done():
                raise  # it hangs
        except grpc.aio.AioRpcError as error:
            status.append(error)
        end = f"{status[0].code().name}: {status[0].details()}"
        # The server has ended the call while this end was writing, and gRPC has lost the status
        # here (grpc/grpc#36066). Calls that the server ends so itself are errors in its log.
        return "lost" if end == "INTERNAL: Internal error from Core" else end

    async def _connection(self, seed: int) -> str:
        """A connection that speaks HTTP/2 for a while, or not at all."""
        rng = random.Random(seed)
        host, _, port = self._address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        settings = b"\0\0\0\x04\0\0\0\0\0"
        frames = b"".join(
            rng.choice((0, 1, 100, 1 << 14, 1 << 23)).to_bytes(3, "big")
            + bytes((rng.randrange(12), rng.randrange(256)))
            + rng.choice((0, 1, 3, 1 << 31)).to_bytes(4, "big")
            + rng.randbytes(rng.choice((0, 5, 100)))
            for _ in range(rng.randrange(20))
        )
        writer.write(rng.choice((b"", _PREFACE, _PREFACE + settings)) + frames)
        try:
            await asyncio.wait_for(reader.read(), rng.choice((0.01, 0.3)))
        except (OSError, asyncio.TimeoutError):
            pass
        finally:
            writer.close()
        return "closed"


async def _sent(call: HostileCall) -> AsyncIterator[bytes]:
    for number, message in enumerate(call.messages):
        if call.leaves and number > 3:
            # It stays, and sends no more: the server has to find the end of that.
            await asyncio.sleep(0.1)
        yield message
