"""The spellings of respx and aioresponses where they mean the same, so that a suite can move over a test at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pytest_asyncapi.errors import UpstreamError
from pytest_asyncapi.upstream.replies import Reply

if TYPE_CHECKING:
    from typing import Self

    from pytest_asyncapi.upstream.routes import Calls, Route


class RouteSpellings:
    """What a route of respx can be told and asked."""

    calls: Calls
    if TYPE_CHECKING:

        def reply(self, *values: Any, latency: float | None = None, **reply: Any) -> Self: ...
        def assert_called(self, times: int | None = None) -> None: ...

    def respond(self, status_code: int = 200, *, latency: float = 0.0, **reply: Any) -> Self:
        """``route.respond(201, json=...)``, with `content`, `text`, `html`, `headers`, `cookies`, `content_type`,
        `stream`."""
        for theirs in ("content", "stream"):
            if theirs in reply:
                reply["body"] = reply.pop(theirs)
        if isinstance(reply.get("body"), str):
            reply["text"] = reply.pop("body")
        content_type = reply.pop("content_type", None)
        answer = Reply(status_code, **reply)
        if content_type is not None:
            kept = [pair for pair in answer.headers if pair[0].lower() != "content-type"]
            answer = answer.changed(headers=[*kept, ("Content-Type", content_type)])
        return self.reply(answer, latency=latency)

    def mock(self, return_value: Any = None, side_effect: Any = None) -> Self:
        """``route.mock(return_value=...)`` or ``route.mock(side_effect=...)``, where an iterable is a sequence."""
        if side_effect is None:
            return self.reply(return_value if return_value is not None else 200)
        if isinstance(side_effect, Iterable) and not isinstance(side_effect, type):
            return self.reply(*side_effect)
        return self.reply(side_effect)

    def __mod__(self, response: Any) -> Self:
        """``route % 404`` or ``route % {"json": ...}``, whose mapping has the arguments of ``respond``."""
        return self.respond(**response) if isinstance(response, Mapping) else self.reply(response)

    @property
    def return_value(self) -> Any:
        raise AttributeError("return_value can be set, not read: look at the calls")

    @return_value.setter
    def return_value(self, value: Any) -> None:
        self.mock(return_value=value)

    @property
    def side_effect(self) -> Any:
        raise AttributeError("side_effect can be set, not read: look at the calls")

    @side_effect.setter
    def side_effect(self, value: Any) -> None:
        self.mock(side_effect=value)

    @property
    def called(self) -> bool:
        return bool(self.calls)

    @property
    def call_count(self) -> int:
        return len(self.calls)

    def assert_called_once(self) -> None:
        self.assert_called(1)

    def assert_not_called(self) -> None:
        self.assert_called(0)


class RouterSpellings:
    """What a router of respx, and the mock of aioresponses, can be told and asked."""

    calls: Calls
    routes: list[Route]
    if TYPE_CHECKING:

        def route(self, method: Any = None, url: Any = None, **wanted: Any) -> Route: ...
        def assert_called(self, times: int | None = None) -> None: ...

    def request(self, method: str, url: Any, **wanted: Any) -> Route:
        """respx's name for a route with a method."""
        return self.route(method, url, **wanted)

    def __getitem__(self, name: str) -> Route:
        """``respx_mock["name"]``: the route with that name."""
        for route in reversed(self.routes):
            if route.name == name:
                return route
        names = ", ".join(route.name for route in self.routes if route.name) or "none with a name"
        raise UpstreamError(f"upstream[{name!r}]: there is no such route; there are {names}.")

    def add(
        self,
        url: Any,
        method: str = "GET",
        *,
        status: int = 200,
        body: str | bytes = b"",
        payload: Any = None,
        headers: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        exception: BaseException | type[BaseException] | None = None,
        timeout: bool = False,
        callback: Callable[..., Any] | None = None,
        reason: str | None = None,
        repeat: bool = True,
    ) -> Route:
        """aioresponses' ``mock.add(url, "POST", payload=...)``. It always repeats (``repeat=False`` is refused)."""
        if not repeat:
            raise UpstreamError(
                "upstream.add(repeat=False): an upstream route answers any number of calls; assert_called(1) counts."
            )
        route = self.route(method, url)
        if callback is not None:
            return route.reply(callback)
        if exception is not None or timeout:
            return route.reply(exception if exception is not None else TimeoutError)
        if payload is not None:
            return route.reply(Reply(status, json=payload, headers=headers or {}, reason=reason))
        content = body.encode() if isinstance(body, str) else body
        given = {"Content-Type": content_type, **(headers or {})}
        return route.reply(Reply(status, body=content, headers=given, reason=reason))

    def assert_called_once(self) -> None:
        self.assert_called(1)

    def assert_not_called(self) -> None:
        self.assert_called(0)
