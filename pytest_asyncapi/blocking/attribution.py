"""Which line of a stack it is, what that line calls, and which request led there."""

from __future__ import annotations

import asyncio
import functools
import inspect
import opcode
import os
import re
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

from pytest_asyncapi.blocking.model import Frame, Region
from pytest_asyncapi.blocking.owners import owner

Entry = tuple[CodeType, int, int]  # code, line, instruction

_ASYNC = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE

# Hand-shakes with a thread or a process that starts: only a busy machine makes them long.
_HARMLESS = {
    ("threading.py", "start"),
    ("thread.py", "submit"),
    ("process.py", "submit"),
    ("base_subprocess.py", "__init__"),
    ("unix_events.py", "_start"),
    ("base_events.py", "subprocess_exec"),
    ("base_events.py", "subprocess_shell"),
    ("base_events.py", "run_in_executor"),
    ("subprocess.py", "create_subprocess_exec"),
    ("subprocess.py", "create_subprocess_shell"),
}
# Built once a process, like an imported module.
_ONCE = {
    ("_model_construction.py", "complete_model_class"),
    ("mapper.py", "_configure_registries"),
    ("utils.py", "get_openapi"),
}


def is_handshake(code: CodeType) -> bool:
    """Whether the function waits for a thread or a process that it starts."""
    name = (os.path.basename(code.co_filename), code.co_name)
    return name in _HARMLESS and owner(code.co_filename) in ("standard", "library")


_boundaries: dict[CodeType, bool] = {}


def is_boundary(code: CodeType) -> bool:
    """Whether the function has the signature of an ASGI app: its frame is where the app begins."""
    found = _boundaries.get(code)
    if found is None:
        names = code.co_varnames[: code.co_argcount]
        found = names[-3:] == ("scope", "receive", "send") and bool(code.co_flags & _ASYNC)
        _boundaries[code] = found
    return found


def scope_of(frame: FrameType | None) -> Any:
    """The ASGI scope that a stack has in its outermost app, for callers that do not tell it."""
    found = None
    while frame is not None:
        if is_boundary(frame.f_code):
            found = frame
        frame = frame.f_back
    scope = None if found is None else found.f_locals.get("scope")
    return scope if isinstance(scope, MutableMapping) else None


@dataclass(slots=True)
class Place:
    """Where a stack is, as the report tells it."""

    region: Region = "test"
    index: int | None = None  # of the user's frame in the stack
    dropped: str = ""  # why it is nobody's block: "harness", "foreign"
    importing: bool = False
    harmless: bool = False
    begun: int = 0  # how many of the innermost frames had only begun: C code called them, and what it did is meant
    framework: bool = False  # inside the app, but no frame of the user is
    chain: list[Entry] = field(default_factory=list)


def locate(stack: Sequence[Entry], scope: Mapping[str, Any] | None) -> Place:
    """Find the user's line in a stack (innermost first) of one slice.

    The innermost frame of the user's code counts. A frame of the harness, of pytest or of a debugger that comes first
    means that the time is theirs.
    """
    place = Place()
    boundary: int | None = None
    for index, (code, _line, _instruction) in enumerate(stack):
        if is_boundary(code):
            boundary = index
    inside = stack if boundary is None else stack[: boundary + 1]
    for index, (code, _line, _instruction) in enumerate(inside):
        whose = owner(code.co_filename)
        name = (os.path.basename(code.co_filename), code.co_name)
        if whose == "importing" or (whose == "library" and name in _ONCE):
            place.importing = True
        if place.index is None and is_handshake(code):
            place.harmless = True
        if place.index is None:
            if index == 0 and whose == "user" and _called_by_c(inside):
                place.begun = 1
                continue
            if whose in ("harness", "foreign"):
                place.dropped = whose
                break
            if whose == "user":
                place.index = index
        elif whose in ("harness", "foreign"):
            boundary = None  # the harness called back into the test
            scope = None
            break
    if boundary is None and any(owner(each[0].co_filename) == "ours" for each in stack):
        scope = None  # a client of the test's, before or after the app
    kind = scope.get("type") if scope is not None else None
    if kind == "lifespan":
        place.region = "lifespan"
    elif boundary is not None:
        place.region = "request"
        place.framework = place.index is None
    elif scope is not None:
        place.region = "task"
    place.chain = [each for each in reversed(stack) if each[0].co_flags & _ASYNC and _shown(each[0])]
    return place


