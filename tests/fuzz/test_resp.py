"""The Redis protocol: commands out of bytes in any pieces, by our reader and by hiredis', and replies."""

from hypothesis import given
from hypothesis import strategies as st

from pytest_asyncapi.cache.resp import RequestReader, encode, encode_command, request_reader
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


@given(VALUES, st.sampled_from([2, 3]))
def test_a_reply_is_read_as_it_was_meant(value, protocol):
    import hiredis

    reader = hiredis.Reader()
    reader.feed(encode(value, protocol))

    assert reader.gets() == value
    assert reader.gets() is False
