"""`RedisCache`: a client of the test's Redis server that is also the test's hand on it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import redis.asyncio

if TYPE_CHECKING:
    from pytest_asyncapi.cache.control import Command, Control, Fault


try:
    from redis.driver_info import DriverInfo
except ImportError:  # before redis 7.2
    _DRIVER: dict[str, Any] = {}
else:
    _DRIVER = {"driver_info": DriverInfo()}  # made once: redis-py would read its package's metadata for each client


class RedisCache(redis.asyncio.Redis):
    """A `redis.asyncio.Redis` like the app's own, on the same server: it sees the same data, faults and outages.

    The further methods control the server. None of them is awaited.
    """

    def __init__(self, control: Control, **options: Any) -> None:
        super().__init__(host="redis.test", **{**_DRIVER, **options})
        self.control = control

    def advance(self, seconds: float) -> None:
        """Let the server's clock run ahead by `seconds`: TTLs run out. (Under a virtual clock they follow it too.)"""
        self.control.advance(seconds)

    def down(self) -> None:
        """The server is gone: open connections end, new ones are refused, until `up()`."""
        self.control.down()

    def up(self) -> None:
        """The server is back, with the data that it had."""
        self.control.up()

    def fail(
        self, command: str | None = None, error: str = "ERR injected by the test", times: int | None = None
    ) -> Fault:
        """Answer `command` (None: every command) with `error`, for instance "LOADING", `times` times or always."""
        return self.control.fail(command, error, times)

    def hang(self, command: str | None = None, times: int | None = None) -> Fault:
        """Never answer `command`: the client's `socket_timeout` ends the wait. "CONNECT" is a command here."""
        return self.control.hang(command, times)

    def drop(self, command: str | None = None, times: int | None = None) -> Fault:
        """Close the connection that sends `command`."""
        return self.control.drop(command, times)

    def heal(self) -> None:
        """Forget every fault and the latency, and be up."""
        self.control.heal()

    @property
    def latency(self) -> float:
        """Seconds that the server takes for what a client sends at once."""
        return self.control.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self.control.latency = seconds

    @property
    def commands(self) -> list[Command]:
        """What every client has sent since the test began, this one too: tuples such as ("GET", "item:1")."""
        return self.control.commands

    def assert_commands(self, count: int, *names: str) -> AbstractContextManager[list[Command]]:
        """`with redis_cache.assert_commands(2): ...` or `assert_commands(1, "SET")`: fail unless so many are sent."""
        return self.control.assert_commands(count, *names)

    @property
    def engine(self) -> str:
        """What answers: "memory" or "server"."""
        return self.control.engine.name
