"""One client connection on the server's side: its bytes become commands, the control has its say, the engine answers.

Commands of one connection are answered in order. A `Session` is what the engine keeps for the connection; while it
is `busy` (a blocking pop that waits) the commands behind it wait too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from pytest_asyncapi.cache.control import HANDSHAKE, Control
from pytest_asyncapi.cache.resp import Fields, request_reader


class Session(Protocol):
    """The engine's part of a connection."""

    @property
    def busy(self) -> bool: ...

    def execute(self, fields: Fields) -> None:
        """Answer a command, now or later."""

    def refuse(self, fields: Fields, error: str) -> None:
        """Answer it with this error, in its turn."""

    def close(self) -> None: ...


def without_credentials(fields: Fields) -> Fields:
    """An app has the password of its own server, and the test's has none: any is accepted, until the test sets up
    users or a password itself."""
    if fields[0].upper() == b"AUTH":
        return [b"CLIENT", b"REPLY", b"ON"]  # answers OK, and changes nothing
    upper = [field.upper() for field in fields]
    if b"AUTH" in upper:
        at = upper.index(b"AUTH")
        return fields[:at] + fields[at + 3 :]
    return fields


class Link:
    """`session` answers; `hang_up` ends the connection; `later(seconds, callback)` is the timer of its world."""

    def __init__(
        self,
        control: Control,
        session: Session,
        hang_up: Callable[[], None],
        later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self.control = control
        self.session = session
        self.hang_up = hang_up
        self._later = later
        self._reader = request_reader()
        self._waiting: deque[Fields] = deque()
        self._on_their_way: deque[list[Fields]] = deque()  # because of the latency
        self._running = False
        self._stalled = False

    def feed(self, data: bytes) -> None:
        """What the client wrote."""
        batch = self._reader.feed(data)
        if self.control.latency and any(fields and fields[0].upper() not in HANDSHAKE for fields in batch):
            self._on_their_way.append(batch)
            self._later(self.control.latency, self._arrive)
        elif self._on_their_way:
            self._on_their_way[-1].extend(batch)
        else:
            self._waiting.extend(batch)
            self.run()

    def _arrive(self) -> None:
        """The first of them is there: those behind it come later, also where the latency has become less meanwhile."""
        self._waiting.extend(self._on_their_way.popleft())
        self.run()

    def run(self) -> None:
        """Give the session what waits; it calls this again when it is no longer busy."""
        if self._running:  # called by the session, from inside execute()
            return
        self._running = True
        try:
            while self._waiting and not self._stalled and not self.session.busy:
                self._take(self._waiting.popleft())
        finally:
            self._running = False

    def _take(self, fields: Fields) -> None:
        if not fields:
            return
        name = fields[0].upper()
        if name == b"SELECT":
            self.control.selected.update(fields[1:2])
        elif name in (b"ACL", b"CONFIG"):
            self.control.engine.guarded = True
        elif name in (b"AUTH", b"HELLO") and not self.control.engine.guarded:
            fields = without_credentials(fields)
        fault = None if name in HANDSHAKE else self.control.admit(fields)
        if fault is None:
            self.session.execute(fields)
        elif fault.kind == "fail":
            self.session.refuse(fields, fault.error)
        elif fault.kind == "hang":
            self._stalled = True
        else:
            self._waiting.clear()
            self._stalled = True
            self.hang_up()

    def close(self) -> None:
        """The client is gone."""
        self._waiting.clear()
        self._stalled = True
        self.session.close()
