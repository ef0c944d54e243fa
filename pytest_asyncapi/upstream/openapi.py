"""Answers from an OpenAPI document: ``upstream.openapi("https://users.example.com", spec)["getUser"].reply(404)``.

Each operation is a route, by its ``operationId`` (or ``"GET /users/{id}"``). It answers with the document's example,
or with a value that fits the schema; a request that breaks the contract is an error in the app and fails the test.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_asyncapi.errors import UpstreamError, ours
from pytest_asyncapi.upstream import documents
from pytest_asyncapi.upstream.openapi_examples import NoExample, example_of
from pytest_asyncapi.upstream.openapi_parameters import Parameter, identifier
from pytest_asyncapi.upstream.replies import Reply
from pytest_asyncapi.upstream.schemas import Schemas

if TYPE_CHECKING:
    from pytest_asyncapi.upstream.request import Request
    from pytest_asyncapi.upstream.router import Upstream
    from pytest_asyncapi.upstream.routes import Route

__tracebackhide__ = ours

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


class Operations(dict[str, "Route"]):
    """The routes by the names of the operations."""

    def __missing__(self, name: str) -> Route:
        raise UpstreamError(f"openapi: there is no operation {name!r}; there are {', '.join(self)}.")


def routes(upstream: Upstream, base: str, document: Mapping[str, Any] | str | PathLike[str]) -> Operations:
    """Make the routes of a document: a mapping, a file (JSON or YAML), or JSON text."""
    spec = _load(document)
    schemas = Schemas(spec)
    found = Operations()
    for path, item in spec["paths"].items():
        item = schemas.resolve(item)
        shared = item.get("parameters", [])
        for method in METHODS:
            if method not in item:
                continue
            operation = Operation(schemas, method, path, item[method], shared)
            route = upstream.route(method, base.rstrip("/") + operation.template, name=operation.name, required=False)
            route.add_check(operation.breaks, contract=True)
            found[operation.name] = route.reply(operation.answer)
    return found


def _load(document: Mapping[str, Any] | str | PathLike[str]) -> Mapping[str, Any]:
    if isinstance(document, str) and document.lstrip().startswith("{"):
        try:
            spec = json.loads(document)
        except ValueError as exc:
            raise UpstreamError(f"openapi document: it is no JSON: {exc}.") from None
    elif isinstance(document, Mapping):
        spec = document
    else:
        try:
            spec = documents.load(Path(document))
        except documents.DocumentError as exc:
            raise UpstreamError(f"openapi document {document}: {exc}.") from None
    if not isinstance(spec, Mapping) or "openapi" not in spec or not isinstance(spec.get("paths"), Mapping):
        raise UpstreamError("openapi: this is no OpenAPI 3 document: it has no `openapi` version or no `paths`.")
    return spec


class Operation:
    """One operation of a document: what it wants, and what it answers."""

    def __init__(
        self, schemas: Schemas, method: str, path: str, spec: Mapping[str, Any], shared: list[Mapping[str, Any]]
    ) -> None:
        self.schemas = schemas
        self.spec = spec
        self.name: str = spec.get("operationId") or f"{method.upper()} {path}"
        self.template = re.sub(r"\{([^}]+)\}", lambda found: "{" + identifier(found[1]) + "}", path)
        parameters = [Parameter(schemas, schemas.resolve(each)) for each in (*shared, *spec.get("parameters", []))]
        self.parameters = list({(each.where, each.name): each for each in parameters}.values())

    # -- the request

    def breaks(self, request: Request) -> str | None:
        """What of the contract a request breaks."""
        return next(self._breaches(request), None)

    def _breaches(self, request: Request) -> Iterator[str]:
        for parameter in self.parameters:
            yield from parameter.breaches(request)
        yield from self._body_breaches(request)

    def _body_breaches(self, request: Request) -> Iterator[str]:
        body = self.schemas.resolve(self.spec.get("requestBody", {}))
        content = body.get("content", {})
        if not request.content:
            if body.get("required", False):
                yield "a body is required"
            return
        given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        media = _media(content, given)
        if content and media is None:
            yield f"the body is {given or 'of no content type'}, the contract wants {' or '.join(content)}"
        elif media is not None and "schema" in media:
            yield from self._schema_breaches(request, given, media["schema"])

    def _schema_breaches(self, request: Request, given: str, schema: Mapping[str, Any]) -> Iterator[str]:
        if given.endswith("json"):
            try:
                value = request.json()
            except ValueError as exc:
                yield f"the body is no JSON: {exc}"
                return
            where = "the body"
        elif given == "application/x-www-form-urlencoded":
            properties = self.schemas.resolve(schema).get("properties", {})
            value = {name: self.schemas.parse(texts, properties.get(name, {})) for name, texts in request.form.items()}
            where = "the form"
        else:
            return
        if why := self.schemas.error(value, schema):
            yield f"{where} {why}"

    # -- the answer

    def answer(self) -> Reply:
        """What the document gives for a success."""
        return self._success

    @cached_property
    def _success(self) -> Reply:
        status, response = self._response()
        for content_type, media in response.get("content", {}).items():
            if content_type.endswith("json") or content_type == "*/*":
                return Reply(status, json=self._example(media), headers={"Content-Type": content_type})
            example = media.get("example", "")
            return Reply(status, text=str(example), headers={"Content-Type": content_type})
        return Reply(status)

    def _response(self) -> tuple[int, Mapping[str, Any]]:
        responses = {str(status): each for status, each in self.spec.get("responses", {}).items()}
        for status in sorted(responses):
            if status.startswith("2"):
                return int(status.replace("X", "0")), self.schemas.resolve(responses[status])
        first = next(iter(sorted(responses)), "")
        return int(first) if first.isdigit() else 200, self.schemas.resolve(responses.get(first, {}))

    def _example(self, media: Mapping[str, Any]) -> Any:
        if "example" in media:
            return media["example"]
        for example in media.get("examples", {}).values():
            return self.schemas.resolve(example).get("value")
        try:
            return example_of(media.get("schema", {}), self.schemas)
        except NoExample as exc:
            raise UpstreamError(
                f"openapi: no example can be made for the answer of {self.name!r}: {exc}. Give one in the document, or"
                f" in the test: [{self.name!r}].reply(...)"
            ) from None


def _media(content: Mapping[str, Any], given: str) -> Mapping[str, Any] | None:
    """The entry for a content type: itself, else a range."""
    found = content.get(given) or content.get(f"{given.partition('/')[0]}/*") or content.get("*/*")
    return found if found is None or isinstance(found, Mapping) else None
