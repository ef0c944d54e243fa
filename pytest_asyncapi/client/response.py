"""A response whose body is read in one go, past the three async generators that httpx's own `aread()` goes through.

A third of the cost of a small response is saved so. Decoding stays httpx's: a response with a content-encoding, one
that has been read in part, and every response of a library that lacks the names below, take httpx's own way.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_asyncapi.client.transport import StreamBase


class QuickResponse:
    """The fast `aread()`, mixed into the library's `Response`."""

    module: ModuleType
    asgi_body: StreamBase
    stream: Any
    is_stream_consumed: bool
    is_closed: bool

    async def aread(self) -> bytes:
        """Read the whole body."""
        if self.is_stream_consumed or self.is_closed or not self.asgi_body.plain():
            content: bytes = await super().aread()  # type: ignore[misc]
            return content
        self.is_stream_consumed = True
        try:
            content = await self.asgi_body.collect()
        finally:  # httpx's `aclose()` without its checks
            self.is_closed = True
            await self.stream.aclose()
        self._content = content
        self._num_bytes_downloaded = len(content)
        return content

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()  # type: ignore[assignment]
        return {name: value for name, value in state.items() if name != "asgi_body"}

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Pickled as the library's own response: this class is made when it is first used."""
        return _blank, (self.module.Response,), self.__getstate__()


def _blank(cls: type[Any]) -> Any:
    return object.__new__(cls)


@functools.cache
def response_class(module: ModuleType) -> type[Any]:
    """The response class for httpx or httpx2."""
    names = {"module": module, "__module__": __name__}
    return type("Response", (QuickResponse, module.Response), names)
