"""Prometheus metrics, counted by a middleware that speaks plain ASGI.

Starlette's BaseHTTPMiddleware would run the app in a task of its own behind a queue of chunks; this one only looks at
the messages that pass, so that streams flow, and a disconnect arrives, as without it.
"""

import asyncio

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

router = APIRouter(tags=["metrics"])

REGISTRY = CollectorRegistry()
"""The app's own: the process-wide default may hold metrics of the same names from elsewhere."""

REQUESTS = Counter("http_requests", "HTTP requests answered", ["method", "endpoint", "status"], registry=REGISTRY)
DURATION = Histogram(
    "http_request_duration_seconds", "Seconds until the last byte", ["method", "endpoint"], registry=REGISTRY
)
OPEN_STREAMS = Gauge("open_streams", "Streams that are being produced", registry=REGISTRY)
RESOURCES_IN_USE = Gauge("managed_resources_in_use", "Resources acquired and not yet released", registry=REGISTRY)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def endpoint_of(scope: Scope) -> str:
    """The template of the route that answered, as ``/users/{user_id}``.

    Labels must be few: a series a path, or a series a method that a scanner has made up, would fill the memory of the
    process and of Prometheus.
    """
    return getattr(scope.get("route"), "path", "unmatched")


class MetricsMiddleware:
    """Counts every response by method, endpoint and status, and how long it took."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        clock = asyncio.get_running_loop().time  # monotonic, unlike the time of day
        started = clock()
        status = 500  # what the server answers when the app raises before it has answered
        counted = False

        def count() -> None:
            nonlocal counted
            if counted:
                return
            counted = True
            # The router has left its match in the scope by now.
            method = scope["method"] if scope["method"] in METHODS else "other"
            endpoint = endpoint_of(scope)
            REQUESTS.labels(method, endpoint, status).inc()
            DURATION.labels(method, endpoint).observe(clock() - started)

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                count()  # and not when the app returns: it may have background work to do

        try:
            await self._app(scope, receive, watch)
        finally:
            count()  # a response without an end: an error, or a client that has left


@router.get("/metrics")
async def metrics() -> Response:
    """What Prometheus scrapes."""
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)
