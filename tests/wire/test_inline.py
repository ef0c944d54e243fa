"""The client's end of a pipe whose other end is a function: what the client writes is handled at once, what comes back
is read in a later turn of the loop, and not while the client has paused."""

from __future__ import annotations

import asyncio
import sys
import threading

from pytest_asyncapi.wire.inline import InlineTransport
from tests.wire.test_pipe import Recorder, turns


def connected() -> tuple[Recorder, InlineTransport, list[object]]:
    client, seen = Recorder(), []
    transport = InlineTransport(asyncio.get_running_loop(), client, seen.append, lambda: seen.append("closed"))
    return client, transport, seen


async def test_bytes_are_taken_at_once_and_answered_in_a_later_turn():
    client, transport, seen = connected()

    transport.write(b"PING")
    transport.send(b"PO")
    transport.send(b"NG")

    assert (seen, client.events) == ([b"PING"], [])
    await turns(1)
    assert client.events == [b"PONG"]


async def test_what_came_while_the_client_did_not_read_is_read_when_it_does():
    client, transport, _ = connected()

    transport.pause_reading()
    transport.send(b"a")
    await turns()
    assert client.events == []
    transport.resume_reading()
    await turns(1)
    assert client.events == [b"a"]


async def test_the_end_that_came_while_the_client_did_not_read():
    client, transport, seen = connected()

    transport.pause_reading()
    transport.finish()
    transport.resume_reading()
    await turns()

    assert (client.events, seen) == (["eof", ("lost", "NoneType")], ["closed"])


async def test_a_write_after_the_servers_end_is_a_broken_pipe():
    client, transport, seen = connected()

    transport.pause_reading()
    transport.finish()
    transport.write(b"a")
    await turns()

    assert (client.events, seen) == ([("lost", "BrokenPipeError")], ["closed"])


async def test_nothing_is_lost_of_what_other_threads_send(monkeypatch):
    client, transport, _ = connected()
    monkeypatch.setattr(client, "data_received", client.events.extend)  # byte by byte
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=lambda: [transport.send(b"x") for _ in range(20_000)]) for _ in range(2)]
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            await asyncio.sleep(0)
    finally:
        sys.setswitchinterval(before)
    await turns()

    assert len(client.events) == 40_000
