"""The description of the API: made of its code, whole, and as it is served."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import pytest
from flask import Flask

from rtmpsrv.monitor.values import ChannelValue, PlayerValue, ProcessValue
from rtmpsrv.web import shapes, v3
from tests.doubles.monitor_source import FakeSource
from tests.doubles.verdicts import Opinions

PROJECT = Path(__file__).resolve().parents[2]
sys.path.append(str(PROJECT / "scripts"))
description = importlib.import_module("apilib.description")
operations = importlib.import_module("apilib.operations")
page = importlib.import_module("apilib.page")
pretty = importlib.import_module("apilib.pretty").pretty
schemas = importlib.import_module("apilib.schemas")


class Inner(TypedDict):
    """What is inside."""

    at: str  # moment: when


class Outer(TypedDict):
    """What is outside."""

    id: str  # UUID of it
    much: int
    inner: Inner | None  # if there is one
    all: list[Inner]
    state: Literal["on", "off"]
    counts: dict[str, float | str | bool]
    maybe: NotRequired[int | None]


class Grown(Outer):
    """What is more."""

    more: bool  # so it is


def test_schemas_are_of_types_and_comments() -> None:
    found = schemas.schemas_of([Outer])
    assert list(found) == ["Inner", "Outer"]
    assert found["Inner"]["properties"] == {
        "at": {"type": "string", "format": "date-time", "description": "When"}
    }
    assert found["Outer"] == {
        "type": "object",
        "description": "What is outside.",
        "required": ["id", "much", "inner", "all", "state", "counts"],
        "properties": {
            "id": {"type": "string", "format": "uuid", "description": "UUID of it"},
            "much": {"type": "integer"},
            "inner": {
                "anyOf": [{"$ref": "#/components/schemas/Inner"}, {"type": "null"}],
                "description": "If there is one",
            },
            "all": {"type": "array", "items": {"$ref": "#/components/schemas/Inner"}},
            "state": {"type": "string", "enum": ["on", "off"]},
            "counts": {
                "type": "object",
                "additionalProperties": {"type": ["number", "string", "boolean"]},
            },
            "maybe": {"type": ["integer", "null"]},
        },
    }


def test_what_a_shape_has_from_another_is_described_too() -> None:
    grown = schemas.schemas_of([Grown])["Grown"]
    assert grown["properties"]["id"]["description"] == "UUID of it"
    assert grown["properties"]["more"] == {"type": "boolean", "description": "So it is"}


def test_where_nothing_is_required_nothing_is_said() -> None:
    assert "required" not in schemas.schemas_of([shapes.CodecProps])["CodecProps"]


def test_moments_of_processes_are_text_in_the_answers() -> None:
    fields = schemas.schemas_of([ProcessValue])["Process"]["properties"]
    assert (fields["started_at"]["type"], fields["started_at"]["format"]) == ("string", "date-time")
    assert fields["certificate_expires_at"]["type"] == ["string", "null"]
    assert schemas.schemas_of([PlayerValue])["Player"]["properties"]["lag_s"] == {"type": "number"}


def test_a_type_that_json_does_not_have_is_an_error() -> None:
    with pytest.raises(TypeError, match="no schema for"):
        schemas.schemas_of([ChannelValue])  # it has pairs


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}"),
        ({"a": [1, None, "ü"]}, '{"a": [1, null, "ü"]}'),
        (
            {"a": ["x" * 50, "y" * 60], "b": 1},
            '{\n "a": [\n  "' + "x" * 50 + '",\n  "' + "y" * 60 + '"\n ],\n "b": 1\n}',
        ),
        ("z" * 200, '"' + "z" * 200 + '"'),
    ],
)
def test_json_is_broken_where_a_line_is_full(value: Any, text: str) -> None:
    assert pretty(value) == text
    assert json.loads(pretty(value)) == value


def test_every_route_is_described_and_nothing_else() -> None:
    site = Flask("test", static_folder=None)
    site.register_blueprint(v3.blueprint(FakeSource(), Opinions()))
    routes = {
        (
            rule.rule.replace("<channel:", "{").replace("<", "{").replace(">", "}").replace("{text}", "{id}"),
            method,
        )
        for rule in site.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert routes == {(one.path, one.method) for one in operations.OPERATIONS}


def test_every_reference_leads_to_something() -> None:
    document = description.document()
    components = document["components"]

    def check(value: Any) -> None:
        if isinstance(value, dict):
            if "$ref" in value:
                _, _, kind, name = value["$ref"].split("/")
                assert name in components[kind]
            for one in value.values():
                check(one)
        elif isinstance(value, list):
            for one in value:
                check(one)

    check(document)


def test_two_shapes_with_one_name_are_an_error() -> None:
    class Player(TypedDict):
        one: int

    with pytest.raises(TypeError, match="would have one name"):
        schemas.schemas_of([PlayerValue, Player])


def test_what_is_kept_is_what_the_code_says() -> None:
    assert (PROJECT / "rtmpsrv/web/openapi.json").read_text() == description.text()
    assert (PROJECT / "docs/api.md").read_text() == page.page(description.document())
