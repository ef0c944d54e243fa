"""The fixtures of the room in projects of their own, under each async plugin, and the errors that a newcomer meets."""

import json
import sys

import pytest

from tests.httpx_libraries import HTTPX_NAMES

QUIET = ("-p", "no:randomly", "-p", "no:cacheprovider", "-q")
APP = """
import asyncio, contextlib, contextvars, json

events = []

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        events.append("up")
        scope["state"]["loop"] = asyncio.get_running_loop()
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        assert scope["state"]["loop"] is asyncio.get_running_loop()
        events.append("down")
        await send({"type": "lifespan.shutdown.complete"})
        return
    assert scope["state"]["loop"] is asyncio.get_running_loop()
    body = json.dumps({"path": scope["path"], "client": scope["client"]}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})
"""
COUNTS = """
import json

def pytest_unconfigure():
    import shop
    with open("events.json", "w") as file:
        json.dump(shop.events, file)
"""


@pytest.fixture
def project(pytester):
    """`project(ini="...", **files)`: a project with an app `shop:app`, and `run(*args)` to run its tests."""

    class Project:
        def __call__(self, ini="", shop=APP, app="shop:app", mode="auto", **files):
            lines = [f"asyncio_mode = {mode}", "asyncio_default_fixture_loop_scope = function", "pythonpath = ."]
            lines += [f"asyncapi_app = {app}"] if app else []
            lines += ["asyncapi_database = none", ini]
            pytester.makeini("\n".join(["[pytest]", *lines]))
            pytester.makepyfile(shop=shop, **files)
            return self

        def run(self, *args, process=False):
            run = pytester.runpytest_subprocess if process else pytester.runpytest_inprocess
            sys.modules.pop("shop", None)
            return run(*QUIET, *args)

        def events(self):
            return json.loads((pytester.path / "events.json").read_text())

    return Project()


def text_of(result):
    return "\n".join(result.outlines)


ONE_TEST = """
async def test_it(client):
    assert (await client.get("/x")).json()["path"] == "/x"
"""


# ---- errors


def test_no_app(project):
    """Says how to set one."""
    result = project(app="", ini="asyncapi_names = true", test_it=ONE_TEST).run()

    result.assert_outcomes(errors=1)
    assert """\
there is no app to test.
Either set it in the configuration file (pyproject.toml, [tool.pytest.ini_options]):

    asyncapi_app = "package.module:app"          # or "package.module:create_app()" for a factory

or define the fixture in conftest.py:

    @pytest.fixture(scope="session")
    def asgi_app():
        return app
""" in text_of(result)


def test_a_module_that_does_not_import(project):
    """Shows the app's own error, with its line."""
    result = project(shop="import json\nimport no_such_library\n", test_it=ONE_TEST).run()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            ">   import no_such_library",
            "E   ModuleNotFoundError: No module named 'no_such_library'",
            "",
            "shop.py:2: ModuleNotFoundError",
        ]
    )
    assert "fixtures.py" not in text_of(result)


@pytest.mark.parametrize(
    ("name", "shop", "message"),
    [
        ("shop", "", "asyncapi_app = 'shop': expected 'package.module:attribute', for instance 'shop.main:app'"),
        (
            "store:app",
            "",
            "asyncapi_app = 'store:app': there is no module 'store'. Is it installed, or is its folder in pytest's "
            '`pythonpath` (for instance pythonpath = ["."] or ["src"])?',
        ),
        (
            "shop:aplication",
            "def application(scope, receive, send): pass",
            "asyncapi_app = 'shop:aplication': module 'shop' has no attribute 'aplication' "
            "(did you mean 'application'?)",
        ),
        ("shop:app", "app = 7", "asyncapi_app = 'shop:app' is 7, which is not an ASGI app: it cannot be called."),
        (
            "shop:App",
            "class App:\n    async def __call__(self, scope, receive, send): pass",
            "asyncapi_app = 'shop:App' is the class App, not an app: make an instance of it",
        ),
        (
            "shop:app",
            "class Flask:\n    def __call__(self, environ, start_response): pass\n"
            "    def __repr__(self): return '<Flask>'\napp = Flask()",
            "asyncapi_app = 'shop:app' is <Flask>, which takes two arguments as a WSGI app does, not scope, receive "
            "and send. Wrap it: a2wsgi.WSGIMiddleware(app), or asgiref.wsgi.WsgiToAsgi(app)",
        ),
        (
            "shop:app",
            "class Old:\n    def __init__(self, scope): pass\nmake = Old\n"
            "class App:\n    def __call__(self, scope): pass\n    def __repr__(self): return '<Old>'\napp = App()",
            "asyncapi_app = 'shop:app' is <Old>, which takes one argument as an ASGI 2 app does. Wrap it: "
            "asgiref.compatibility.guarantee_single_callable(app)",
        ),
        (
            "shop:create()",
            "def create(settings, debug=False): pass",
            "asyncapi_app = 'shop:create()': the factory is called without arguments, but it is create(settings, "
            "debug=False). Give them defaults, or call it in a fixture `asgi_app` of conftest.py",
        ),
        (
            "shop:app()",
            "app = 7",
            "asyncapi_app = 'shop:app()': 7 is no factory, it cannot be called. Leave out the ()",
        ),
        (
            "shop:create",
            "async def create(): pass",
            "asyncapi_app = 'shop:create' gave a coroutine, not an app: an app is made by a plain function, or by an "
            "async fixture that is decorated with @pytest_asyncapi.fixture",
        ),
    ],
)
def test_not_an_app(project, name, shop, message):
    """Each wrong value says what it is, and what to write."""
    result = project(app=name, shop=shop, test_it=ONE_TEST).run()

    result.assert_outcomes(errors=1)
    assert message in text_of(result)
    assert "Traceback" not in text_of(result)


