"""The Redis protocol: commands out of bytes in any pieces, by our reader and by hiredis', and replies."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_asyncapi.cache import Sandbox
from pytest_asyncapi.cache.link import Link
from pytest_asyncapi.cache.resp import RequestReader, encode, encode_command, request_reader
from pytest_asyncapi.errors import CacheError
from tests.fuzz.test_http import pieces

COMMANDS = st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=6), min_size=1, max_size=6)
VALUES = st.recursive(
    st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=40)),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=20,
)


@given(COMMANDS, st.lists(st.integers(0, 2000), max_size=8))
def test_commands_are_the_same_in_any_pieces(commands, cuts):
    data = b"".join(map(encode_command, commands))
    for reader in (RequestReader(), request_reader()):
        found = []
        for piece in pieces(data, cuts):
            found += reader.feed(piece)

        assert found == commands


PARTS = st.sampled_from(
    [
        *(b"*1\r\n", b"*2\r\n", b"*0\r\n", b"*-1\r\n", b"*x\r\n", b"*1000\r\n", b"*", b"$"),
        *(b"$4\r\nPING\r\n", b"$3\r\n", b"$-1\r\n", b"$x\r\n", b"$1_0\r\n", b":5\r\n", b"+OK\r\n"),
        *(b"GET\r\n", b"PING\r\n", b"\r\n"),
    ]
)
BYTES = st.one_of(st.lists(PARTS, max_size=12).map(b"".join), st.binary(max_size=200))


@given(BYTES, st.lists(st.integers(0, 2000), max_size=8))
def test_what_is_no_command_is_refused_and_nothing_else_is_raised(data, cuts):
    for reader in (RequestReader(), request_reader()):
        try:
            for piece in pieces(data, cuts):
                for command in reader.feed(piece):
                    assert all(type(field) is bytes for field in command)
        except CacheError:
            pass


@given(BYTES)
def test_the_server_answers_or_refuses(data):
    """Behind the reader stand the control, the log of commands, the faults and the engine."""
    with Sandbox() as sandbox:
        session = sandbox.control.engine.session(threaded=True)
        sent = bytearray()
        session.send = sent.extend
        session.link = Link(sandbox.control, session, lambda: None, lambda seconds, call: call())
        with contextlib.suppress(CacheError):  # and nothing else
            session.link.feed(data)
        session.link.close()
        assert not sent or sent[:1] in b"+-:$*_%~,#(", sent


@pytest.mark.parametrize("reader", [RequestReader, request_reader])
@pytest.mark.parametrize("written", [b"*x\r\n", b"*1\r\n$x\r\n", b"*1\r\n:5\r\n"])
def test_a_length_that_is_none_is_told(reader, written):
    with pytest.raises(CacheError, match=r"the client wrote .* where the Redis protocol has a length, as \*1 or \$4"):
        reader().feed(written)


@given(VALUES, st.sampled_from([2, 3]))
def test_a_reply_is_read_as_it_was_meant(value, protocol):
    import hiredis

    reader = hiredis.Reader()
    reader.feed(encode(value, protocol))

    assert reader.gets() == value
    assert reader.gets() is False
