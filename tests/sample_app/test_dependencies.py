"""Pattern 6: asynchronous and synchronous dependencies."""

from sample_app.dependencies import get_async_dependency, get_sync_dependency


async def test_both_kinds(client, virtual_clock):
    response = await client.get("/with-dependencies")

    assert response.json() == {"async": {"dependency": "async_data"}, "sync": {"dependency": "sync_data"}}


async def test_both_kinds_can_be_overridden(client, asgi_app, monkeypatch):
    monkeypatch.setitem(asgi_app.dependency_overrides, get_async_dependency, lambda: {"dependency": "mine"})
    monkeypatch.setitem(asgi_app.dependency_overrides, get_sync_dependency, lambda: {"dependency": "mine too"})

    response = await client.get("/with-dependencies")

    assert response.json() == {"async": {"dependency": "mine"}, "sync": {"dependency": "mine too"}}