def _shown(code: CodeType) -> bool:
    return owner(code.co_filename) in ("user", "library", "standard")


_NAMELESS = re.compile(r"((\.<locals>)?\.<(genexpr|listcomp|dictcomp|setcomp|lambda)>)+$")


def frame_of(entry: Entry) -> Frame:
    code, line, _ = entry
    line = line or code.co_firstlineno
    if line == code.co_firstlineno:
        # The interpreter hands over where a function begins, at its `def`; what it does begins in its body.
        line = next((each for _, _, each in code.co_lines() if each is not None and each > line), line)
    return Frame(code.co_filename, line, _NAMELESS.sub("", code.co_qualname))


def label(scope: Mapping[str, Any] | None) -> str | None:
    """The request as a router knows it: `GET /users/{id}`. To be asked late: routers fill the scope in as they go."""
    if scope is None or scope.get("type") not in ("http", "websocket"):
        return None
    path = scope.get("path", "")
    route = getattr(scope.get("route"), "path", None)
    if isinstance(route, str):
        root = scope.get("root_path", "")
        path = root + route if not route.startswith(root) or not root else route
    method = scope.get("method", "GET") if scope["type"] == "http" else "WS"
    return f"{method} {path}"


def endpoint(scope: Mapping[str, Any] | None) -> Frame | None:
    """The line where the endpoint of a request is defined."""
    if scope is None:
        return None
    function = scope.get("endpoint")
    function = inspect.unwrap(function) if callable(function) else None
    code = getattr(function, "__code__", None)
    if code is None:
        code = getattr(vars(type(function)).get("__call__"), "__code__", None)
    if not isinstance(code, CodeType):
        return None
    return Frame(code.co_filename, code.co_firstlineno, code.co_qualname)


def callee(entry: Entry) -> str:
    """What the instruction calls, as the source spells it: `hashlib.pbkdf2_hmac`. Empty where it calls nothing."""
    import ast

    node = _expression(entry)
    while isinstance(node, ast.Await):
        node = node.value
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        return name if len(name) < 60 else name[:57] + "..."
    if isinstance(node, ast.BinOp):
        return ast.unparse(node) if len(ast.unparse(node)) < 40 else ""
    return ""


def in_thread(stack: Sequence[Entry], index: int) -> str:
    """How the user's innermost coroutine hands its work over: `sum_of_squares, limit`. Empty for work of its own.

    The arguments are shown as the source has them, where they are short.
    """
    import ast

    for entry in stack[index:]:
        code = entry[0]
        if not code.co_flags & _ASYNC or owner(code.co_filename) != "user":
            continue
        node = _expression(entry)
        if not isinstance(node, ast.Call):
            return ""
        parts = [ast.unparse(each) for each in (node.func, *node.args, *node.keywords)]
        text = ", ".join(parts)
        return text if len(text) < 60 else f"{parts[0]}, ..."
    return ""


def in_coroutine(stack: Sequence[Entry], index: int) -> bool:
    """Whether the work stands in a coroutine itself, which no thread can run."""
    return bool(stack[index][0].co_flags & _ASYNC)


def _called_by_c(stack: Sequence[Entry]) -> bool:
    """Whether the innermost function has just begun, as the callback of C code: `sorted(rows, key=function)`.

    The interpreter hands the GIL over between instructions. C code that keeps it, and calls back, is only ever seen at
    the start of the callback: what was worked until then was worked by the C code.
    """
    import ast

    code, _line, instruction = stack[0]
    if not 0 <= instruction <= _start(code) or len(stack) < 2 or code.co_flags & (_ASYNC | inspect.CO_GENERATOR):
        return False
    caller = stack[1]
    node = _expression(caller)
    if not isinstance(node, ast.Call) or code.co_name.startswith("__"):
        return False
    if isinstance(node.func, ast.Attribute):
        return node.func.attr != code.co_name
    local = caller[0].co_varnames + caller[0].co_cellvars + caller[0].co_freevars
    return isinstance(node.func, ast.Name) and node.func.id != code.co_name and node.func.id not in local


