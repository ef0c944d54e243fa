"""The client parses each URL once; what it asks for stays what httpx asks for."""

import pytest

from pytest_asyncapi.client.async_client import client_class
from tests.httpx_libraries import LIBRARIES

BASES = [
    "http://one.example",
    "http://one.example/v1",
    "https://user:secret@one.example:8443/v1/",
    "http://one.example:80/a%2Fb/ü",
    "http://[::1]:8000/",
    "http://bücher.example/v1?key=1",
    "http://one.example/v1#part",
    "http://one.example/a/../b",
    "",
]
URLS = [
    "",
    "/",
    "/users",
    "users",
    "/users:1/@me",
    "/a%2Fb/%e4/ü?q=ü%20x y&'<>\"{}|",
    "/a/../b/./c",
    "/../../up",
    "/users?",
    "/users#part",
    "/?a=1?b=2",
    "?a=1",
    "//two.example/a",
    "///a//b",
    "/a//b",
    "https://two.example:8443/a",
    "/tab\there",
    "/\x7f",
    "/[x]\\y;z=1,2",
]


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


@LIBRARIES
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("url", URLS)
def test_a_request_has_the_url_that_httpx_gives_it(library, base, url):
    def asked_of(client):
        try:
            return client.build_request("GET", url).url
        except library.InvalidURL as error:
            return str(error)

    ours = client_class(library)(None, base_url=base)
    theirs = library.AsyncClient(base_url=base)

    assert [asked_of(ours) for _ in range(2)] == [asked_of(theirs)] * 2
    assert str(asked_of(ours)) == str(asked_of(theirs))
