"""The detector without pytest: `detect_blocking()` for a REPL or a script, `BlockingMonitor` for a staging server."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from types import TracebackType
from typing import Any

from pytest_asyncapi.asgi import current_scope
from pytest_asyncapi.blocking.allow import parse
from pytest_asyncapi.blocking.detector import DETECTOR
from pytest_asyncapi.blocking.model import Block
from pytest_asyncapi.blocking.recorder import Recorder
from pytest_asyncapi.blocking.scopes import note
from pytest_asyncapi.blocking.text import headline, paragraph
from pytest_asyncapi.errors import ConfigurationError

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]

logger = logging.getLogger("pytest_asyncapi.blocking")


def _seconds(threshold: float) -> float:
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or threshold <= 0:
        raise ConfigurationError(f"threshold={threshold!r}: expected seconds, more than 0, for instance 0.05")
    return float(threshold)


class detect_blocking:
    """Record what holds the event loop meanwhile.

    ```python
    async with detect_blocking(threshold=0.05) as blocks:
        await something()
    for block in blocks:
        print(block.site, block.call, block.remedy)
    ```
    `threshold` is seconds of CPU time and waiting; calls that always block (`time.sleep`, ...) count however short
    they are. `allow` are patterns as in `asyncapi_blocking_allow`. The object is the sequence of the blocks.
    """

    def __init__(self, threshold: float = 0.05, *, allow: Sequence[str] = ()) -> None:
        rules = [parse(text, "detect_blocking(allow=...)") for text in allow]
        self._recorder = Recorder(_seconds(threshold), rules=rules)

    async def __aenter__(self) -> detect_blocking:
        # The step that runs now began unseen: begin another one.
        import asyncio

        DETECTOR.listen(self._recorder)
        try:
            await asyncio.sleep(0)
        except BaseException:
            DETECTOR.forget(self._recorder)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # The step that runs now ends at the next await: let it end, so that what it held the loop for is seen.
        import asyncio

        try:
            await asyncio.sleep(0)
        finally:
            DETECTOR.forget(self._recorder)

    def __enter__(self) -> detect_blocking:
        DETECTOR.listen(self._recorder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        DETECTOR.forget(self._recorder)

    @property
    def blocks(self) -> list[Block]:
        return self._recorder.blocks

    def __iter__(self) -> Iterator[Block]:
        return iter(self.blocks)

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, index: int) -> Block:
        return self.blocks[index]

    def __bool__(self) -> bool:
        return bool(self.blocks)

    def __str__(self) -> str:
        return "\n\n".join(paragraph(block, "") for block in self.blocks) or "no blocks"

    def __repr__(self) -> str:
        return f"<detect_blocking: {len(self)} blocks>"


class BlockingMonitor:
    """An ASGI middleware that logs what holds the event loop, with the request that it belongs to.

    `app = BlockingMonitor(app, threshold=0.1)`, for a staging server. Each block is a warning of the logger
    `pytest_asyncapi.blocking`, with the block as `record.block`; or it goes to `on_block`.
    """

    def __init__(
        self,
        app: App,
        threshold: float = 0.1,
        *,
        allow: Sequence[str] = (),
        on_block: Callable[[Block], None] | None = None,
    ) -> None:
        self.app = app
        rules = [parse(text, "BlockingMonitor(allow=...)") for text in allow]
        self._recorder = Recorder(_seconds(threshold), rules=rules)
        self._on_block = on_block or _log
        self._listening = False

    async def __call__(
        self, scope: Scope, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        if not self._listening:
            self._listening = True
            DETECTOR.listen(self._recorder)
        note(scope)
        token = current_scope.set(scope)
        try:
            await self.app(scope, receive, send)
        finally:
            current_scope.reset(token)
            self.flush()
            if scope["type"] == "lifespan":
                self.close()

    def flush(self) -> None:
        """Tell what was seen. Called after each request; what the last step of a request did is told with the next."""
        if self._recorder.seen():
            for block in self._recorder.take():
                if block.status != "allowed":
                    self._on_block(block)

    def close(self) -> None:
        """Stop listening. The end of the lifespan does it."""
        if self._listening:
            self._listening = False
            self.flush()
            DETECTOR.forget(self._recorder)


def _log(block: Block) -> None:
    logger.warning("%s", headline(block, ""), extra={"block": block})
