"""The ways in which a network fails, named once; each client raises its own exception for them."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_asyncapi.errors import UpstreamError

CONNECT_PHASE = frozenset({"refused", "dns", "tls", "connect_timeout"})


@dataclass(frozen=True)
class Fault:
    """A failure of the network in place of a reply. Take one from :class:`faults`."""

    kind: str
    after: int = 0

    @property
    def while_connecting(self) -> bool:
        """It happens before a byte of the request is sent."""
        return self.kind in CONNECT_PHASE

    @property
    def while_sending(self) -> bool:
        """It happens before the body of the request has arrived."""
        return self.kind == "unread"

    def __repr__(self) -> str:
        return f"faults.truncate({self.after})" if self.kind == "truncate" else f"faults.{self.kind}"


class faults:
    """``upstream.get(url).reply(faults.reset, {"ok": True})``: first the fault, then an answer."""

    refused = Fault("refused")
    """Nothing listens there."""
    dns = Fault("dns")
    """The name does not resolve."""
    tls = Fault("tls")
    """The certificate is not valid."""
    connect_timeout = Fault("connect_timeout")
    """The client's limit for connecting is over; raised at once, without the waiting."""
    read_timeout = Fault("read_timeout")
    """The client's limit for reading is over; raised at once, without the waiting."""
    write_timeout = Fault("write_timeout")
    """The client's limit for writing is over; raised at once. (aiohttp has no such limit, and gets a time-out of
    reading.)"""
    unread = Fault("unread")
    """Accepted, and nothing read of the body: one that is larger than the buffers on the way (1 MB is) is never sent,
    and the client's own limit has to fire. (A smaller one is sent, and not answered.)"""
    hang = Fault("hang")
    """Accepted, and never answered: the client's own limit has to fire."""
    disconnect = Fault("disconnect")
    """Closed in good order before the first byte of an answer."""
    reset = Fault("reset")
    """Reset by the peer."""
    garbage = Fault("garbage")
    """An answer that is not HTTP."""

    @staticmethod
    def truncate(after: int) -> Fault:
        """The connection ends after so many bytes of the body; ``Reply(json=..., fault=faults.truncate(5))`` picks the
        body."""
        if not isinstance(after, int) or after < 0:
            raise UpstreamError(f"faults.truncate({after!r}): give a number of bytes, 0 or more.")
        return Fault("truncate", after)
