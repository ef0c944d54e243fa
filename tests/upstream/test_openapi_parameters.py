"""Parameters are read as the document says that they are written; references lead where they may."""

# ruff: noqa: E501 - the cases are tables
from __future__ import annotations

import time

import httpx
import pytest

from pytest_asyncapi.errors import ContractError, UpstreamError
from pytest_asyncapi.upstream import Upstream

BASE = "https://things.example.com"
NUMBERS = {"type": "array", "items": {"type": "integer"}}
PLACE = {"type": "object", "required": ["x"], "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}}}


def spec(path="/things", responses=None, components=None, **parameter):
    parameters = [{"name": "p", "in": "query", "required": True, **parameter}] if parameter else []
    operation = {"operationId": "op", "parameters": parameters, "responses": responses or {"204": {}}}
    return {"openapi": "3.1.0", "paths": {path: {"get": operation}}, "components": components or {}}


@pytest.mark.parametrize(
    ("parameter", "query", "broken"),
    [
        ({"schema": NUMBERS}, "p=1&p=2", None),
        ({"schema": NUMBERS}, "p=1,2", "query parameter 'p' is wrong at [0]: '1,2' is not of type 'integer'"),
        ({"schema": NUMBERS, "explode": False}, "p=1,2", None),
        ({"schema": NUMBERS, "explode": False}, "p=1,x", "query parameter 'p' is wrong at [1]: 'x' is not of type 'integer'"),
        ({"schema": NUMBERS, "style": "pipeDelimited", "explode": False}, "p=1|2", None),
        ({"schema": NUMBERS, "style": "spaceDelimited", "explode": False}, "p=1%202", None),
        ({"schema": PLACE, "style": "deepObject"}, "p[x]=1&p[y]=2", None),
        ({"schema": PLACE, "style": "deepObject"}, "p[y]=2", "query parameter 'p' is wrong: 'x' is a required property"),
        ({"schema": PLACE, "style": "deepObject"}, "other=2", "query parameter 'p' is required"),
        ({"schema": PLACE}, "x=1&y=2", None),
        ({"schema": PLACE}, "x=a", "query parameter 'p' is wrong at x: 'a' is not of type 'integer'"),
        ({"schema": PLACE, "explode": False}, "p=x,1,y,2", None),
        ({"content": {"application/json": {"schema": PLACE}}}, 'p={"x":1}', None),
        ({"content": {"application/json": {"schema": PLACE}}}, 'p={"x":"a"}', "query parameter 'p' is wrong at x: 'a' is not of type 'integer'"),
        ({"content": {"application/json": {"schema": PLACE}}}, "p={", "query parameter 'p' is no JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ({"schema": {"type": "string"}, "allowEmptyValue": True}, "p=", None),
    ],
)  # fmt: skip
def test_styles_of_a_query(parameter, query, broken):
    upstream = Upstream()
    upstream.openapi(BASE, spec(**parameter))
    with upstream.open(), httpx.Client() as client:
        if broken is None:
            assert client.get(f"{BASE}/things?{query}").status_code == 204
        else:
            with pytest.raises(ContractError) as caught:
                client.get(f"{BASE}/things?{query}")
            assert str(caught.value).endswith(f": {broken}")


@pytest.mark.parametrize(
    ("parameter", "path", "headers"),
    [
        ({"in": "path", "schema": NUMBERS}, "/things/1,2", {}),
        ({"in": "header", "schema": NUMBERS}, "/things/x", {"P": "1,2"}),
        ({"in": "cookie", "schema": {"type": "integer"}}, "/things/x", {"Cookie": "p=1"}),
    ],
    ids=lambda each: each.get("in") if isinstance(each, dict) else None,
)
def test_other_places(parameter, path, headers):
    upstream = Upstream()
    upstream.openapi(BASE, spec("/things/{p}", **parameter))
    with upstream.open(), httpx.Client() as client:
        assert client.get(f"{BASE}{path}", headers=headers).status_code == 204
        wrong = {name: value.replace("1", "a") for name, value in headers.items()}
        with pytest.raises(ContractError, match="is not of type 'integer'"):
            client.get(f"{BASE}{path.replace('1', 'a')}", headers=wrong)


def answering(schema, **schemas):
    responses = {"200": {"content": {"application/json": {"schema": schema}}}}
    return spec(responses=responses, components={"schemas": schemas})


def reference(name):
    return {"$ref": f"#/components/schemas/{name}"}


def test_schemas_that_all_lead_to_one_another():
    """As in the documents of large services: an answer is made, and soon."""
    names = [f"S{n}" for n in range(30)]
    properties = {name.lower(): reference(name) for name in names}
    schemas = {name: {"type": "object", "properties": {"id": {"type": "integer"}, **properties}} for name in names}
    start = time.process_time()
    with Upstream() as upstream, httpx.Client() as client:
        upstream.openapi(BASE, answering(reference("S0"), **schemas))
        answers = [client.get(f"{BASE}/things").json() for _ in range(2)]

    assert answers[0] == answers[1]
    assert (answers[0]["id"], answers[0]["s1"]["id"]) == (1, 1)
    assert "s0" not in answers[0]
    assert time.process_time() - start < 60  # and not for ever


def test_a_schema_that_needs_itself_asks_for_an_example():
    node = {"type": "object", "required": ["next"], "properties": {"next": reference("Node")}}
    upstream = Upstream()
    upstream.openapi(BASE, answering(reference("Node"), Node=node))
    with upstream.open(), httpx.Client() as client, pytest.raises(UpstreamError, match="the schema contains itself"):
        client.get(f"{BASE}/things")


def test_a_choice_that_leads_out_of_the_circle_is_taken():
    node = {
        "type": "object",
        "required": ["next", "more"],
        "properties": {
            "next": {"anyOf": [reference("Node"), {"type": "null"}]},
            "more": {"type": "array", "items": reference("Node")},
        },
    }
    with Upstream() as upstream, httpx.Client() as client:
        upstream.openapi(BASE, answering(reference("Node"), Node=node))
        assert client.get(f"{BASE}/things").json() == {"next": None, "more": []}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "openapi document: it is no JSON: Expecting property name"),
        (
            answering({"$ref": "other.json#/A"}),
            "openapi: the reference 'other.json#/A' leads nowhere (only '#/...' is followed).",
        ),
        (answering(reference("None")), "openapi: the reference '#/components/schemas/None' leads nowhere."),
        (
            answering({"$ref": "#/openapi"}),
            "openapi: the reference '#/openapi' leads to '3.1.0', which is no object.",
        ),
    ],
)
def test_documents_that_are_broken(document, message):
    upstream = Upstream()

    def get():
        upstream.openapi(BASE, document)
        httpx.get(f"{BASE}/things")

    with upstream.open(), pytest.raises(UpstreamError) as caught:
        get()

    assert str(caught.value).startswith(message)
