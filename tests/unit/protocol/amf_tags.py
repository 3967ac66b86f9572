"""Turns the tagged JSON of the AMF vectors into values; compares values strictly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rtmpsrv.protocol.amf_values import (
    UNDEFINED,
    UNSUPPORTED,
    AmfDate,
    AmfDictionary,
    AmfXml,
    EcmaArray,
    TypedObject,
    Value,
)


def _members(pairs: list[Any]) -> dict[str, Value]:
    return {name: untag(value) for name, value in pairs}


_TAGS: dict[str, Callable[[Any], Value]] = {
    "number": float,
    "integer": int,
    "boolean": bool,
    "string": str,
    "long_string": str,
    "string_repeat": lambda repeat: repeat[0] * repeat[1],
    "long_string_repeat": lambda repeat: repeat[0] * repeat[1],
    "null": lambda _: None,
    "undefined": lambda _: UNDEFINED,
    "unsupported": lambda _: UNSUPPORTED,
    "object": _members,
    "ecma": lambda pairs: EcmaArray(_members(pairs)),
    "strict": lambda elements: [untag(element) for element in elements],
    "date_ms": lambda milliseconds: AmfDate(float(milliseconds)),
    "xml": AmfXml,
    "bytes": bytes.fromhex,
    "dictionary": lambda pairs: AmfDictionary((untag(key), untag(value)) for key, value in pairs),
}


def untag(tagged: dict[str, Any]) -> Value:
    """Return the value that one piece of tagged JSON stands for."""
    if "typed" in tagged:
        return TypedObject(tagged["typed"], _members(tagged["members"]))
    ((tag, content),) = tagged.items()
    return _TAGS[tag](content)


def exact(value: Value) -> object:
    """Return something that is equal only for values of the same types, member order and bits."""
    if isinstance(value, dict):
        class_name = getattr(value, "class_name", None)
        return type(value), class_name, [(name, exact(member)) for name, member in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [exact(element) for element in value]
    return type(value), repr(value)  # repr tells -0.0 from 0.0, and finds NaN equal to itself
