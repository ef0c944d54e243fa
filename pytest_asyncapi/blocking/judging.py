"""From the evidence of a slice, or of a named call, to a `Block`: whose line, what kind, which remedy."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

from pytest_asyncapi.asgi import current_scope
from pytest_asyncapi.blocking import attribution
from pytest_asyncapi.blocking.attribution import Entry, Place
from pytest_asyncapi.blocking.calls import Call
from pytest_asyncapi.blocking.charging import Charge, Look, Point, Rules, charge
from pytest_asyncapi.blocking.model import Block, Frame, Stretch
from pytest_asyncapi.blocking.owners import owner
from pytest_asyncapi.blocking.remedies import remedy
from pytest_asyncapi.blocking.watchdog import Stack


@dataclass(slots=True)
class Slice:
    """One late slice: what ran, when, and what the watchdog saw."""

    handle: Any
    start: int
    end: Point
    base: Point
    taken: list[tuple[Look, Stack, Any]]  # (counters, stack, ASGI scope)
    collections: list[int]  # CPU nanoseconds of each long one
    collected: int  # how many there were, of any length
    scope: Any  # of the last request that began in it
    thread: str
    rules: Rules
    places: list[Place] = dataclasses.field(default_factory=list)

    def charge(self) -> Charge:
        looks: list[Look] = []
        for number, (look, stack, scope) in enumerate(self.taken):
            place = attribution.locate(stack, scope)
            earlier = self._earlier(number) if look.late > 3 * self.rules.switch_interval else None
            if earlier is not None:
                (_, stack, scope), place = earlier
                self.taken[number] = (look, stack, scope)
            elif look.late > 3 * self.rules.switch_interval:
                stack = attribution.before_unchecked(stack, place)
                self.taken[number], place = (look, stack, scope), attribution.locate(stack, scope)
            changes: dict[str, Any] = {"importing": place.importing or bool(place.dropped), "harmless": place.harmless}
            if not look.complete:  # the slice ended between the stack and the counters of its last look
                end = self.end
                changes |= {"time": end.time, "cpu": end.cpu, "queued": end.queued, "switches": end.switches}
                changes["watch_switches"] = look.watch_switches or end.watch_switches
            looks.append(dataclasses.replace(look, **changes))
            self.places.append(place)
        verdict = charge(
            self.base,
            self.start,
            looks,
            self.end,
            self.rules,
            collections=self.collections,
            collected=self.collected,
        )
        verdict.cpu = int(verdict.cpu / _tracing())
        return verdict

    def _earlier(self, number: int) -> tuple[tuple[Look, Stack, Any], Place] | None:
        """The look before, where C code that was seen then is all that can have kept the GIL since."""
        if not number or self.places[number - 1].index is None:
            return None
        before, place = self.taken[number - 1], self.places[number - 1]
        return (before, place) if attribution.hands_over_late(before[1][place.index or 0]) else None


def of_named_call(call: Call, stack: Stack, scope: Any, wall: int, cpu: int) -> Block | None:
    """The block of a named call; None where it is nobody's."""
    place = attribution.locate(stack, scope)
    if place.dropped or place.importing or place.harmless or attribution.is_loop(stack[0][0]):
        return None
    if place.index is None and (scope is None or place.region in ("test", "lifespan")):
        return None  # a library's own, on a loop of its own
    site = _site(stack, place, scope)
    return Block(
        kind="waiting",
        site=site,
        call=call.name,
        named=True,
        remedy=remedy("waiting", call.name, site.function),
        wall_ms=wall / 1e6,
        cpu_ms=cpu / 1e6,
        charged_ms=wall / 1e6,
        limit_ms=0.0,
        region=place.region,
        framework=place.framework,
        task=_task_name(),
        chain=_frames(place.chain),
        stack=_frames(list(reversed(stack))),
        started=time.time() - wall / 1e9,
        thread=threading.current_thread().name,
    )


