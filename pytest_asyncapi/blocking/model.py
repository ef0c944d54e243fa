"""What the detector tells: frames, blocks, and their form in JSON."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from typing import Any, Literal

Kind = Literal["waiting", "computing"]
Region = Literal["request", "task", "lifespan", "test"]


def relative(file: str, root: str) -> str:
    """The path as reports show it: from the root of the project where it lies there, with forward slashes."""
    if root and file.startswith(root.rstrip(os.sep) + os.sep):
        return file[len(root.rstrip(os.sep)) + 1 :].replace(os.sep, "/")
    return file


@dataclasses.dataclass(frozen=True, slots=True)
class Frame:
    """One line of a stack."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


@dataclasses.dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a block: what the stack was (outermost first) for how long, from the block's start."""

    start_ms: float
    milliseconds: float
    stack: tuple[Frame, ...]


@dataclasses.dataclass(slots=True, kw_only=True)
class Block:
    """The event loop was held: by whom, where, how long, and what to write instead."""

    kind: Kind
    site: Frame  # the innermost line outside of the standard library and of installed packages
    call: str  # "time.sleep", "json.dumps"; "" for plain Python code
    named: bool  # a call that always blocks, known by its name
    remedy: str
    wall_ms: float
    cpu_ms: float
    charged_ms: float
    limit_ms: float  # the threshold that it broke; 0 for named calls
    region: Region
    request: str | None = None  # "GET /users/{id}"
    endpoint: Frame | None = None
    framework: bool = False  # the site is the endpoint's, but the time went into framework code
    task: str | None = None
    chain: tuple[Frame, ...] = ()  # the coroutines, outermost first; the last holds the loop
    stack: tuple[Frame, ...] = ()  # the whole stack of the slice, outermost first
    stretches: tuple[Stretch, ...] = ()
    count: int = 1
    total_ms: float = 0.0
    test: str | None = None
    phase: str | None = None
    left_by: str | None = None  # the test that started the request, when it is an earlier one
    started: float = 0.0  # seconds since the epoch
    thread: str = "MainThread"
    status: str = "new"  # new, allowed, known (in the baseline)
    allowed_by: str | None = None

    @property
    def of_app(self) -> bool:
        """Inside a request, or in a task that a request spawned."""
        return self.region in ("request", "task")

    @property
    def milliseconds(self) -> float:
        """The longest single time that it is charged with (a named call: its whole time)."""
        return self.charged_ms

    def fingerprint(self, root: str) -> str:
        """The same for the same defect after lines moved: path, function, call.

        What a function computes is one defect: the samples of one run show another of its calls than those of the next.
        """
        what = self.call if self.call and (self.named or self.kind == "waiting") else self.kind
        text = "\0".join((relative(self.site.file, root), self.site.function, what))
        return hashlib.sha256(text.encode()).hexdigest()[:20]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Block:
        data = dict(data)
        data["site"] = Frame(**data["site"])
        data["endpoint"] = Frame(**data["endpoint"]) if data["endpoint"] else None
        for name in ("chain", "stack"):
            data[name] = tuple(Frame(**each) for each in data[name])
        data["stretches"] = tuple(
            Stretch(each["start_ms"], each["milliseconds"], tuple(Frame(**frame) for frame in each["stack"]))
            for each in data["stretches"]
        )
        return cls(**data)
