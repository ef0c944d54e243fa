"""What the harness needs of a database, whichever it is."""

from __future__ import annotations

import contextvars
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TypeVar

from pytest_asyncapi.database.targets import Target

T = TypeVar("T")


@dataclass
class Reset:
    """What a reset found: transactions that were left open (it has cut them off). `changed` asks for `remake`."""

    left_open: list[str] = field(default_factory=list)
    changed: bool = False


class Store(ABC):
    """The database of this worker: made from a template, put back after commits, cloned for what changes tables."""

    dialect: str
    target: Target
    moved = False
    """Whether tests that were rolled back may have moved sequences, which a rollback does not put back."""
    description: str  # for the reports: `PostgreSQL 18 (embedded)`

    @abstractmethod
    def watch(self) -> None:
        """Get ready to put the database back to what it holds now; to be called before the first commit."""

    @abstractmethod
    async def reset(self, original: bool = False) -> Reset:
        """Put the database back to what it held at `rebase`, or (`original`) as the schema made it."""

    async def remake(self) -> None:  # noqa: B027 - not every database has to be remade
        """Make the database anew, since tables were changed. Nobody may be connected."""

    @abstractmethod
    async def rebase(self) -> None:
        """What the database holds now is what `reset` puts it back to."""

    @abstractmethod
    async def settle(self) -> None:
        """What the database holds now is what every test begins with, as if the schema had made it."""

    @abstractmethod
    def snapshot(self) -> AbstractAsyncContextManager[None]:
        """What is done in the block is undone at its end."""

    @abstractmethod
    def clone(self, whole: bool = False, into: Target | None = None) -> Target:
        """Another database as the schema makes it, or a clone `into` which that is put again.

        `whole`: with all that this one holds now, for which all connections to it are closed.
        """

    @abstractmethod
    def discard(self, clone: Target) -> None:
        """A clone is not needed any more."""

    @abstractmethod
    def close(self) -> None:
        """Remove what this worker has made."""


def in_thread(function: Callable[[], T]) -> T:
    """Call `function` in a thread of its own, in a copy of this context, and wait: it may start an event loop."""
    result: list[T] = []
    failure: list[BaseException] = []
    context = contextvars.copy_context()

    def call() -> None:
        try:
            result.append(context.run(function))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=call, name="pytest-asyncapi database")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]