def of_slice(late: Slice, verdict: Charge, told: set[tuple[str, int]]) -> tuple[Block, Any] | None:
    """The block of a slice and its request; None where it is nobody's. `told` are the lines of its named calls."""
    weights: dict[Any, list[int]] = {}  # by function: CPU and waiting
    lines: dict[Any, list[int]] = {}  # by function and line: the weight, and the number of the heaviest look
    nothing_else = False
    for number, ((_, stack, scope), place) in enumerate(zip(late.taken, late.places, strict=True)):
        if place.dropped or place.importing or not stack:
            continue
        entry = stack[place.index] if place.index is not None else None
        if entry is None and scope is None:
            continue
        if entry is not None and (entry[0].co_filename, entry[1]) in told:
            nothing_else = True
            continue
        function = entry[0] if entry is not None else id(scope)
        cpu, waiting = verdict.shares[number]
        weight = weights.setdefault(function, [0, 0])
        weight[0] += cpu
        weight[1] += waiting
        line = lines.setdefault((function, entry[1] if entry is not None else 0), [0, number])
        line[0] += cpu + waiting + 1
        if cpu + waiting > sum(verdict.shares[line[1]]):
            line[1] = number
    if not weights:
        if nothing_else or (late.taken and all(place.dropped or place.importing for place in late.places)):
            return None
        return _unseen(late, verdict)
    best = max(weights, key=lambda function: sum(weights[function]))
    number = max((key for key in lines if key[0] == best), key=lambda key: lines[key][0])
    _, stack, scope = late.taken[lines[number][1]]
    place = late.places[lines[number][1]]
    cpu, waiting = weights[best]
    kind = ("waiting" if waiting > cpu else "computing") if cpu or waiting else verdict.kind
    call = _main_call(late, verdict, best) if place.index is not None else _library_call(stack)
    leaf = f"{attribution.module_of(stack[place.begun][0])}.{stack[place.begun][0].co_qualname}"
    site = _site(stack, place, scope)
    work, coroutine = "", False
    if place.index is not None:
        coroutine = attribution.in_coroutine(stack, place.index)
        work = attribution.in_thread(stack, place.index) if call or not coroutine else ""
    block = _block(late, verdict, kind, site, call, remedy(kind, call, site.function, leaf, work, coroutine))
    block.region = place.region
    block.framework = place.framework
    block.chain = _frames(place.chain)
    block.stack = _frames(list(reversed(stack)))
    block.stretches = _stretches(late)
    return block, scope


def _main_call(late: Slice, verdict: Charge, function: Any) -> str:
    """The call that took more than half of the function's time; empty where the function itself did, call by call."""
    calls: dict[str, int] = {}
    known: dict[Any, str] = {}
    for number, ((_, stack, _scope), place) in enumerate(zip(late.taken, late.places, strict=True)):
        if place.index is None or place.dropped or place.importing or stack[place.index][0] is not function:
            continue
        key = (stack[place.index], stack[place.begun][0])
        if key not in known:
            known[key] = attribution.called(stack[place.begun :], place.index - place.begun)
        calls[known[key]] = calls.get(known[key], 0) + sum(verdict.shares[number]) + 1
    name = max(calls, key=lambda each: calls[each], default="")
    return name if calls and calls[name] * 2 > sum(calls.values()) else ""


def _unseen(late: Slice, verdict: Charge) -> tuple[Block, Any] | None:
    """No look at the user's code: name where the task stands, between the last await and this one."""
    context = getattr(late.handle, "_context", None)
    scope = late.scope if late.scope is not None else context.get(current_scope) if context is not None else None
    site = _handle_frame(late.handle)
    if verdict.kind == "waiting" and _in_handshake(late.handle):
        return None
    if site is None or owner(site.file) in ("foreign", "ours"):
        return None
    framework = False
    # A request's task is the harness's; what holds it unseen is the app, in C code that keeps the GIL.
    if owner(site.file) != "user":
        defined = attribution.endpoint(scope)
        if defined is None:
            return None
        site, framework = defined, True
    block = _block(late, verdict, verdict.kind, site, "", remedy(verdict.kind, "", site.function))
    if scope is not None:
        block.region = "lifespan" if scope.get("type") == "lifespan" else "request"
    block.framework = framework
    block.chain = block.stack = (site,)
    return block, scope


