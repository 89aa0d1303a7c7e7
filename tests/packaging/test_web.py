"""What is written about the HTTP side is about the server that there is."""

from __future__ import annotations

import re
import typing
from pathlib import Path
from typing import get_type_hints

import grpc
import pytest
from ossicle.service.commands.web import WebOptions
from ossicle.service.web.form import GRANULARITIES, RESPONSE_FORMATS
from ossicle.service.web.websocket import CLOSE_CODES, END_OF_AUDIO, parse_request

REPOSITORY = Path(__file__).resolve().parents[2]
WEB = (REPOSITORY / "docs/websocket.md").read_text(encoding="utf-8")


def test_every_flag_is_documented_with_its_variable() -> None:
    hints = get_type_hints(WebOptions, include_extras=True)
    flags = [
        ("--" + name.replace("_", "-"), typing.get_args(hint)[1].envvar)
        for name, hint in hints.items()
        if typing.get_origin(hint) is typing.Annotated
    ]
    assert re.findall(r"^\| `(--\S+)` \| `(\S+)` \|", WEB, flags=re.MULTILINE) == flags


def test_the_messages_of_clients_are_understood() -> None:
    sent = re.findall(
        r"^ *(\{\"streamingConfig\".*?\}\})\n *```", WEB, flags=re.DOTALL | re.MULTILINE
    )
    assert len(sent) == 1
    request = parse_request(sent[0])
    assert request is not None
    assert request.streaming_config.config.sample_rate_hertz == 16_000
    finalize = parse_request('{"finalize": {}}')
    assert finalize is not None
    assert finalize.HasField("finalize")
    assert parse_request('{"endOfAudio": {}}') is None
    assert END_OF_AUDIO.keys() == {"endOfAudio"}
    assert WEB.count('{"endOfAudio": {}}') >= 2


@pytest.mark.parametrize(
    ("code", "status"), re.findall(r"^\| (4\d{3}) \| `(\w+)` \|", WEB, flags=re.MULTILINE)
)
def test_close_codes_are_those_of_the_status(code: str, status: str) -> None:
    assert int(code) == CLOSE_CODES + grpc.StatusCode[status].value[0]


def test_the_fields_of_the_form_are_those_that_are_honoured() -> None:
    for name in (*RESPONSE_FORMATS, *GRANULARITIES):
        assert f"`{name}`" in WEB
