"""What the rooms share to get under a library: the in-memory byte pipe, with a client's own protocol at one end and a
server of ours at the other, patches that also reach what is imported later, and which hosts are this machine."""

from typing import TYPE_CHECKING

from pytest_asyncapi.lazy import exports

if TYPE_CHECKING:
    from pytest_asyncapi.wire.pipe import MemoryTransport as MemoryTransport
    from pytest_asyncapi.wire.pipe import connect as connect
    from pytest_asyncapi.wire.pipe import open_streams as open_streams

__getattr__, __dir__, __all__ = exports(
    __name__, {"MemoryTransport": ".pipe", "connect": ".pipe", "open_streams": ".pipe"}
)
