"""The Redis protocol: requests of a client into commands, values of the engine into RESP2 or RESP3."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pytest_asyncapi.errors import CacheError

Fields = list[bytes]


class RequestReader:
    """Takes the bytes that a client writes, in any pieces, and gives the commands that are whole."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Fields]:
        buffer = self._rest + data if self._rest else data
        commands: list[Fields] = []
        done = 0
        while (line_end := buffer.find(b"\r\n", done)) >= 0:
            if buffer[done] != 42:  # not "*": an inline command, as typed into telnet
                commands.append(buffer[done:line_end].split())
                done = line_end + 2
                continue
            fields: Fields = []
            at = line_end + 2
            for _ in range(_length(buffer, done, line_end, b"*")):
                line_end = buffer.find(b"\r\n", at)
                if line_end < 0:
                    break
                start = line_end + 2
                stop = start + _length(buffer, at, line_end, b"$")
                at = stop + 2
                if at > len(buffer):
                    line_end = -1
                    break
                fields.append(buffer[start:stop])
            if line_end < 0:  # the rest of this command is still to come
                break
            commands.append(fields)
            done = at
        self._rest = buffer[done:]
        return commands


def _length(buffer: bytes, at: int, end: int, kind: bytes) -> int:
    written = buffer[at + 1 : end]
    if buffer[at : at + 1] != kind or not written.isdigit():
        raise _broken(buffer[at:end])
    return int(written)


def _broken(written: object) -> CacheError:
    """A real server would answer "ERR Protocol error" and hang up, and the client would lose the reason."""
    return CacheError(
        f"the client wrote {str(written)[:80]} where the Redis protocol has a length, as *1 or $4, or an inline command"
    )


def request_reader() -> RequestReader:
    """The reader in C of hiredis, where the clients have it too, else ours."""
    try:
        from hiredis import ProtocolError, Reader
    except ImportError:
        return RequestReader()
    return HiredisRequestReader(Reader(), ProtocolError)


class HiredisRequestReader(RequestReader):
    """A request has the form of a reply, an array, so hiredis can read it."""

    def __init__(self, reader: Any, error: type[Exception]) -> None:
        super().__init__()
        self._reader = reader
        self._error = error

    def feed(self, data: bytes) -> list[Fields]:
        commands = []
        try:
            self._reader.feed(data)
            while (fields := self._reader.gets()) is not False:
                if type(fields) is not list or not all(type(field) is bytes for field in fields):
                    raise _broken(fields)
                commands.append(fields)
        except self._error as error:
            raise _broken(data) from error
        return commands


def encode_command(fields: Iterable[bytes]) -> bytes:
    parts = [b"$%d\r\n%s\r\n" % (len(field), field) for field in fields]
    return b"*%d\r\n%s" % (len(parts), b"".join(parts))


class Status:
    """A status reply: `+OK`."""

    def __init__(self, text: bytes) -> None:
        self.text = text


class ErrorReply:
    """An error reply: `-ERR no such key`."""

    def __init__(self, text: str) -> None:
        self.text = text


class Push(list[Any]):
    """A message that answers no command, of a channel that the client subscribed to."""


def encode(value: Any, protocol: int) -> bytes:
    """One reply."""
    kind = type(value)
    if kind is bytes:
        return b"$%d\r\n%s\r\n" % (len(value), value)
    if value is None:
        return b"_\r\n" if protocol == 3 else b"$-1\r\n"
    if kind is int:
        return b":%d\r\n" % value
    if kind is list or kind is tuple:
        return b"*%d\r\n%s" % (len(value), b"".join([encode(each, protocol) for each in value]))
    return _encode_other(value, protocol)


def _encode_other(value: Any, protocol: int) -> bytes:
    match value:
        case Status():
            return b"+%s\r\n" % value.text
        case ErrorReply():
            return b"-%s\r\n" % value.text.replace("\r", " ").replace("\n", " ").encode()
        case bool():
            if protocol == 3:
                return b"#t\r\n" if value else b"#f\r\n"
            return b":1\r\n" if value else b":0\r\n"
        case int():
            return b":%d\r\n" % value
        case float():
            return b",%s\r\n" % _number(value) if protocol == 3 else encode(_number(value), protocol)
        case str():
            return encode(value.encode(), protocol)
        case bytes():
            return encode(bytes(value), protocol)
        case dict():
            pairs = b"".join([encode(each, protocol) for pair in value.items() for each in pair])
            return (b"%%%d\r\n%s" % (len(value), pairs)) if protocol == 3 else (b"*%d\r\n%s" % (2 * len(value), pairs))
        case set() | frozenset():
            return (b"~" if protocol == 3 else b"*") + b"%d\r\n%s" % (len(value), _all(value, protocol))
        case Push():
            return (b">" if protocol == 3 else b"*") + b"%d\r\n%s" % (len(value), _all(value, protocol))
        case list() | tuple():
            return b"*%d\r\n%s" % (len(value), _all(value, protocol))
        case Exception():
            return encode(ErrorReply(f"ERR {value}"), protocol)
        case _:
            raise TypeError(f"no Redis reply can be made of {value!r}")


def _all(values: Iterable[Any], protocol: int) -> bytes:
    return b"".join([encode(each, protocol) for each in values])


def _number(value: float) -> bytes:
    return b"%.17g" % value
