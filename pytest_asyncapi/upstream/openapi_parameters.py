"""The parameters of an operation: where each stands in a request, and how its value is written there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pytest_asyncapi.upstream.schemas import Schemas

if TYPE_CHECKING:
    from pytest_asyncapi.upstream.request import Request

DELIMITERS = {"spaceDelimited": " ", "pipeDelimited": "|"}
ABSENT: Any = object()


def identifier(name: str) -> str:
    """The name of a path parameter as a template of ours has it."""
    return re.sub(r"\W", "_", name)


class Parameter:
    """One parameter, of the path, the query, the headers or the cookies."""

    def __init__(self, schemas: Schemas, spec: Mapping[str, Any]) -> None:
        self.schemas = schemas
        self.name: str = spec["name"]
        self.where: str = spec["in"]
        self.required = bool(spec.get("required", False))
        media = next(iter(spec.get("content", {}).values()), None)
        self.is_json = media is not None
        self.schema: Mapping[str, Any] = (spec if media is None else media).get("schema", {})
        kind = schemas.resolve(self.schema).get("type")
        self.kinds = kind if isinstance(kind, list) else [kind]
        self.style: str = spec.get("style", "form" if self.where in ("query", "cookie") else "simple")
        self.explode = bool(spec.get("explode", self.style == "form"))

    def breaches(self, request: Request) -> Iterator[str]:
        """What of the contract a request breaks by this parameter."""
        try:
            value = self._value(request)
        except ValueError as exc:
            yield f"{self.where} parameter {self.name!r} is no JSON: {exc}"
            return
        if value is ABSENT:
            if self.required:
                yield f"{self.where} parameter {self.name!r} is required"
        elif self.schema and (why := self.schemas.error(value, self.schema)):
            yield f"{self.where} parameter {self.name!r} {why}"

    def _value(self, request: Request) -> Any:
        if "object" in self.kinds and not self.is_json and self.where == "query":
            return self._object(request.query)
        texts = self._texts(request)
        if not texts:
            return ABSENT
        if self.is_json:
            return json.loads(texts[-1])
        if "array" in self.kinds and not (self.explode and self.style == "form"):
            texts = texts[-1].split(DELIMITERS.get(self.style, ","))
        return self.schemas.parse(texts, self.schema)

    def _texts(self, request: Request) -> list[str]:
        match self.where:
            case "query":
                return request.query.get(self.name, [])
            case "path":
                value = request.path_params.get(identifier(self.name))
            case "header":
                value = request.headers.get(self.name)
            case _:
                value = request.cookies.get(self.name)
        return [] if value is None else [value]

    def _object(self, query: Mapping[str, list[str]]) -> Any:
        """``name[a]=1&name[b]=2``, or ``a=1&b=2``, or ``name=a,1,b,2``."""
        properties = self.schemas.resolve(self.schema).get("properties", {})
        if self.style == "deepObject":
            pattern = re.compile(re.escape(self.name) + r"\[([^\]]*)\]")
            given = {found[1]: texts for name, texts in query.items() if (found := pattern.fullmatch(name))}
        elif self.explode:
            given = {name: query[name] for name in properties if name in query}
        else:
            parts = [part for text in query.get(self.name, []) for part in text.split(",")]
            given = {name: [text] for name, text in zip(parts[::2], parts[1::2], strict=False)}
        if not given:
            return ABSENT
        return {name: self.schemas.parse(texts, properties.get(name, {})) for name, texts in given.items()}
