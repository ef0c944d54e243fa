"""A request that has found its route: the call to fill in, and the effect to carry out."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from pytest_asyncapi.errors import ours
from pytest_asyncapi.timeline import now
from pytest_asyncapi.upstream.effects import Callback, answer_now, answer_of
from pytest_asyncapi.upstream.fault import Fault
from pytest_asyncapi.upstream.replies import Answer, Effect, Reply, to_reply

if TYPE_CHECKING:
    from pytest_asyncapi.upstream.request import Request
    from pytest_asyncapi.upstream.router import Upstream
    from pytest_asyncapi.upstream.routes import Call

__tracebackhide__ = ours


class Plan:
    """What becomes of one request. `upstream.plan(request)` makes it."""

    __slots__ = ("call", "effect", "request", "upstream", "used")

    def __init__(self, upstream: Upstream, request: Request, call: Call, effect: Effect) -> None:
        self.upstream = upstream
        self.request = request
        self.call = call
        self.effect = effect
        self.used = False

    def use(self) -> Plan:
        """This plan the first time; when the client sends the request again, the plan of the next call."""
        plan = self.upstream.plan(self.request) if self.used else self
        plan.used = True
        return plan

    @property
    def waits(self) -> bool:
        """It takes a connection to carry it out: the callable is async, or speaks websocket."""
        return isinstance(self.effect, Callback) and self.effect.is_async

    @property
    def takes_websocket(self) -> bool:
        """The answer is a conversation over a websocket."""
        return isinstance(self.effect, Callback) and self.effect.speaks_websocket and self.request.is_websocket

    @property
    def connect_fault(self) -> Fault | None:
        """The fault that keeps the client from connecting."""
        return self.effect if isinstance(self.effect, Fault) and self.effect.while_connecting else None

    @property
    def send_fault(self) -> Fault | None:
        """The fault that keeps the client from sending the body."""
        return self.effect if isinstance(self.effect, Fault) and self.effect.while_sending else None

    def answer_now(self) -> Answer:
        """The answer, without awaiting anything. What a callable raises is an answer too: it is raised into the
        client."""
        try:
            return self.settle(answer_now(self.effect, self.request, self.call.route))
        except Exception as exc:
            return self.settle(to_reply(exc))

    async def answer(self) -> Answer:
        """The answer of any effect."""
        try:
            return self.settle(await answer_of(self.effect, self.request))
        except Exception as exc:
            return self.settle(to_reply(exc))

    def settle(self, answer: Answer) -> Answer:
        """Note the answer in the call."""
        self.call.ended = now()
        if not isinstance(answer, Reply):
            self.call.error = answer
        else:
            self.call.error = answer.fault
            if answer.fault is None or answer.fault.kind == "truncate":  # else no byte of it is seen
                self.call.reply = answer
        self.effect = answer
        return answer


planned: ContextVar[Plan | None] = ContextVar("asyncapi_upstream_plan", default=None)
"""The plan that an httpcore pool made for the request that it now sends, for the wire below it."""
