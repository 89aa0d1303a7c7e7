"""Which streams are late."""

from __future__ import annotations

from typing import Any

import numpy as np
from ossicle.model.decoding.decoders import Decoding
from ossicle.service.session import Session
from ossicle.service.session_config import SessionConfig
from ossicle.service.stream import Stream
from ossicle.service.turns import is_late

BLOCK = 2560


def test_a_live_stream_is_late_when_its_next_block_waits(tapes: Any) -> None:
    config = SessionConfig()
    decoder = Decoding(tapes.model.info).decoder(config.decoding)
    session = Session(tapes.model.info, config, decoder)
    stream = Stream(1, 0, session, print, print, lambda: None, 1e6, lambda: None)
    stream.write(np.zeros(2 * BLOCK - 1, np.float32))
    assert not is_late(stream, BLOCK)
    stream.write(np.zeros(1, np.float32))
    assert is_late(stream, BLOCK)
    stream.ahead = True
    assert not is_late(stream, BLOCK), "who sends faster than speech always has the next waiting"
    stream.ahead = False
    stream.consumed = BLOCK
    assert not is_late(stream, BLOCK)
