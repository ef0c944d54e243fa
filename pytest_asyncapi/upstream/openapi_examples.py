"""A value that fits a schema: the document's own examples first, then the simplest that can be made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pytest_asyncapi.upstream.schemas import Schemas

DEEP = 3
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
    value = Maker(schemas).make(schema, Place())
    if why := schemas.error(value, schema):
        raise NoExample(f"{value!r} {why}")
    return value


class Place(NamedTuple):
    """Where in a value we are: how deep, and inside of which named schemas."""

    depth: int = 0
    within: frozenset[str] = frozenset()


class Maker:
    """Makes values for the schemas of a document.

    What need not be there is left out where the document comes round to itself, and below `DEEP`: real documents lead
    from each of their schemas to most of the others.
    """

    def __init__(self, schemas: Schemas) -> None:
        self.schemas = schemas

    def make(self, schema: Any, place: Place) -> Any:
        if not isinstance(schema, Mapping):
            return {}
        if (reference := schema.get("$ref")) in place.within or place.depth > DEEPEST:
            raise NoExample("the schema contains itself")
        if reference is not None:
            place = place._replace(within=place.within | {reference})
        schema = self.schemas.resolve(schema)
        for name in ("example", "default", "const"):
            if name in schema:
                return schema[name]
        if examples := schema.get("examples"):
            return examples[0]
        if values := schema.get("enum"):
            return values[0]
        inner = place._replace(depth=place.depth + 1)
        for name in ("oneOf", "anyOf"):
            if choices := schema.get(name):
                rest = {key: value for key, value in schema.items() if key != name}
                return self._chosen(choices, rest if "properties" in rest else None, inner)
        if parts := schema.get("allOf"):
            rest = {key: value for key, value in schema.items() if key != "allOf"}
            return self._merged([*parts, rest], inner)
        return self._of_type(_type(schema), schema, inner)

    def _chosen(self, choices: list[Any], rest: Any, place: Place) -> Any:
        """The first choice that a value can be made for, null at last."""
        last: NoExample | None = None
        for choice in sorted(choices, key=lambda each: self.schemas.resolve(each).get("type") == "null"):
            try:
                return self.make(choice, place) if rest is None else self._merged([choice, rest], place)
            except NoExample as exc:
                last = exc
        raise last or NoExample("there is nothing to choose")

    def _merged(self, parts: list[Any], place: Place) -> Any:
        """What several schemas want at once."""
        made = [self.make(each, place) for each in parts if each]
        if made and all(isinstance(each, dict) for each in made):
            return {name: value for each in made for name, value in each.items()}
        return made[0] if made else {}

    def _of_type(self, kind: str, schema: Mapping[str, Any], place: Place) -> Any:
        match kind:
            case "object":
                return self._object(schema, place)
            case "array":
                return self._array(schema, place)
            case "integer" | "number":
                return _number(kind, schema)
            case "boolean":
                return True
            case "null":
                return None
        return _string(schema)

    def _array(self, schema: Mapping[str, Any], place: Place) -> list[Any]:
        least = schema.get("minItems", 0)
        try:
            return [self.make(schema.get("items", {}), place) for _ in range(max(least, 1))]
        except NoExample:
            if least:
                raise
            return []

    def _object(self, schema: Mapping[str, Any], place: Place) -> dict[str, Any]:
        value = {}
        required = schema.get("required", ())
        for name, each in schema.get("properties", {}).items():
            if name not in required and place.depth > DEEP:
                continue
            if isinstance(each, Mapping) and self.schemas.resolve(each).get("writeOnly"):
                continue
            try:
                value[name] = self.make(each, place)
            except NoExample:
                if name in required:
                    raise
        return value


def _type(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "object"
    return str(kind)


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
