"""Answers from a file: recorded once from the real service, replayed ever after.

The file is JSON or YAML for people to read and to edit. Bodies are text where they are text, else base64; a replay
gives every byte and header that the service sent, but for the secrets, which are masked before anything is written.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_asyncapi.errors import CassetteError
from pytest_asyncapi.masking import SECRETS, Masker
from pytest_asyncapi.upstream import documents, real, recorded
from pytest_asyncapi.upstream.effects import Callback
from pytest_asyncapi.upstream.fault import Fault
from pytest_asyncapi.upstream.replies import Reply
from pytest_asyncapi.upstream.request import Request

if TYPE_CHECKING:
    from os import PathLike

    from pytest_asyncapi.upstream.router import Upstream

VERSION = 1
MATCH = ("method", "url", "scheme", "host", "path", "query", "body")
Entry = recorded.Entry

_renewed: set[Path] = set()
"""The files that this process has begun anew, under ``record="all"``: the next test adds to them."""


class Cassette(Callback):
    """A route for every request that the file has an answer to; ``upstream.cassette(file)`` makes one.

    `match` names what has to be equal: of "method", "url", "scheme", "host", "path", "query" and "body". Several
    answers to one request are given in turn, the last of them again and again. `secrets` are the names whose values
    are masked, in headers, queries, forms and JSON. With ``all_used=True`` a recorded call that the test does not make
    fails it. `record` is "none" (replay), "new" (record what the file has no answer to) or "all" (record anew); by
    default what ``--upstream-record`` says.
    """

    def __init__(
        self,
        upstream: Upstream,
        file: str | PathLike[str],
        *,
        match: Sequence[str] = ("method", "url", "body"),
        secrets: Iterable[str] = SECRETS,
        record: str | None = None,
        all_used: bool = False,
    ) -> None:
        super().__init__(self._answer)
        self.is_async = True
        self.upstream = upstream
        self.path = Path(file)
        self.match = tuple(match)
        self.record = record or upstream.record
        self.used: set[int] = set()
        self._mask = Masker(secrets)
        self._new = 0
        if unknown := [name for name in self.match if name not in MATCH]:
            raise CassetteError(f"cassette {self.path}: match={unknown[0]!r} is none of {', '.join(MATCH)}.")
        if self.record not in ("none", "new", "all"):
            raise CassetteError(f"cassette {self.path}: record={self.record!r} is none of none, new, all.")
        if self.record == "all" and "PYTEST_XDIST_WORKER" in os.environ:
            raise CassetteError(
                f"cassette {self.path}: record='all' begins the file anew, and one worker would do so to another's"
                " calls: pytest -n 0 --upstream-record=all"
            )
        self.entries = self._read()
        self.route = upstream.route(None, None, name=f"cassette {self.path.name}", required=False)
        self.route.reply(self).add_check(self._differs)
        upstream.at_exit.append(self.save)
        upstream.cassettes.append(self)
        if all_used:
            upstream.checks.append(self._unused)

    def __repr__(self) -> str:
        return f"<Cassette {self.path} of {len(self.entries)} calls>"

    @property
    def recorded(self) -> list[str]:
        """All calls of the file."""
        return [recorded.describe(each) for each in self.entries]

    @property
    def stale(self) -> list[str]:
        """The recorded calls that were not asked for."""
        return [recorded.describe(each) for index, each in enumerate(self.entries) if index not in self.used]

    # -- replaying

    def _differs(self, request: Request) -> str | None:
        if request.is_websocket:
            return "the request is a websocket's handshake, which is not recorded: answer it by upstream.ws(...)"
        if self.record != "none" or self._find(request):
            return None
        return f"the cassette has no such call ({self._nearest(request)}); --upstream-record=new records it"

    def _nearest(self, request: Request) -> str:
        same_path = [
            each
            for each in self.entries
            if recorded.part("path", each["request"]) == recorded.part("path", self._key(request))
        ]
        return (
            f"it has {', '.join(map(recorded.describe, same_path[:3]))}"
            if same_path
            else f"it has {len(self.entries)} others"
        )

    def _find(self, request: Request) -> list[int]:
        key = self._key(request)
        wanted = [recorded.part(name, key) for name in self.match]
        return [
            index
            for index, each in enumerate(self.entries)
            if [recorded.part(name, each["request"]) for name in self.match] == wanted
        ]

    def _key(self, request: Request) -> Entry:
        """A request as it stands in the file."""
        content_type = request.headers.get("content-type", "")
        key: Entry = {"method": request.method, "url": self._mask.url(request.url)}
        if request.content:
            key.update(self._body(recorded.with_one_boundary(request.content, content_type), content_type))
        return key

    def _replay(self, request: Request) -> Reply | None:
        found = self._find(request)
        if not found:
            return None
        index = next((index for index in found if index not in self.used), found[-1])
        self.used.add(index)
        return recorded.reply(self.entries[index]["response"])

    # -- recording

    async def _answer(self, request: Request) -> Reply | Fault:
        return self._replay(request) or self._keep(request, await real.fetch(self.upstream, recorded.readable(request)))

    def call_now(self, request: Request) -> Reply | Fault:
        return self._replay(request) or self._keep(request, real.fetch_now(self.upstream, recorded.readable(request)))

    def _keep(self, request: Request, reply: Reply | Fault) -> Reply | Fault:
        if isinstance(reply, Fault):
            return reply
        headers = [pair for pair in self._mask.headers(request.raw_headers) if pair[0].lower() not in real.HOP_BY_HOP]
        asked = self._key(request)
        body: Entry = {name: asked.pop(name) for name in ("text", "base64") if name in asked}
        asked["headers"] = [list(pair) for pair in headers]
        asked.update(body)
        self.entries.append({"request": asked, "response": self._kept(reply)})
        self.used.add(len(self.entries) - 1)
        self._new += 1
        return reply

    def _kept(self, reply: Reply) -> Entry:
        assert isinstance(reply.body, bytes)
        headers, body = self._mask.headers(reply.headers), reply.body
        content_type = reply.header("content-type") or ""
        plain = recorded.plain(body, reply.header("content-encoding"))
        if plain is not None and (shown := self._masked(plain, content_type)) != plain:
            # a secret in it: the body is kept masked, and as it is no longer what was compressed and measured,
            # uncompressed
            headers = [pair for pair in headers if pair[0].lower() not in ("content-encoding", "content-length")]
            body = shown
        return {
            "status": reply.status,
            "reason": reply.reason,
            "headers": [list(pair) for pair in headers],
            **self._body(body, content_type),
        }

    def _masked(self, body: bytes, content_type: str) -> bytes:
        try:
            return self._mask.text(body.decode(), content_type).encode()
        except UnicodeDecodeError:
            return body

    def _body(self, body: bytes, content_type: str) -> Entry:
        body = self._masked(body, content_type)
        try:
            text = body.decode()
            if "\x00" not in text:
                return {"text": text}
        except UnicodeDecodeError:
            pass
        return {"base64": base64.b64encode(body).decode()}

    # -- the file

    def _read(self) -> list[Entry]:
        if self.record == "all" and self.path.resolve() not in _renewed:
            _renewed.add(self.path.resolve())
            return []
        if not self.path.exists():
            if self.record == "none":
                raise CassetteError(
                    f"cassette {self.path}: there is no such file. Record it: pytest --upstream-record=new"
                )
            return []
        return self._load()

    def _load(self) -> list[Entry]:
        try:
            document = documents.load(self.path)
        except documents.DocumentError as exc:
            raise CassetteError(f"cassette {self.path} is broken: {exc}. {_AGAIN}") from None
        if not isinstance(document, dict) or document.get("version") != VERSION:
            found = document.get("version") if isinstance(document, dict) else type(document).__name__
            raise CassetteError(
                f"cassette {self.path} is broken: it is no cassette of version {VERSION} ({found!r}). {_AGAIN}"
            )
        for number, entry in enumerate(document.get("calls") or [], 1):
            if wrong := recorded.wrong(entry):
                raise CassetteError(f"cassette {self.path} is broken: call {number} {wrong}. {_AGAIN}")
        return list(document.get("calls") or [])

    def save(self) -> None:
        """Add what is new to the file; another test may have added to it meanwhile."""
        if not self._new and self.path.exists():
            return
        if self.record == "none":
            return
        with documents.alone(self.path):
            self._add(self.entries[-self._new :] if self._new else [])
        self._new = 0

    def _add(self, added: list[Entry]) -> None:
        kept = (
            self._load()
            if self.path.exists() and self.record == "new"
            else self.entries[: len(self.entries) - self._new]
        )
        known = [each["request"] for each in kept]
        fresh = [each for each in added if each["request"] not in known or self.record == "all"]
        documents.save(self.path, {"version": VERSION, "calls": [*kept, *fresh]})

    def _unused(self) -> str | None:
        if not self.stale or self.record != "none":
            return None
        lines = [f"cassette {self.path}: {len(self.stale)} recorded calls were not made:", *self.stale]
        return "\n  ".join([*lines, "Delete them, or record anew: pytest --upstream-record=all"])


_AGAIN = "Repair it, or record it anew: pytest --upstream-record=all"
