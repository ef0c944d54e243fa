"""The schemas of an OpenAPI document: references, validation (by the package jsonschema), and values out of text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any
from urllib.parse import unquote

from pytest_asyncapi.errors import UpstreamError


class Schemas:
    """All that needs the whole document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        try:
            import jsonschema
        except ImportError:
            raise UpstreamError(
                "upstream.openapi needs the package jsonschema: pip install 'pytest-asyncapi[openapi]'"
            ) from None
        self.document = document
        self._validator = jsonschema.Draft202012Validator
        self._formats = jsonschema.Draft202012Validator.FORMAT_CHECKER
        self._old = str(document.get("openapi", "")).startswith("3.0")

    def resolve(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        """Follow the references of a node to what they name."""
        seen = set()
        while (reference := node.get("$ref")) is not None:
            if reference in seen or not reference.startswith("#/"):
                raise UpstreamError(f"openapi: the reference {reference!r} leads nowhere (only '#/...' is followed).")
            seen.add(reference)
            node = self._named(reference)
        return node

    def _named(self, reference: str) -> Mapping[str, Any]:
        node: Any = self.document
        for part in unquote(reference[2:]).split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            try:
                node = node[int(name)] if isinstance(node, list) else node[name]
            except (LookupError, TypeError, ValueError):
                raise UpstreamError(f"openapi: the reference {reference!r} leads nowhere.") from None
        if not isinstance(node, Mapping):
            raise UpstreamError(f"openapi: the reference {reference!r} leads to {node!r}, which is no object.")
        return node

    def error(self, value: Any, schema: Mapping[str, Any]) -> str | None:
        """The schema's error about a value, with the place of it."""
        root = {**self._modern(schema), "components": self._components}
        errors = self._validator(root, format_checker=self._formats).iter_errors(value)
        found = min(errors, key=lambda each: len(each.absolute_path), default=None)
        if found is None:
            return None
        place = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in found.absolute_path)
        return f"is wrong at {place.lstrip('.')}: {found.message}" if place else f"is wrong: {found.message}"

    @cached_property
    def _components(self) -> Any:
        return self._modern(self.document.get("components", {}))

    def _modern(self, node: Any) -> Any:
        """OpenAPI 3.0's `nullable` and boolean `exclusiveMinimum` as JSON Schema has them today."""
        if not self._old:
            return node
        if isinstance(node, list):
            return [self._modern(each) for each in node]
        if not isinstance(node, Mapping):
            return node
        changed = {name: self._modern(each) for name, each in node.items()}
        if changed.pop("nullable", None) is True and isinstance(changed.get("type"), str):
            changed["type"] = [changed["type"], "null"]
            if "enum" in changed and None not in changed["enum"]:
                changed["enum"] = [*changed["enum"], None]
        for exclusive, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if changed.get(exclusive) is True and limit in changed:
                changed[exclusive] = changed.pop(limit)
            elif isinstance(changed.get(exclusive), bool):
                del changed[exclusive]
        return changed

    def parse(self, texts: list[str], schema: Mapping[str, Any]) -> Any:
        """The value that a parameter or a form field means, by the type that its schema wants."""
        schema = self.resolve(schema)
        kind = schema.get("type")
        kinds = kind if isinstance(kind, list) else [kind]
        if "array" in kinds:
            return [self.parse([each], schema.get("items", {})) for each in texts]
        text = texts[-1]
        if "string" not in kinds:
            for each in kinds:
                with suppress(ValueError):
                    return _PARSERS[each](text)
        return text


def _boolean(text: str) -> bool:
    return {"true": True, "false": False}[text] if text in ("true", "false") else _fail(text)


def _null(text: str) -> None:
    if text not in ("", "null"):
        _fail(text)


def _fail(text: str) -> Any:
    raise ValueError(text)


_PARSERS: dict[Any, Any] = {
    "integer": int,
    "number": float,
    "boolean": _boolean,
    "null": _null,
    "object": json.loads,
    None: _fail,
}
