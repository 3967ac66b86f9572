"""From the typed dictionaries of the answers to JSON schemas; comments become descriptions. Pure."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from rtmpsrv.monitor import values

Schema = dict[str, Any]
_PLAIN: dict[object, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}
_REF = "#/components/schemas/"


def schemas_of(shapes: Iterable[type]) -> dict[str, Schema]:
    """Return the schemas of these and of all that is in them, by name."""
    found: dict[str, type] = {}
    waiting = list(shapes)
    while waiting:
        shape = waiting.pop(0)
        known = found.setdefault(name_of(shape), shape)
        if known is not shape:
            raise TypeError(f"{known} and {shape} would have one name")
        waiting += [
            inner
            for hint in _hints(shape).values()
            for inner in _dictionaries(hint)
            if found.get(name_of(inner)) is not inner
        ]
    return {name: _of_dictionary(found[name]) for name in sorted(found)}


def name_of(shape: type) -> str:
    """Return the name of a shape in the description: the words Shape and Value are ours alone."""
    return shape.__name__.removesuffix("Shape").removesuffix("Value")


def reference(shape: type) -> Schema:
    """Return what stands for a shape elsewhere."""
    return {"$ref": _REF + name_of(shape)}


def _of_dictionary(shape: type) -> Schema:
    comments = _comments(shape)
    fields, required = {}, []
    for name, hint in _hints(shape).items():
        if get_origin(hint) is NotRequired:
            (hint,) = get_args(hint)
        elif getattr(shape, "__total__", True):
            required.append(name)
        comment = comments.get(name, "")
        schema = _of_hint(hint)
        if comment.startswith("moment") or (shape.__module__ == values.__name__ and _is_moment(name)):
            schema = _as_moment(schema)
            comment = comment.removeprefix("moment").removeprefix(": ")
        if comment.startswith("UUID"):
            schema["format"] = "uuid"
        if comment:
            schema["description"] = comment[0].upper() + comment[1:]
        fields[name] = schema
    described = {"type": "object", "description": inspect.getdoc(shape), "properties": fields}
    return {**described, "required": required} if required else described


def _of_hint(hint: Any) -> Schema:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if is_typeddict(hint):
        return reference(hint)
    if origin is Literal:
        return {"type": "string", "enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": _of_hint(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of_hint(arguments[1])}
    if origin in (Union, UnionType):
        return _of_union([{"type": "null"} if one is NoneType else _of_hint(one) for one in arguments])
    raise TypeError(f"no schema for {hint}")


def _of_union(schemas: list[Schema]) -> Schema:
    if all(set(one) == {"type"} for one in schemas):
        return {"type": [one["type"] for one in schemas]}
    return {"anyOf": schemas}


def _as_moment(schema: Schema) -> Schema:
    nullable = isinstance(schema["type"], list)
    return {"type": ["string", "null"] if nullable else "string", "format": "date-time"}


def _is_moment(name: str) -> bool:
    return name == "at" or name.endswith("_at")  # as in rtmpsrv/web/items.py


def _dictionaries(hint: Any) -> list[type]:
    if is_typeddict(hint):
        return [hint]
    return [inner for argument in get_args(hint) for inner in _dictionaries(argument)]


def _hints(shape: type) -> dict[str, Any]:
    return get_type_hints(shape, include_extras=True)


def _comments(shape: type) -> dict[str, str]:
    """Return what stands behind each field in the source, those of the shapes before it too."""
    return _comments_in(str(sys.modules[shape.__module__].__file__))[shape.__name__]


@cache
def _comments_in(file: str) -> dict[str, dict[str, str]]:
    text = Path(file).read_text()
    lines = text.splitlines()
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            comments = found[node.name] = {}
            for base in node.bases:
                if isinstance(base, ast.Name):
                    comments |= found.get(base.id, {})
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    comments[field.target.id] = lines[field.lineno - 1].partition("  # ")[2].strip()
    return found