def test_a_fixture_that_returns_no_app(project):
    """An `asgi_app` of the user that forgets its `return`."""
    conftest = "import pytest\n\n@pytest.fixture\ndef asgi_app():\n    pass\n"

    result = project(app="", conftest=conftest, test_it=ONE_TEST).run()

    result.assert_outcomes(errors=1)
    assert "the fixture asgi_app is None, which is not an ASGI app: it cannot be called." in text_of(result)


def test_factories(project):
    """A factory is called, with parentheses in its name or without."""
    shop = APP + "\ndef create_app():\n    return app\n"

    project(app="shop:create_app()", shop=shop, test_it=ONE_TEST).run().assert_outcomes(passed=1)
    project(app="shop:create_app", shop=shop, test_it=ONE_TEST).run().assert_outcomes(passed=1)


def test_a_startup_that_hangs(project):
    """The error says what it was doing, by line, and nothing of our own."""
    shop = """
import asyncio

async def connect_to_the_broker():
    await asyncio.sleep(3600)

async def app(scope, receive, send):
    await receive()
    await connect_to_the_broker()
"""

    result = project(shop=shop, ini="asyncapi_startup_timeout = 50ms", test_it=ONE_TEST).run()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "the app's start-up did not end in 0.05 s; it waits at",
            "  *shop.py:8 in app: await connect_to_the_broker()",
            "  *shop.py:4 in connect_to_the_broker: await asyncio.sleep(3600)",
        ]
    )
    assert "During handling" not in text_of(result)


def test_a_startup_that_fails(project):
    """The error is the app's own, at its own line."""
    shop = "async def app(scope, receive, send):\n    await receive()\n    raise OSError('no broker at broker:5672')\n"

    result = project(shop=shop, test_it=ONE_TEST).run()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["E       OSError: no broker at broker:5672", "E       raised in the lifespan's start-up", "shop.py:3: OSError"]
    )
    assert "pytest_asyncapi/client" not in text_of(result)


def test_a_sync_test(project):
    """That asks for the client is told to be async."""
    result = project(test_it="def test_it(client): pass").run()

    result.assert_outcomes(errors=1)
    assert "'client' is asynchronous, " in text_of(result)
    assert "make it `async def`" in text_of(result)


# ---- runners and lifespans

EIGHT_TESTS = {
    f"test_{module}": "\n".join(f"async def test_{n}(client):\n    await client.get('/{n}')" for n in range(4))
    for module in ("one", "two")
}


@pytest.mark.parametrize(
    ("scope", "starts"),
    [("function", 8), ("module", 2), ("session", 1)],
)
@pytest.mark.parametrize("runner", ["asyncio", "anyio"])
def test_a_lifespan_per_loop(project, runner, scope, starts):
    """It starts once for each event loop, and stops in it."""
    files = dict(EIGHT_TESTS, conftest=COUNTS)
    if runner == "asyncio":
        result = project(ini=f"asyncio_default_test_loop_scope = {scope}", **files).run()
    else:
        files["conftest"] += (
            "\nimport pytest\n@pytest.fixture(scope='session')\ndef anyio_backend():\n    return 'asyncio'\n"
        )
        ini = f"anyio_mode = auto\nasyncapi_anyio_loop_scope = {scope}"
        result = project(ini=ini, mode="strict", **files).run()

    result.assert_outcomes(passed=8)
    assert project.events() == ["up", "down"] * starts


