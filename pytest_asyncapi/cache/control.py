"""What a test does to its Redis server: advance its clock, take it down, make commands fail, read what was asked.

A `Control` stands in front of an engine (`MemoryEngine` or `ServerEngine`); every connection of every client passes
its commands through it, whatever answers them.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pytest_asyncapi.cache.resp import Fields
from pytest_asyncapi.timeline import now
from pytest_asyncapi.values import number_of_seconds

if TYPE_CHECKING:
    from pytest_asyncapi.cache.link import Link

# What a client says when it connects: neither logged nor failed, so that a test sees only what the app asked.
HANDSHAKE = frozenset({b"HELLO", b"AUTH", b"SELECT", b"CLIENT", b"QUIT", b"READONLY"})

FaultKind = Literal["fail", "hang", "drop"]


class Command(tuple[Any, ...]):
    """One command as it was sent: a tuple of texts (of bytes, where a part is no UTF-8), the name in upper case."""

    __slots__ = ()

    @classmethod
    def of(cls, fields: Fields) -> Command:
        name, *arguments = fields
        return cls((_text(name.upper()), *map(_text, arguments)))

    @property
    def name(self) -> str:
        return str(self[0])

    def __str__(self) -> str:
        return " ".join(_shown(part) for part in self)


def _text(part: bytes) -> str | bytes:
    try:
        return part.decode()
    except UnicodeDecodeError:
        return part


def _shown(part: str | bytes, limit: int = 60) -> str:
    if isinstance(part, bytes):
        part = ascii(part)
    part = part if part.isprintable() and part else repr(part)
    return part if len(part) <= limit else f"{part[: limit - 1]}…"


class Fault:
    """What happens to a command instead of its answer. `seen` counts how often it happened."""

    def __init__(self, kind: FaultKind, command: str | None, error: str, times: int | None) -> None:
        self.kind = kind
        self.command = command.upper().encode() if command is not None else None
        self.error = error
        self.times = times
        self.seen = 0

    def __repr__(self) -> str:
        left = "always" if self.times is None else f"{self.times - self.seen} left"
        return f"<{self.kind} {self.command.decode() if self.command else 'every command'} ({left})>"

    def applies(self, name: bytes) -> bool:
        return (self.times is None or self.seen < self.times) and (self.command is None or self.command == name)


class Engine(Protocol):
    """What answers the commands. `guarded`: the test has set up users or a password, which count from then on."""

    name: str
    guarded: bool

    def advance(self, seconds: float) -> None: ...

    def close(self) -> None: ...


class Control:
    """The test's hand on one Redis server."""

    def __init__(self, engine: Engine, *, dated: bool = False) -> None:
        self.engine = engine
        self.dates: list[tuple[float, Fault | None]] | None = [] if dated else None  # of the log, with what went wrong
        self._log: list[Fields] = []
        self._commands: list[Command] = []  # of the log, made when they are asked for
        self.faults: list[Fault] = []
        self.is_down = False
        self.links: weakref.WeakSet[Link] = weakref.WeakSet()
        self.selected: set[bytes] = set()  # the numbers of the databases that clients have chosen, as they sent them
        self._latency = 0.0

    def advance(self, seconds: float) -> None:
        """Let the server's clock run ahead: what expires within these seconds is gone."""
        self.engine.advance(number_of_seconds("advance()", seconds))

    # -- outage

    def down(self) -> None:
        """The server goes away: open connections end, new ones are refused."""
        self.is_down = True
        for link in list(self.links):
            link.hang_up()

    def up(self) -> None:
        """The server is back, with the data that it had."""
        self.is_down = False

    # -- faults

    def fail(
        self, command: str | None = None, error: Any = "ERR injected by the test", times: int | None = None
    ) -> Fault:
        """Answer `command` (every one, if None) with an error, the next `times` times or always.

        `error` is what a server sends, "LOADING Redis is loading the dataset in memory" or just "LOADING".
        """
        if not isinstance(error, str) or not error.strip():
            raise TypeError(
                f"error must be a text that a server sends, such as 'LOADING' or 'READONLY ...', not {error!r}."
                " The client makes its exception of it; down(), drop() and hang() make the others"
            )
        return self._add("fail", command, _SENT.get(error, " ".join(error.split())), times)

    def hang(self, command: str | None = None, times: int | None = None) -> Fault:
        """Never answer `command`: the client's own `socket_timeout` ends the wait."""
        return self._add("hang", command, "", times)

    def drop(self, command: str | None = None, times: int | None = None) -> Fault:
        """Close the connection that sends `command`, without an answer."""
        return self._add("drop", command, "", times)

    def heal(self) -> None:
        """Forget every fault and the latency, and come up."""
        self.faults.clear()
        self._latency = 0.0
        self.up()

    def _add(self, kind: FaultKind, command: str | None, error: str, times: int | None) -> Fault:
        if command is not None:
            _check_command(kind, command)
        if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
            raise ValueError(f"times must be 1 or more, or None for always, not {times!r}")
        fault = Fault(kind, command, error, times)
        self.faults.append(fault)
        return fault

    @property
    def latency(self) -> float:
        """Seconds that the server takes for what a client sends at once (a command, or a whole pipeline)."""
        return self._latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self._latency = number_of_seconds("latency", seconds)

    # -- what was asked

    @property
    def commands(self) -> list[Command]:
        """Every command that was sent, but for the handshakes of connections."""
        self._commands += [Command.of(fields) for fields in self._log[len(self._commands) :]]
        return list(self._commands)

    def admit(self, fields: Fields) -> Fault | None:
        """Log a command; returns the fault that meets it. The newest fault wins."""
        self._log.append(fields)
        fault = self.fault_for(fields[0].upper()) if self.faults else None
        if self.dates is not None:
            self.dates.append((now(), fault))
        return fault

    def fault_for(self, name: bytes) -> Fault | None:
        for fault in reversed(self.faults):
            if fault.applies(name):
                fault.seen += 1
                return fault
        return None

    @contextlib.contextmanager
    def assert_commands(self, count: int, *names: str) -> Iterator[list[Command]]:
        """Fail unless exactly `count` commands (of these names, if any are given) are sent inside the block."""
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise TypeError(f"assert_commands() takes the number of commands first, then their names, not {count!r}")
        start = len(self.commands)
        sent: list[Command] = []
        yield sent
        wanted = {name.upper() for name in names}
        sent += [command for command in self.commands[start:] if not wanted or command.name in wanted]
        if len(sent) != count:
            what = " or ".join(sorted(wanted)) or "Redis"
            raise AssertionError(
                f"expected {count} {what} command{'s' * (count != 1)}, {len(sent)} were sent"
                + "".join(f"\n  {command}" for command in sent)
            )


