"""The API as an OpenAPI document. Its examples are what the routes answer about a house made for tests."""

from __future__ import annotations

from typing import Any

from flask import Flask

import rtmpsrv
from apilib.operations import EXAMPLE_CHANNEL, EXAMPLES, OPERATIONS, Operation
from apilib.pretty import pretty
from apilib.schemas import reference, schemas_of
from rtmpsrv.web import shapes, v3
from rtmpsrv.web.answers import MISSING_HEADER
from tests.doubles.monitor_source import FakeSource
from tests.doubles.monitor_values import file_of, id_of, recording, vitals
from tests.doubles.verdicts import Opinions

ABOUT = """\
What is on the air, who watches, how well; and how to end it. Names, paging and errors are those of the API of
MediaMTX; what it does not have is in `rtmpsrv` of each object, or under a path of its own. A *path* is a
channel: keys, tokens, passwords and queries are in none of the answers.

Moments are text as in RFC 3339, in UTC. Names that end in `_s` are seconds, in `_bytes` bytes; rates are bits
per second. What is not known is `null`. Fields may be added at any time.

With several workers an answer is about all of them. Who did not answer in time is named in `rtmpsrv.missing`
and in the header `X-Missing-Workers`; what is said is then true of the others.
"""
SECURITY = {
    "token": {"type": "http", "scheme": "bearer", "description": "`API_TOKEN`"},
    "user": {"type": "http", "scheme": "basic", "description": "One of `API_USERS`"},
}


def document() -> dict[str, Any]:
    """Return the whole document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    answers = [operation.answer for operation in OPERATIONS if operation.answer is not None]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "rtmpsrv",
            "version": rtmpsrv.__version__,
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "http://127.0.0.1:9997"}],
        "security": [{"token": []}, {"user": []}, {}],
        "paths": paths,
        "components": {
            "schemas": schemas_of([*answers, shapes.Problem]),
            "securitySchemes": SECURITY,
            "responses": {
                "Refused": {"description": "Why there is no answer.", "content": _json(shapes.Problem)},
                "Unauthorized": {
                    "description": "Token, or name and password, are missing or wrong.",
                    "headers": {"WWW-Authenticate": {"schema": {"type": "string"}}},
                    "content": _json(shapes.Problem),
                },
            },
        },
    }


def text() -> str:
    """Return the document as it is served."""
    return pretty(document()) + "\n"


def example_of(operation: Operation) -> Any:
    """Return what the routes answer to the example of an operation."""
    site = Flask("example", static_folder=None)
    site.register_blueprint(v3.blueprint(house(), Opinions(), lambda: 0.0))
    response = site.test_client().open(operation.example, method=operation.method)
    if response.status_code != 200:
        raise ValueError(f"{operation.example}: {response.status}")
    return response.get_json()


def house() -> FakeSource:
    """Make a house of one channel and who is there, small enough for a page."""
    source = FakeSource()
    channels = [one for one in source.values_of_channels if one["name"] == EXAMPLE_CHANNEL]
    young = vitals(age_s=6.2, bitrates=[4_400_000, 4_520_000, 4_490_000, 4_510_000, 4_480_000, 4_500_000])
    channels[0].update({"vitals": young, "readers": channels[0]["readers"][:2], "players": 2})
    channels[0].update({"forms": {"rtmp": 2}, "recording": recording()})
    ids = {id_of("idle"), *map(id_of, EXAMPLES.values()), *(reader for reader, _ in channels[0]["readers"])}
    connections = [one for one in source.values_of_connections if one["id"] in ids]
    connections.sort(key=lambda one: one["state"] != "idle")
    for number, one in enumerate(connections, 1):
        one.update({"number": number, "created_at": one["created_at"] + number})
        if one["form"] == "rtmp":
            one["app"] = "live"
    small = FakeSource(channels, connections, source.values_of_events)
    small.values_of_files = [file_of(EXAMPLE_CHANNEL, file=f"{EXAMPLE_CHANNEL}/2025-10-08_08-53-20Z.mp4")]
    return small


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {"operationId": operation.name, "summary": operation.summary}
    if operation.text:
        described["description"] = operation.text
    if operation.parameters:
        described["parameters"] = list(operation.parameters)
    described["responses"] = {
        "200": _answer(operation),
        **{str(status): _refusal(status, why) for status, why in operation.refusals.items()},
    }
    return described


def _answer(operation: Operation) -> dict[str, Any]:
    if operation.answer is None:
        return {"description": "OpenAPI", "content": {"application/json": {"schema": {"type": "object"}}}}
    content = _json(operation.answer)
    content["application/json"]["example"] = example_of(operation)
    missing = {"description": "Workers that did not answer in time.", "schema": {"type": "string"}}
    about = (operation.answer.__doc__ or "").strip()
    return {"description": about, "headers": {MISSING_HEADER: missing}, "content": content}


def _refusal(status: int, why: str) -> dict[str, Any]:
    if status == 401:
        return {"$ref": "#/components/responses/Unauthorized"}
    return {"description": why, "content": _json(shapes.Problem)}


def _json(shape: type) -> dict[str, Any]:
    return {"application/json": {"schema": reference(shape)}}
