"""A value that fits a schema: the document's own examples first, then the simplest that can be made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_asyncapi.upstream.schemas import Schemas

DEEPEST = 12
FORMATS = {
    "date-time": "2025-01-01T00:00:00Z",
    "date": "2025-01-01",
    "time": "00:00:00Z",
    "duration": "P1D",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "email": "ada@example.com",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "byte": "AA==",
    "binary": "",
    "password": "password",
}


class NoExample(Exception):
    """The schema wants more than a simple value."""


def example_of(schema: Mapping[str, Any], schemas: Schemas) -> Any:
    """A value that the schema accepts."""
    value = _make(schema, schemas, 0)
    if why := schemas.error(value, schema):
        raise NoExample(f"{value!r} {why}")
    return value


def _make(schema: Any, schemas: Schemas, depth: int) -> Any:
    if not isinstance(schema, Mapping):
        return {}
    schema = schemas.resolve(schema)
    for name in ("example", "default", "const"):
        if name in schema:
            return schema[name]
    if examples := schema.get("examples"):
        return examples[0]
    if values := schema.get("enum"):
        return values[0]
    if depth > DEEPEST:
        raise NoExample("the schema contains itself")
    for name in ("oneOf", "anyOf"):
        if choices := schema.get(name):
            rest = {key: value for key, value in schema.items() if key != name}
            chosen = next((each for each in choices if schemas.resolve(each).get("type") != "null"), choices[0])
            return (
                _merged([chosen, rest], schemas, depth) if "properties" in rest else _make(chosen, schemas, depth + 1)
            )
    if parts := schema.get("allOf"):
        rest = {key: value for key, value in schema.items() if key != "allOf"}
        return _merged([*parts, rest], schemas, depth)
    return _of_type(_type(schema), schema, schemas, depth)


def _merged(parts: list[Any], schemas: Schemas, depth: int) -> Any:
    """What several schemas want at once."""
    made = [_make(each, schemas, depth + 1) for each in parts if each]
    if made and all(isinstance(each, dict) for each in made):
        return {name: value for each in made for name, value in each.items()}
    return made[0] if made else {}


def _type(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "object"
    return str(kind)


def _of_type(kind: str, schema: Mapping[str, Any], schemas: Schemas, depth: int) -> Any:
    match kind:
        case "object":
            return _object(schema, schemas, depth)
        case "array":
            least = schema.get("minItems", 1)
            if not least and depth >= DEEPEST:
                return []
            try:
                return [_make(schema.get("items", {}), schemas, depth + 1) for _ in range(max(least, 1))]
            except NoExample:
                if least and "minItems" in schema:
                    raise
                return []
        case "integer" | "number":
            return _number(kind, schema)
        case "boolean":
            return True
        case "null":
            return None
    return _string(schema)


def _object(schema: Mapping[str, Any], schemas: Schemas, depth: int) -> dict[str, Any]:
    value = {}
    required = schema.get("required", ())
    for name, each in schema.get("properties", {}).items():
        if isinstance(each, Mapping) and schemas.resolve(each).get("writeOnly"):
            continue
        try:
            value[name] = _make(each, schemas, depth + 1)
        except NoExample:
            if name in required:
                raise
    return value


def _number(kind: str, schema: Mapping[str, Any]) -> int | float:
    step = schema.get("multipleOf", 1)
    lowest = schema.get("minimum")
    above = schema.get("exclusiveMinimum")
    if above is True:  # OpenAPI 3.0
        above, lowest = lowest, None
    value = above + step if isinstance(above, int | float) and not isinstance(above, bool) else lowest
    if value is None:
        highest = schema.get("maximum", 1)
        value = min(1, highest)
    if step != 1:
        value = -(-value // step) * step
    return int(value) if kind == "integer" else float(value)


def _string(schema: Mapping[str, Any]) -> str:
    text = FORMATS.get(schema.get("format", ""), "string")
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength")
    text = text.ljust(shortest, "x")
    return text if longest is None else text[:longest]
