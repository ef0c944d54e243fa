"""A document answers for its service, and holds the app to the contract."""

# ruff: noqa: E501 - the cases are tables
from __future__ import annotations

import json

import jsonschema
import pytest

from pytest_asyncapi.errors import ContractError, UpstreamError
from pytest_asyncapi.upstream import Upstream
from tests.httpx_libraries import newest

BASE = "https://users.example.com/v1"
SPEC = {
    "openapi": "3.1.0",
    "info": {"title": "Users", "version": "1"},
    "paths": {
        "/users/{user-id}": {
            "parameters": [{"name": "user-id", "in": "path", "required": True, "schema": {"type": "integer"}}],
            "get": {
                "operationId": "getUser",
                "parameters": [
                    {"$ref": "#/components/parameters/Expand"},
                    {"name": "X-Tenant", "in": "header", "schema": {"type": "string", "minLength": 2}},
                    {"name": "tags", "in": "query", "schema": {"type": "array", "items": {"enum": ["a", "b"]}}},
                ],
                "responses": {
                    "404": {"description": "none"},
                    "200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/User"}}}},
                },
            },
            "delete": {"responses": {"204": {"description": "gone"}}},
        },
        "/users": {
            "post": {
                "operationId": "createUser",
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewUser"}}},
                },
                "responses": {
                    "201": {
                        "content": {
                            "application/json": {"examples": {"ada": {"value": {"id": 1, "name": "Ada"}}}},
                        }
                    }
                },
            },
            "get": {
                "operationId": "listUsers",
                "responses": {"2XX": {"content": {"application/json": {"example": [{"id": 1}]}}}},
            },
        },
        "/login": {
            "post": {
                "operationId": "login",
                "requestBody": {
                    "content": {
                        "application/x-www-form-urlencoded": {
                            "schema": {
                                "type": "object",
                                "required": ["user"],
                                "properties": {"user": {"type": "string"}, "remember": {"type": "boolean"}},
                            }
                        }
                    }
                },
                "responses": {"200": {"content": {"text/plain": {"example": "welcome"}}}},
            }
        },
    },
    "components": {
        "parameters": {"Expand": {"name": "expand", "in": "query", "required": True, "schema": {"type": "boolean"}}},
        "schemas": {
            "NewUser": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string", "minLength": 2}, "age": {"type": "integer", "minimum": 0}},
                "additionalProperties": False,
            },
            "User": {
                "allOf": [{"$ref": "#/components/schemas/NewUser"}],
                "unevaluatedProperties": True,
                "type": "object",
                "required": ["id", "email", "status"],
                "properties": {
                    "id": {"type": "integer", "minimum": 10},
                    "email": {"type": "string", "format": "email"},
                    "status": {"enum": ["active", "gone"]},
                    "manager": {"anyOf": [{"type": "null"}, {"$ref": "#/components/schemas/Person"}]},
                },
            },
            "Person": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string"},
                    "born": {"type": "string", "format": "date"},
                    "friends": {"type": "array", "items": {"$ref": "#/components/schemas/Person"}},
                },
            },
        },
    },
}
SPEC["components"]["schemas"]["User"]["allOf"] = [{"$ref": "#/components/schemas/Person"}]


async def test_answers_come_from_examples_and_schemas(http):
    with Upstream() as upstream:
        operations = upstream.openapi(BASE, SPEC)

        user = await http.request("GET", f"{BASE}/users/7", params={"expand": "true"})
        created = await http.request("POST", f"{BASE}/users", json={"name": "Ada"})
        users = await http.request("GET", f"{BASE}/users")
        gone = await http.request("DELETE", f"{BASE}/users/7")
        welcome = await http.request("POST", f"{BASE}/login", data={"user": "ada", "remember": "true"})

    schema = {"$ref": "#/components/schemas/User", "components": SPEC["components"]}
    jsonschema.validate(user.json(), schema)
    assert (user.json()["id"], user.json()["email"], user.json()["status"]) == (10, "ada@example.com", "active")
    assert (created.status, created.json()) == (201, {"id": 1, "name": "Ada"})
    assert (users.status, users.json()) == (200, [{"id": 1}])
    assert (gone.status, welcome.text) == (204, "welcome")
    assert list(operations) == ["getUser", "DELETE /users/{user-id}", "createUser", "listUsers", "login"] or set(
        operations
    ) == {"getUser", "DELETE /users/{user-id}", "createUser", "listUsers", "login"}
    operations["getUser"].assert_called(1)


async def test_an_operation_can_be_given_another_answer(http):
    with Upstream() as upstream:
        upstream.openapi(BASE, SPEC)["getUser"].reply(404)

        assert (await http.request("GET", f"{BASE}/users/7?expand=true")).status == 404


def get(path, **kwargs):
    return ("GET", path, kwargs)


def post(path, **kwargs):
    return ("POST", path, kwargs)


