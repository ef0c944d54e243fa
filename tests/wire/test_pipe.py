"""The pipe promises what a socket promises: order, ends, back-pressure, and no byte inside the write that sent it."""

from __future__ import annotations

import asyncio

import pytest

from pytest_asyncapi.wire.pipe import HIGH_WATER, connect, open_streams


class Recorder(asyncio.Protocol):
    """Notes what happens to it."""

    def __init__(self, *, half_open: bool = False) -> None:
        self.events: list[object] = []
        self.half_open = half_open
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.events.append(data)

    def eof_received(self) -> bool:
        self.events.append("eof")
        return self.half_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append(("lost", type(exc).__name__))

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")


async def turns(n: int = 4) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


async def test_bytes_arrive_after_the_write_that_sent_them_and_in_order():
    client, server = Recorder(), Recorder()
    connect(asyncio.get_running_loop(), client, server)

    client.transport.write(b"a")
    client.transport.writelines([b"b", b"c"])

    assert server.events == []
    await turns(1)
    assert server.events == [b"abc"]


async def test_close_is_read_as_the_end_after_the_last_byte():
    client, server = Recorder(), Recorder()
    connect(asyncio.get_running_loop(), client, server)

    server.transport.write(b"last")
    server.transport.close()
    await turns()

    assert client.events == [b"last", "eof", ("lost", "NoneType")]
    assert server.events == [("lost", "NoneType")]


async def test_what_is_written_after_the_end_is_dropped():
    client, server = Recorder(), Recorder()
    connect(asyncio.get_running_loop(), client, server)

    server.transport.write(b"last")
    server.transport.close()
    server.transport.write(b"too late")
    await turns()

    assert client.events == [b"last", "eof", ("lost", "NoneType")]
    assert server.events == [("lost", "NoneType")]


async def test_a_reset_overtakes_what_is_unread():
    client, server = Recorder(), Recorder()
    connect(asyncio.get_running_loop(), client, server)

    server.transport.write(b"never read")
    server.transport.reset()
    await turns()

    assert client.events == [("lost", "ConnectionResetError")]
    assert client.transport.is_closing()


async def test_half_a_connection_may_stay_open():
    client, server = Recorder(half_open=True), Recorder()
    connect(asyncio.get_running_loop(), client, server)

    server.transport.write_eof()
    await turns()
    client.transport.write(b"still here")
    await turns()

    assert client.events == ["eof"]
    assert server.events == [b"still here"]


async def test_a_write_to_a_closed_peer_breaks_the_pipe():
    client, server = Recorder(half_open=True), Recorder()
    connect(asyncio.get_running_loop(), client, server)
    server.transport.close()
    await turns()

    client.transport.write(b"x")
    await turns()

    assert client.events == ["eof", ("lost", "BrokenPipeError")]


async def test_a_reader_that_pauses_makes_the_writer_pause():
    client, server = Recorder(), Recorder()
    connect(asyncio.get_running_loop(), client, server)

    client.transport.pause_reading()
    server.transport.write(b"x" * (HIGH_WATER + 1))
    await turns()
    assert (client.events, server.events) == ([], ["pause"])

    client.transport.resume_reading()
    await turns()
    assert [len(client.events[0]), server.events] == [HIGH_WATER + 1, ["pause", "resume"]]


async def test_much_arrives_in_parts_as_from_a_socket():
    client, server = Recorder(), Recorder()
    connect(asyncio.get_running_loop(), client, server)

    server.transport.write(b"x" * 600_000)
    server.transport.close()
    await turns(8)

    assert [len(each) for each in client.events[:-2]] == [262_144, 262_144, 75_712]
    assert client.events[-2:] == ["eof", ("lost", "NoneType")]


async def test_streams_speak_to_the_server():
    class Echo(Recorder):
        def data_received(self, data: bytes) -> None:
            self.transport.write(data.upper())

    reader, writer = open_streams(asyncio.get_running_loop(), Echo(), peername=("192.0.2.9", 6379))

    writer.write(b"ping\n")
    await writer.drain()

    assert await reader.readline() == b"PING\n"
    assert writer.get_extra_info("peername") == ("192.0.2.9", 6379)
    writer.close()
    await writer.wait_closed()


async def test_a_write_after_write_eof_is_an_error():
    client, server = Recorder(), Recorder()
    connect(asyncio.get_running_loop(), client, server)
    client.transport.write_eof()

    with pytest.raises(RuntimeError, match=r"cannot write after write_eof\(\)"):
        client.transport.write(b"x")


def test_a_pipe_whose_loop_is_closed_can_still_be_closed():
    loop = asyncio.new_event_loop()
    transport = connect(loop, Recorder(), Recorder())
    loop.close()

    transport.close()

    assert transport.is_closing()
