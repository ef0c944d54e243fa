"""The fixture `blocking`: what the detector has seen in this test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import pytest

from pytest_asyncapi.runner import public_fixture

if TYPE_CHECKING:
    from pytest_asyncapi.blocking.model import Block
    from pytest_asyncapi.blocking.recorder import Recorder


class Blocking:
    """`events` are the blocks of this test so far; `expected(reason=...)` marks what is meant."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __repr__(self) -> str:
        from pytest_asyncapi.blocking.text import headline

        events = self.events
        lines = [f"<blocking: {len(events)} event{'s' * (len(events) != 1)}>"]
        lines += [f"  {headline(block, self._recorder.root)}" for block in events]
        return "\n".join(lines)

    @property
    def events(self) -> list[Block]:
        """What held the event loop in this test so far, without what is allowed."""
        return self._recorder.blocks

    def expected(self, *, reason: str) -> AbstractContextManager[None]:
        """Blocks in here are meant: they are reported as allowed, and fail nothing."""
        return self._recorder.expected(reason)


@public_fixture
def blocking(request: pytest.FixtureRequest) -> Iterator[Blocking]:
    """What holds the event loop in this test. Without `--detect-blocking` the detector runs for this test alone."""
    from pytest_asyncapi.blocking.detector import DETECTOR
    from pytest_asyncapi.blocking.recorder import Recorder
    from pytest_asyncapi.settings import settings_of

    hooks = request.config.pluginmanager.get_plugin("asyncapi-blocking-hooks")
    if hooks is not None:
        yield Blocking(request.config.stash[hooks.SESSION].recorder)
        return
    settings = settings_of(request.node)
    recorder = Recorder(settings.blocking_threshold, str(request.config.rootpath))
    DETECTOR.listen(recorder)
    try:
        yield Blocking(recorder)
    finally:
        DETECTOR.forget(recorder)
