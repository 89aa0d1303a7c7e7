"""What a worker asks its supervisor, and takes back."""

from __future__ import annotations

import asyncio
from multiprocessing import Pipe

import pytest
from ossicle.service.security.tokens import Token
from ossicle.service.workers.link import Link
from ossicle.service.workers.messages import TellQuota
from prometheus_client import CollectorRegistry

TOKEN = Token("anna", "0" * 64, max_streams=1)


@pytest.mark.parametrize("leaves", ["before the answer", "in the turn of the answer"])
async def test_a_stream_that_was_granted_to_who_has_left_is_given_back(leaves: str) -> None:
    ours, theirs = Pipe()
    with ours, theirs:
        link = Link(theirs, CollectorRegistry())
        asking = asyncio.create_task(link.begin_stream(TOKEN))
        await asyncio.sleep(0)
        question = ours.recv()
        assert question.action == "begin_stream"
        if leaves == "before the answer":
            asking.cancel()
            await asyncio.sleep(0)
        link._take(TellQuota(question.number, None))
        asyncio.get_running_loop().call_soon(asking.cancel)
        with pytest.raises(asyncio.CancelledError):
            await asking
        await asyncio.sleep(0)
        assert ours.poll(5)
        given_back = ours.recv()
        assert (given_back.action, given_back.token) == ("end_stream", TOKEN)
        assert not ours.poll()