@pytest.mark.parametrize(
    ("request_", "route", "why"),
    [
        (get("/users/7"), "getUser", "query parameter 'expand' is required"),
        (get("/users/7?expand=maybe"), "getUser", "query parameter 'expand' is wrong: 'maybe' is not of type 'boolean'"),
        (get("/users/x?expand=true"), "getUser", "path parameter 'user-id' is wrong: 'x' is not of type 'integer'"),
        (get("/users/7?expand=true", headers={"X-Tenant": "a"}), "getUser", "header parameter 'X-Tenant' is wrong: 'a' is too short"),
        (get("/users/7?expand=true&tags=a&tags=c"), "getUser", "query parameter 'tags' is wrong at [1]: 'c' is not one of ['a', 'b']"),
        (post("/users"), "createUser", "a body is required"),
        (post("/users", json={}), "createUser", "the body is wrong: 'name' is a required property"),
        (post("/users", json={"name": "Ada", "age": -1}), "createUser", "the body is wrong at age: -1 is less than the minimum of 0"),
        (post("/users", json={"name": "Ada", "x": 1}), "createUser", "the body is wrong: Additional properties are not allowed ('x' was unexpected)"),
        (post("/users", data={"name": "Ada"}), "createUser", "the body is application/x-www-form-urlencoded, the contract wants application/json"),
        (post("/users", content=b"{", headers={"Content-Type": "application/json"}), "createUser", "the body is no JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (post("/login", data={"remember": "1"}), "login", "the form is wrong: 'user' is a required property"),
        (post("/login", data={"user": "a", "remember": "x"}), "login", "the form is wrong at remember: 'x' is not of type 'boolean'"),
    ],
)  # fmt: skip
async def test_a_request_that_breaks_the_contract_is_an_error_with_the_schemas_words(request_, route, why):
    method, path, kwargs = request_
    upstream = Upstream()
    upstream.openapi(BASE, SPEC)[route].reply(200)
    with upstream.open():
        async with newest.AsyncClient() as client:
            with pytest.raises(ContractError) as caught:
                await client.request(method, f"{BASE}{path}", **kwargs)

    expected = f"{method} {BASE}{path} breaks the contract of {upstream.openapi(BASE, SPEC)[route]!r}: {why}"
    assert str(caught.value) == expected
    assert upstream.failures() == [expected]


async def test_documents_may_be_files(tmp_path, http):
    import yaml

    (tmp_path / "spec.json").write_text(json.dumps(SPEC))
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    for document in (tmp_path / "spec.json", str(tmp_path / "spec.yaml"), json.dumps(SPEC)):
        with Upstream() as upstream:
            upstream.openapi(BASE, document)
            assert (await http.request("GET", f"{BASE}/users")).json() == [{"id": 1}]


async def test_nullable_and_exclusive_limits_of_openapi_3_0():
    schema = {
        "type": "object",
        "required": ["a", "b"],
        "properties": {
            "a": {"type": "string", "nullable": True, "enum": ["x"]},
            "b": {"type": "integer", "minimum": 5, "exclusiveMinimum": True},
        },
    }
    spec = {
        "openapi": "3.0.3",
        "paths": {
            "/": {
                "post": {
                    "operationId": "op",
                    "requestBody": {"content": {"application/json": {"schema": schema}}},
                    "responses": {"200": {"content": {"application/json": {"schema": schema}}}},
                }
            }
        },
    }
    with Upstream() as upstream, newest.Client() as client:
        upstream.openapi("https://x.test", spec)
        assert client.post("https://x.test/", json={"a": None, "b": 6}).json() == {"a": "x", "b": 6}
        with pytest.raises(ContractError, match="5 is less than or equal to the minimum of 5"):
            client.post("https://x.test/", json={"a": None, "b": 5})
        upstream.problems.clear()


def with_schema(schema):
    response = {"200": {"content": {"application/json": {"schema": schema}}}}
    return {"openapi": "3.1.0", "paths": {"/": {"get": {"operationId": "op", "responses": response}}}}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "number", "maximum": -3}, -3.0),
        ({"type": "integer", "exclusiveMinimum": 4}, 5),
        ({"type": "integer", "minimum": 7, "multipleOf": 5}, 10),
        ({"type": "string", "minLength": 9, "maxLength": 9}, "stringxxx"),
        ({"type": ["null", "boolean"]}, True),
        ({"type": "array", "minItems": 2, "items": {"type": "string", "format": "uuid"}}, ["00000000-0000-4000-8000-000000000000"] * 2),
        ({"const": 5}, 5),
        ({"type": "string", "examples": ["a"]}, "a"),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, 1),
        ({"properties": {"a": {"default": 3}}}, {"a": 3}),
    ],
)  # fmt: skip
async def test_a_value_is_made_that_fits_the_schema(schema, value):
    with Upstream() as upstream, newest.Client() as client:
        upstream.openapi("https://x.test", with_schema(schema))
        assert client.get("https://x.test/").json() == value


def test_mistakes_are_refused_with_the_cure():
    upstream = Upstream()
    with pytest.raises(
        UpstreamError, match=r"this is no OpenAPI 3 document: it has no `openapi` version or no `paths`"
    ):
        upstream.openapi(BASE, {"swagger": "2.0"})
    with pytest.raises(UpstreamError, match="there is no operation 'getUsr'; there are "):
        upstream.openapi(BASE, SPEC)["getUsr"]
    with pytest.raises(UpstreamError, match=r"openapi document nowhere.json: .*No such file"):
        upstream.openapi(BASE, "nowhere.json")
    with pytest.raises(UpstreamError, match="the reference '#/components/x' leads nowhere"):
        upstream.openapi(BASE, {"openapi": "3.1.0", "paths": {"/": {"$ref": "#/components/x"}}})


async def test_a_schema_that_no_simple_value_fits_asks_for_an_example():
    with Upstream() as upstream, newest.Client() as client:
        upstream.openapi("https://x.test", with_schema({"type": "string", "pattern": "^[A-Z]{3}$"}))
        with pytest.raises(UpstreamError) as caught:
            client.get("https://x.test/")

    assert str(caught.value) == (
        "openapi: no example can be made for the answer of 'op': 'string' is wrong: 'string' does not match '^[A-Z]{3}$'."
        " Give one in the document, or in the test: ['op'].reply(...)"
    )
