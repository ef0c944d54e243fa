"""The client parses each URL once; what it asks for stays what httpx asks for."""

import pytest


@pytest.fixture
async def client(connect, app_of, respond):
    """A client of an app that answers with the URL that it was asked for."""

    async def echo(scope, receive, send):
        host, port = scope["server"]
        query = scope["query_string"].decode()
        await respond(send, f"{scope['scheme']}://{host}:{port}{scope['path']}?{query}".encode())

    return await connect(app_of(echo), base_url="http://one.example/v1")


async def test_the_same_path_twice(client):
    assert [(await client.get("/users")).text for _ in range(2)] == ["http://one.example:80/v1/users?"] * 2


async def test_a_change_of_the_base_url(client):
    await client.get("/users")
    client.base_url = "https://two.example"

    assert (await client.get("/users")).text == "https://two.example:443/users?"


async def test_parameters_of_a_request_and_of_the_client(client):
    await client.get("/users?page=1")

    assert (await client.get("/users?page=1", params={"page": 2})).text.endswith("?page=2")
    client.params = {"lang": "en"}
    assert (await client.get("/users")).text.endswith("/users?lang=en")
    client.params = {}
    assert (await client.get("/users")).text.endswith("/users?")


async def test_an_absolute_url(client):
    assert [(await client.get("https://three.example:8443/a")).text for _ in range(2)] == [
        "https://three.example:8443/a?"
    ] * 2