def _check_command(kind: FaultKind, command: Any) -> None:
    if not isinstance(command, str) or len(command.split()) != 1:
        raise ValueError(
            f"{kind}() takes the name of one command, such as 'GET', or None for every one, not {command!r}"
        )
    if command.upper().encode() in HANDSHAKE:
        raise ValueError(
            f"{kind}({command!r}): {command.upper()} is what clients say when they connect, which has no faults."
            " For a connection that fails write 'CONNECT'"
        )


# The texts of real servers, for who writes only the code.
_SENT = {
    "LOADING": "LOADING Redis is loading the dataset in memory",
    "READONLY": "READONLY You can't write against a read only replica.",
    "OOM": "OOM command not allowed when used memory > 'maxmemory'.",
    "BUSY": "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "NOAUTH": "NOAUTH Authentication required.",
    "NOPERM": "NOPERM this user has no permissions to run this command",
    "WRONGTYPE": "WRONGTYPE Operation against a key holding the wrong kind of value",
    "MASTERDOWN": "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "TRYAGAIN": "TRYAGAIN Multiple keys request during rehashing of slot",
    "CLUSTERDOWN": "CLUSTERDOWN The cluster is down",
    "MISCONF": "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    "NOSCRIPT": "NOSCRIPT No matching script.",
    "EXECABORT": "EXECABORT Transaction discarded because of previous errors.",
    "MAXCLIENTS": "ERR max number of clients reached",
}
