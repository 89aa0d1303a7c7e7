"""Servers with an HTTP side, and their clients."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
from ossicle.model.decoding.decoders import Decoding
from ossicle.model.runtime import AcousticModel
from ossicle.service import Recognizer
from ossicle.service.limits import Limits
from ossicle.service.server import SpeechServer
from ossicle.service.web.config import WebConfig


@pytest.fixture(scope="session")
def web(serve: Any, model: AcousticModel, decoding: Decoding) -> Iterator[SpeechServer]:
    """A server of the model under test."""
    with serve(
        model, Limits(max_streams=12, max_delay_seconds=0), decoding=decoding, web=WebConfig(0)
    ) as server:
        yield server


@pytest.fixture(scope="session")
def recognizer() -> Iterator[Recognizer]:
    """The same model in this process."""
    with Recognizer(os.environ.get("OSSICLE_MODEL"), threads=1) as recognizer:
        yield recognizer


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session