@pytest.mark.parametrize(
    ("ini", "marker", "events"),
    [
        ("asyncapi_lifespan = function", "", ["up", "down"] * 8),
        ("", "import pytest\npytestmark = pytest.mark.client(lifespan='function')\n", ["up", "down"] * 8),
    ],
)
def test_a_lifespan_per_test(project, ini, marker, events):
    """Where it is asked for, in a session's loop."""
    files = {name: marker + text for name, text in EIGHT_TESTS.items()}

    result = project(ini=f"asyncio_default_test_loop_scope = session\n{ini}", conftest=COUNTS, **files).run()

    result.assert_outcomes(passed=8)
    assert project.events() == events


def test_no_lifespan(project):
    """asyncapi_lifespan = off."""
    shop = APP.replace('assert scope["state"]["loop"]', 'assert "state" not in scope; 0')
    shop = shop.replace("0 is asyncio.get_running_loop()\n    body", "0\n    body")

    result = project(shop=shop, ini="asyncapi_lifespan = off", conftest=COUNTS, **EIGHT_TESTS).run()

    result.assert_outcomes(passed=8)
    assert project.events() == []


def test_an_app_per_test_in_a_sessions_loop(project):
    """An `asgi_app` that is narrower than the loop has a lifespan for each test, and none is left open."""
    conftest = COUNTS + "\nimport pytest\n@pytest.fixture\ndef asgi_app():\n    import shop\n    return shop.app\n"

    result = project(app="", ini="asyncio_default_test_loop_scope = session", conftest=conftest, **EIGHT_TESTS).run()

    result.assert_outcomes(passed=8)
    assert project.events() == ["up", "down"] * 8


def test_a_users_client_wins(project):
    """A user's own `client` may build on ours, and ours never depends on it."""
    conftest = """
import pytest_asyncapi

@pytest_asyncapi.fixture
async def client(client):
    client.headers["authorization"] = "Bearer ada"
    return client
"""
    test = """
async def test_it(client, client_factory):
    assert client.headers["authorization"] == "Bearer ada"
    assert "authorization" not in client_factory().headers
    assert (await client.get("/x")).status_code == 200
"""
    project(conftest=conftest, test_it=test).run().assert_outcomes(passed=1)


@pytest.mark.parametrize("library", HTTPX_NAMES)
def test_the_library(project, library):
    """asyncapi_http_library picks what the client is built on; live or not."""
    test = f"""
import {library}
import pytest_asyncapi.client

async def test_it(client):
    assert isinstance(client, {library}.AsyncClient)
    assert type(client).__name__ == "AsyncClient"
    assert (await client.get("/x")).json()["path"] == "/x"
"""
    run = project(ini=f"asyncapi_http_library = {library}", test_it=test).run
    run().assert_outcomes(passed=1)
    run("--live").assert_outcomes(passed=1)


def test_marker_and_settings(project):
    """Each setting reaches the client, from the ini file or from the marker."""
    shop = """
async def app(scope, receive, send):
    if scope["path"] == "/fail":
        raise OSError("app")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Upper", b"1")]})
    await send({"type": "http.response.body", "body": scope["server"][0].encode()})
    done.append(1)

done = []
"""
    test = """
import pytest
import shop
from pytest_asyncapi.errors import ProtocolError

async def test_ini(client):
    assert str(client.base_url) == "https://shop.example"
    assert client.timeout.read == 7
    assert (await client.get("/x")).text == "shop.example"
    with pytest.raises(OSError):
        await client.get("/fail")

@pytest.mark.client(base_url="http://other.example", read_timeout="2s", raise_app_exceptions=False, background="defer")
async def test_marker(client):
    assert client.timeout.read == 2
    assert (await client.get("/fail")).status_code == 500
    shop.done.clear()
    assert (await client.get("/x")).text == "other.example"
    assert shop.done == []
    await client.drain()
    assert shop.done == [1]

@pytest.mark.client(strict=True)
async def test_strict(client):
    with pytest.raises(ProtocolError, match="lower case"):
        await client.get("/x")
"""
    ini = "asyncapi_base_url = https://shop.example\nasyncapi_read_timeout = 7s"
    project(shop=shop, ini=ini, test_it=test).run().assert_outcomes(passed=3)


