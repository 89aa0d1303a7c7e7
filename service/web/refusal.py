"""How a call that failed is told over HTTP: a status code, and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from aiohttp import web
from google.protobuf import json_format
from ossicle.service.telemetry.call import REQUEST_ID

from .calls import Outcome

# As Google's own gateways translate them.
_HTTP = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
# OpenAI's names of the refusals that programs tell apart.
_NAMES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}


def status_json(outcome: Outcome) -> dict[str, Any]:
    """The status as the last message of a WebSocket: ``google.rpc.Status`` and two names."""
    error = json_format.MessageToDict(outcome.status)
    return {"error": {**error, "status": outcome.code.name, "requestId": outcome.request_id}}


def openai_error(outcome: Outcome, param: str | None = None) -> dict[str, Any]:
    """The status as OpenAI's API tells errors; ``param`` is the field that is to blame."""
    status = _HTTP.get(outcome.code, 500)
    return error_json(status, outcome.status.message, param, _NAMES.get(status))


def error_json(
    status: int, message: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """An error in OpenAI's form.

    Args:
        status: HTTP's code.
        message: what is wrong and what to do.
        param: the field that is to blame.
        code: OpenAI's name of the error.
    """
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def refused(outcome: Outcome, param: str | None = None) -> web.Response:
    """The response about a call that failed."""
    headers = {REQUEST_ID: outcome.request_id}
    if outcome.retry_seconds:
        headers["Retry-After"] = str(outcome.retry_seconds)
    if outcome.code is grpc.StatusCode.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = "Bearer"
    status = _HTTP.get(outcome.code, 500)
    response = web.json_response(openai_error(outcome, param), status=status, headers=headers)
    if outcome.code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        response.force_close()  # of several processes, another connection may reach another one
    return response


def named(outcome: Outcome, headers: Mapping[str, str] | None = None) -> dict[str, str]:
    """Headers of a response that succeeded: the call's name, and others."""
    return {REQUEST_ID: outcome.request_id, **(headers or {})}