def _block(late: Slice, verdict: Charge, kind: str, site: Frame, call: str, instead: str) -> Block:
    return Block(
        kind="waiting" if kind == "waiting" else "computing",
        site=site,
        call=call,
        named=False,
        remedy=instead,
        wall_ms=verdict.wall / 1e6,
        cpu_ms=verdict.cpu / 1e6,
        charged_ms=verdict.total / 1e6,
        limit_ms=0.0,
        region="test",
        task=_handle_name(late.handle),
        started=time.time() - verdict.wall / 1e9,
        thread=late.thread,
    )


def frames(stack: Stack) -> tuple[Frame, ...]:
    """A stack as reports show it: outermost first, without our own frames."""
    return _frames(list(reversed(stack)))


# ---- small helpers


def _site(stack: Stack, place: Place, scope: Any) -> Frame:
    if place.index is not None:
        return attribution.frame_of(stack[place.index])
    defined = attribution.endpoint(scope)
    if defined is not None:
        return defined
    for entry in stack:
        if owner(entry[0].co_filename) in ("library", "standard"):
            return attribution.frame_of(entry)
    return attribution.frame_of(stack[0]) if stack else Frame("<unknown>", 0, "?")


def _frames(entries: list[Entry]) -> tuple[Frame, ...]:
    return tuple(attribution.frame_of(entry) for entry in entries if owner(entry[0].co_filename) != "ours")


def _stretches(late: Slice) -> tuple[Stretch, ...]:
    found: list[Stretch] = []
    before, end = late.start, late.end.time
    for number, (look, stack, _scope) in enumerate(late.taken):
        until = end if number == len(late.taken) - 1 else min(end, look.time)
        took = max(0.0, (until - before) / 1e6)
        shown = frames(stack)
        if found and found[-1].stack == shown:
            last = found.pop()
            found.append(Stretch(last.start_ms, last.milliseconds + took, shown))
        else:
            found.append(Stretch((before - late.start) / 1e6, took, shown))
        before = until
    return tuple(found[:100])


def _library_call(stack: Stack) -> str:
    for entry in stack:
        if owner(entry[0].co_filename) == "library":
            return f"{attribution.module_of(entry[0])}.{entry[0].co_qualname}"
    return ""


def _task_name() -> str | None:
    with contextlib.suppress(RuntimeError):
        task = asyncio.current_task()
        return task.get_name() if task is not None else None
    return None


def _handle_task(handle: Any) -> Any:
    task = getattr(getattr(handle, "_callback", None), "__self__", None)
    return task if hasattr(task, "get_coro") else None


def _in_handshake(handle: Any) -> bool:
    """Whether its task waits now for a process or a thread that it has just started: uvloop forks with the GIL."""
    coroutine = getattr(_handle_task(handle), "get_coro", lambda: None)()
    while coroutine is not None:
        code = getattr(coroutine, "cr_code", None)
        if code is not None and attribution.is_handshake(code):
            return True
        coroutine = getattr(coroutine, "cr_await", None)
    return False


def _handle_name(handle: Any) -> str | None:
    task = _handle_task(handle)
    return task.get_name() if task is not None and hasattr(task, "get_name") else None


def _handle_frame(handle: Any) -> Frame | None:
    task = _handle_task(handle)
    if task is not None:
        coroutine = task.get_coro()
        innermost = None
        while coroutine is not None:
            frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "ag_frame", None)
            code = getattr(coroutine, "cr_code", None)
            if frame is not None and (innermost is None or owner(frame.f_code.co_filename) == "user"):
                innermost = Frame(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname)
            elif code is not None and innermost is None:
                innermost = attribution.frame_of((code, code.co_firstlineno, -1))
            coroutine = getattr(coroutine, "cr_await", None)
        return innermost
    callback: Any = getattr(handle, "_callback", None)
    while hasattr(callback, "func"):  # functools.partial
        callback = callback.func
    code = getattr(callback, "__code__", None)
    if code is None:
        return None
    return attribution.frame_of((code, code.co_firstlineno, -1))


def _tracing() -> float:
    """How much slower a tracer makes Python code: its time is not the user's."""
    tracer = sys.gettrace()
    if tracer is not None:
        return 3.0 if type(tracer).__name__ == "CTracer" else 20.0
    if sys.getprofile() is not None:
        return 3.0
    loop = asyncio._get_running_loop()
    return 2.0 if loop is not None and loop.get_debug() else 1.0