@functools.lru_cache(maxsize=1000)
def _start(code: CodeType) -> int:
    """The offset of the instruction at which a function has begun; there the interpreter hands over."""
    found = code.co_code[::2].find(bytes([opcode.opmap["RESUME"]]))
    return 2 * found


# From 3.14 on a call with keywords hands the GIL over afterwards only once the interpreter has specialised it.
_UNCHECKED = opcode.opmap["CALL_KW"] if sys.version_info >= (3, 14) else -1
_CHECKED = {opcode.opmap[name] for name in ("CALL", "JUMP_BACKWARD", "RESUME", "CALL_FUNCTION_EX", "SEND")
            if name in opcode.opmap}  # fmt: skip
# Of C, taking keywords, and long where there is much.
_LONG_WITH_KEYWORDS = {"sorted", "sort", "min", "max"}


def hands_over_late(entry: Entry) -> bool:
    """Whether the call that the instruction makes, if it is one of C code, may end without handing the GIL over."""
    code, _line, instruction = entry
    return instruction >= 0 and code.co_code[instruction] == _UNCHECKED


def before_unchecked(stack: Sequence[Entry], place: Place) -> list[Entry]:
    """A stack at whose handing over the GIL had been kept for long: by the call before, where that hands over late.

    Straight-line code between the two takes no time.
    """
    entries = list(stack)
    if _UNCHECKED < 0 or place.index is None or place.index > 1:
        return entries
    code, _line, instruction = entries[place.index]
    if place.index == 1 and not 0 <= entries[0][2] <= _start(entries[0][0]):
        return entries
    raw = code.co_code
    positions = list(code.co_positions())
    made = raw[instruction] == opcode.opmap["SEND"]  # an awaited coroutine begins, and was made just before
    for offset in range(instruction - 2, -1, -2):
        if made and raw[offset] == opcode.opmap["CALL"]:
            made = False
            continue
        if raw[offset] == _UNCHECKED:
            found: Entry = (code, positions[offset // 2][0] or code.co_firstlineno, offset)
            if place.index == 1 or callee(found).rpartition(".")[2] in _LONG_WITH_KEYWORDS:
                return [found, *entries[place.index + 1 :]]
            break
        if raw[offset] in _CHECKED:
            break
    return entries


_LOOP = os.path.dirname(os.path.abspath(asyncio.__file__)) + os.sep


def is_loop(code: CodeType) -> bool:
    """Whether it is asyncio itself: it asks `os.waitpid` for a process of which the kernel has said that it is over."""
    return code.co_filename.startswith(_LOOP)


def _expression(entry: Entry) -> Any:
    """The expression, as a tree, that the instruction belongs to; None where the source is not to be had."""
    import ast
    import linecache

    code, _line, instruction = entry
    if instruction < 0:
        return None
    positions = next((each for i, each in enumerate(code.co_positions()) if i == instruction // 2), None)
    if positions is None or None in positions:
        return None
    first, last, start, stop = positions
    assert first is not None
    assert last is not None
    assert start is not None
    assert stop is not None
    lines = [linecache.getline(code.co_filename, number) for number in range(first, last + 1)]
    if not lines or not lines[0]:
        return None
    # Columns count bytes of UTF-8.
    raw = [line.encode() for line in lines]
    raw[-1] = raw[-1][:stop]
    raw[0] = raw[0][start:]
    text = b"".join(raw).decode(errors="replace")
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        return None


def called(stack: Sequence[Entry], index: int) -> str:
    """The call that the user's frame at `index` waits for: a library function's full name, or the source's spelling."""
    spelled = callee(stack[index])
    inner = next((each[0] for each in reversed(stack[:index]) if owner(each[0].co_filename) != "ours"), None)
    if inner is None or owner(inner.co_filename) == "generated":
        return spelled
    module = module_of(inner)
    name = inner.co_qualname.replace(".<locals>", "")
    full = f"{module}.{name}" if module else name
    last = spelled.rpartition(".")[2]
    if last and last == name.rpartition(".")[2] and "." in spelled:
        return spelled  # json.dumps rather than json.__init__.dumps
    return full


def module_of(code: CodeType) -> str:
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) == code.co_filename:
            return name
    stem = os.path.basename(code.co_filename)
    return stem.removesuffix(".py")
