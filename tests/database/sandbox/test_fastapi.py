"""A FastAPI app, with what FastAPI does around a request: dependencies, background tasks, middleware, streams."""

import asyncio
from typing import Annotated

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.middleware.base import BaseHTTPMiddleware

from pytest_asyncapi.asgi import current_scope
from pytest_asyncapi.database.queries import QueryLog
from pytest_asyncapi.errors import SandboxWarning

httpx2 = pytest.importorskip("httpx2")


@pytest.fixture
def seen():
    """What background tasks have read."""
    return []


@pytest.fixture
async def client(app, sandbox, seen):
    api = FastAPI()

    async def session():
        async with app.Session.begin() as session:  # commits when the request is over
            yield session

    Session = Annotated[AsyncSession, Depends(session)]

    @api.post("/users/{email}", status_code=201)
    async def create(email: str, session: Session, background: BackgroundTasks):
        session.add(app.User(email=email))
        try:
            await session.flush()
        except IntegrityError:
            raise HTTPException(409) from None
        await asyncio.sleep(0.001)
        if email.startswith("late"):
            background.add_task(look)

    async def look():
        seen.append(await app.emails())

    @api.get("/users")
    async def stream(session: Session):
        async def lines():
            rows = await session.stream_scalars(select(app.User.email).order_by(app.User.email))
            async for email in rows:
                yield f"{email}\n"

        return StreamingResponse(lines())

    @api.middleware("http")
    async def audit(request, call_next):
        response = await call_next(request)
        response.headers["X-Users"] = str(len(await app.emails())) if request.method == "GET" else "?"
        return response

    class Plain(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            return await call_next(request)

    api.add_middleware(Plain)

    async def asgi(scope, receive, send):
        token = current_scope.set(scope)
        try:
            await api(scope, receive, send)
        finally:
            current_scope.reset(token)

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(asgi), base_url="http://test") as client:
        yield client


@pytest.mark.filterwarnings("ignore::pytest_asyncapi.errors.SandboxWarning")
async def test_requests_at_the_same_time(client, app, session):
    session.add(app.User(email="seed"))
    await session.flush()
    emails = [f"user{number:02}" for number in range(20)]

    responses = await asyncio.gather(*(client.post(f"/users/{email}") for email in [*emails, "seed", "user07"]))

    assert sorted(response.status_code for response in responses) == [201] * 20 + [409] * 2
    assert (await session.scalars(select(app.User.email).order_by(app.User.email))).all() == ["seed", *emails]
    streamed = await client.get("/users")
    assert streamed.text.split() == ["seed", *emails]


async def test_background_task_runs_before_the_dependency_commits(client, app, seen):
    """On a pool it would not see the row: there is a warning that says so."""
    with pytest.warns(SandboxWarning, match="sees its uncommitted rows"):
        assert (await client.post("/users/late")).status_code == 201
    assert seen == [["late"]]
    assert await app.emails() == ["late"]


async def test_queries_of_each_request(client, app):
    with QueryLog() as log:
        await asyncio.gather(client.post("/users/ada"), client.post("/users/bob"))
    assert {request: [len(queries) for queries in each] for request, each in log.by_request().items()} == {
        "POST /users/{email}": [1, 1]
    }