def test_client_factory(project):
    """More clients: other base URLs, headers, addresses; other apps have their own lifespan. All are closed."""
    test = """
import contextlib
import shop

other_events = []

async def other(scope, receive, send):
    if scope["type"] == "lifespan":
        other_events.append("up")
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        other_events.append("down")
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"other"})

async def test_it(client, client_factory):
    phone = client_factory(base_url="https://m.example", headers={"x-a": "1"}, client=("10.0.0.7", 4000))
    assert (await phone.get("/x")).json() == {"path": "/x", "client": ["10.0.0.7", 4000]}
    assert str(phone.base_url) == "https://m.example"
    assert phone.headers["x-a"] == "1"
    assert (await client.get("/x")).json()["client"] == ["127.0.0.1", 50000]
    assert shop.events == ["up"]

    assert other_events == []
    first, second = client_factory(app=other), client_factory(other)
    assert (await first.get("/")).text == "other"
    assert (await second.get("/")).text == "other"
    assert other_events == ["up"]

def test_afterwards():
    assert shop.events == ["up", "down"]
    assert other_events == ["up", "down"]
"""
    run = project(test_it=test).run
    run().assert_outcomes(passed=2)
    run("--live").assert_outcomes(passed=2)


OVERRIDE_APP = """
from fastapi import Depends, FastAPI

def get_user():
    return "the real one"

def get_limit():
    return 10

class Wrapped:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        await self.app(scope, receive, send)

inner = FastAPI()

@inner.get("/")
async def who(user=Depends(get_user), limit=Depends(get_limit)):
    return [user, limit]

app = Wrapped(inner)
"""


def test_override(project):
    """A dependency is replaced until the end of the test, also behind a middleware, and put back as it was."""
    test = """
import pytest
import shop
from pytest_asyncapi.errors import ConfigurationError

async def test_value(client, override):
    override(shop.get_user, "ada")
    assert (await client.get("/")).json() == ["ada", 10]
    with override(shop.get_user, "bob"):
        assert (await client.get("/")).json() == ["bob", 10]
    assert (await client.get("/")).json() == ["ada", 10]

async def test_undone(client):
    assert (await client.get("/")).json() == ["the real one", 10]
    assert shop.inner.dependency_overrides == {}

async def test_function(client, override):
    async def user(name: str = "nobody"):
        yield f"{name}, {len(shop.inner.dependency_overrides)}"
    override(shop.get_user, using=user)
    limit = override(shop.get_limit, None)
    assert (await client.get("/?name=eve")).json() == ["eve, 2", None]
    limit.undo()
    assert (await client.get("/?name=eve")).json() == ["eve, 1", 10]

async def test_one_that_was_there(client, override):
    shop.inner.dependency_overrides[shop.get_limit] = before = lambda: 1
    try:
        with override(shop.get_limit, 2):
            assert (await client.get("/")).json()[1] == 2
        assert shop.inner.dependency_overrides[shop.get_limit] is before
    finally:
        shop.inner.dependency_overrides.clear()

def test_wrong(override):
    with pytest.raises(ConfigurationError) as raised:
        override(shop.get_user)
    assert str(raised.value) == (
        "override() takes the dependency and either a value, override(get_user, user), or another dependency, "
        "override(get_user, using=get_test_user)"
    )
    with pytest.raises(ConfigurationError) as raised:
        override(shop.get_user, lambda: "ada")
    assert str(raised.value) == (
        "override(): the value is a function, which the endpoints would get uncalled. "
        "Write override(get_user, using=function) to have it called; "
        "where they shall get the function itself: using=lambda: function"
    )
    with pytest.raises(ConfigurationError) as raised:
        override("get_user", 1)
    assert str(raised.value) == (
        "override(): 'get_user' is not a dependency: give the function that the endpoints depend on"
    )
    with pytest.raises(ConfigurationError, match="override.. works on FastAPI apps, which have `dependency_overrides`"):
        override(shop.get_user, 1, app=print)
"""
    project(shop=OVERRIDE_APP, test_it=test).run().assert_outcomes(passed=5)


# ---- the report

