"""``GET /v1/models`` and ``GET /v1/models/NAME``, as OpenAI's clients ask for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc
from aiohttp import web
from google.protobuf import json_format
from ossicle.service.errors import no_such_model
from ossicle.service.security.arrival import name_of_call
from ossicle.speech.v1 import speech_pb2 as pb

from .caller import caller_of
from .calls import LocalCalls
from .refusal import named, refused

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]

LIST_MODELS = "/ossicle.speech.v1.SpeechService/ListModels"
GET_MODEL = "/ossicle.web/GetModel"


class ModelPages:
    """The endpoints.

    Args:
        calls: where they are answered, as calls like any other.
    """

    def __init__(self, calls: LocalCalls) -> None:
        self._calls = calls

    async def all(self, request: web.Request) -> web.Response:
        """List the models."""
        listed: list[pb.ListModelsResponse] = []

        async def write(response: pb.ListModelsResponse) -> None:
            listed.append(response)

        requests = _only(pb.ListModelsRequest())
        outcome = await self._calls.run(LIST_MODELS, requests, write, caller_of(request))
        if outcome.code is not grpc.StatusCode.OK:
            return refused(outcome)
        models = [_described(model) for model in listed[0].models]
        return web.json_response({"object": "list", "data": models}, headers=named(outcome))

    async def one(self, request: web.Request) -> web.Response:
        """Describe the model that the path names."""
        found: list[pb.Model] = []

        async def write(model: pb.Model) -> None:
            found.append(model)

        requests = _only(request.match_info["model"])
        outcome = await self._calls.run(GET_MODEL, requests, write, caller_of(request))
        if outcome.code is not grpc.StatusCode.OK:
            return refused(outcome, "model" if outcome.code is grpc.StatusCode.NOT_FOUND else None)
        return web.json_response(_described(found[0]), headers=named(outcome))


def getting_model(
    list_models: Callable[[pb.ListModelsRequest, Context], Awaitable[pb.ListModelsResponse]],
) -> Callable[[str, Context], Awaitable[pb.Model]]:
    """The method behind the second: one of the models that the contract's lists.

    Args:
        list_models: the contract's method.
    """

    async def get_model(name: str, context: Context) -> pb.Model:
        listed = await list_models(pb.ListModelsRequest(), context)
        models = {model.name: model for model in listed.models}
        if name not in models:
            await no_such_model(name, models).abort(context, name_of_call())
        return models[name]

    return get_model


def _described(model: pb.Model) -> dict[str, Any]:
    """A model as OpenAI describes one, and under ``ossicle`` as the contract does."""
    return {
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": "ossicle",
        "ossicle": json_format.MessageToDict(model),
    }


async def _only(request: Any) -> AsyncIterator[Any]:
    yield request