REPORT_APP = """
import json

async def app(scope, receive, send):
    if scope["path"] == "/boom":
        raise OSError("no disk")
    body = json.dumps({"access_token": "t0p-secret", "name": "ada"}).encode()
    headers = [(b"content-type", b"application/json"), (b"set-cookie", b"sid=s3cret"), (b"x-id", b"7")]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": body if scope["path"] != "/big" else b"x" * 5000})
"""
REPORT_TEST = """
async def test_it(client):
    await client.post(
        "/login?api_key=k3y&page=2",
        json={"user": "ada", "password": "pa55word", "n": 1},
        headers={"authorization": "Bearer abc.def", "x-api-key": "k3y", "x-page": "2"},
    )
    await client.get("/big", headers={"cookie": "sid=s3cret"})
    try:
        await client.get("/boom")
    except OSError:
        pass
    async with client.stream("POST", "/up", content=upload()) as response:
        assert response.status_code == 200

async def upload():
    yield b"x"

async def test_fine(client):
    await client.get("/")
"""
SECTION = """\
curl -X POST 'http://testserver/login?api_key=***&page=2' -H 'authorization: Bearer ***' -H 'x-api-key: ***' \
-H 'x-page: 2' -H 'content-type: application/json' --data-raw '{"user":"ada","password":"***","n":1}'
<- 201
   content-type: application/json
   set-cookie: ***
   x-id: 7
   {"access_token": "***", "name": "ada"}

curl -X GET http://testserver/big -H 'cookie: ***'
<- 201
   content-type: application/json
   set-cookie: ***
   x-id: 7
   """


@pytest.mark.parametrize("arguments", [(), ("-n1",)])
def test_the_report_section(project, arguments):
    """Requests as curl, secrets masked, bodies cut; also from an xdist worker; nothing for a test that passes."""
    result = project(shop=REPORT_APP, test_it=REPORT_TEST).run(*arguments, process=bool(arguments))

    result.assert_outcomes(passed=1, failed=1)
    text = text_of(result)
    assert text.count("requests of the client, as curl, and their responses") == 1
    assert SECTION + "x" * 1000 + "... <cut>\n" in text
    assert "curl -X GET http://testserver/boom -H 'cookie: ***'\n<- no response, raised OSError: no disk\n" in text
    upload = "-H 'cookie: ***' -H 'transfer-encoding: chunked' --data-binary '<streamed>'"
    assert f"curl -X POST http://testserver/up {upload}\n<- 201\n" in text
    section = text.partition("requests of the client")[2].partition("short test summary")[0]
    for secret in ("t0p", "s3cret", "pa55word", "k3y", "abc.def"):
        assert secret not in section


def test_the_last_requests_only(project):
    """The section says how many there were."""
    test = """
async def test_it(client):
    for number in range(12):
        await client.get(f"/{number}")
    assert False
"""
    text = text_of(project(test_it=test).run())

    assert "(the last 5 of 12 requests)\n\ncurl -X GET http://testserver/7\n" in text
    assert "http://testserver/6\n" not in text


@pytest.mark.parametrize("live", [(), ("--live",)])
def test_a_client_across_tests(project, live):
    """An open stream and an open websocket live across a fixture's yield, in the loop of the test."""
    shop = """
import asyncio
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route, WebSocketRoute

events = []

async def ticks(request):
    async def generate():
        try:
            while True:
                yield b"tick\\n"
                await asyncio.sleep(0.001)
        finally:
            events.append("stream stopped")
    return StreamingResponse(generate())

async def echo(websocket):
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)
    events.append("socket left")

app = Starlette(routes=[Route("/ticks", ticks), WebSocketRoute("/echo", echo)])
"""
    test = """
import pytest_asyncapi
import shop

@pytest_asyncapi.fixture
async def socket(client):
    async with client.websocket_connect("/echo") as ws:
        yield ws

@pytest_asyncapi.fixture
async def ticks(client):
    async with client.stream("GET", "/ticks") as response:
        yield response.aiter_lines()

async def test_it(socket, ticks):
    await socket.send_text("hi")
    assert await socket.receive_text() == "hi"
    assert await anext(ticks) == "tick"
    assert shop.events == []

def test_closed():
    assert sorted(shop.events) == ["socket left", "stream stopped"]
"""
    project(shop=shop, test_it=test).run(*live).assert_outcomes(passed=2)
    anyio = "import pytest\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    result = project(shop=shop, mode="strict", ini="anyio_mode = auto", conftest=anyio, test_it=test).run(*live)
    result.assert_outcomes(passed=2)


def test_live_without_uvicorn_names_the_extra(project):
    shop = "import sys\n\nsys.modules['uvicorn'] = None\n\nasync def app(scope, receive, send): pass"

    result = project(shop=shop, test_it=ONE_TEST).run("--live", process=True)

    result.assert_outcomes(errors=1)
    assert "\n--live needs uvicorn: pip install 'pytest-asyncapi[live]'\n" in text_of(result)
    assert "Traceback" not in text_of(result)
