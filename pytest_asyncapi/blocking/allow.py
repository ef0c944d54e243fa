"""Allow rules: which blocks are meant, by module, function, file or call, and the pragma `# blocking: ok`."""

from __future__ import annotations

import fnmatch
import linecache
import re
import sys
from dataclasses import dataclass

from pytest_asyncapi.blocking.model import Block, Frame, relative
from pytest_asyncapi.errors import ConfigurationError

_PRAGMA = re.compile(r"#\s*blocking:\s*ok\b[\s:—-]*(.*)$")
_DOTTED = re.compile(r"^[\w*?\[\]!<>]+(\.[\w*?\[\]!<>]+)*$")

FORMS = """\
    shop.reports.*              a module, a function or a class of it, by its dotted name (* and ? are wildcards)
    jinja2.*                    any frame of the block in that package
    time.sleep                  the call that blocks
    src/shop/reports.py         a file (from the root of the project; wildcards)
    src/shop/reports.py:41      a line
    src/shop/reports.py::load   a function of a file
    GET /reports/*              the requests of an endpoint"""


@dataclass(slots=True)
class Rule:
    """One allow rule; `used` counts the blocks that it allowed."""

    text: str
    where: str = ""
    used: int = 0
    path: str = ""
    function: str = ""
    line: int = 0
    dotted: str = ""
    request: str = ""
    reason: str = ""

    def matches(self, block: Block, root: str) -> bool:
        if self.text == "*":
            return True
        if self.request:
            return block.request is not None and fnmatch.fnmatchcase(block.request, self.request)
        frames = block.stack or (block.site,)
        if self.path:
            return any(self._in_file(frame, root) for frame in (block.site, *frames))
        if block.call and fnmatch.fnmatchcase(block.call, self.dotted):
            return True
        return any(self._dotted(frame) for frame in (block.site, *frames))

    def _in_file(self, frame: Frame, root: str) -> bool:
        path = relative(frame.file, root)
        if not (fnmatch.fnmatchcase(path, self.path) or fnmatch.fnmatchcase(path, "*/" + self.path)):
            return False
        if self.line:
            return frame.line == self.line
        return not self.function or fnmatch.fnmatchcase(frame.function, self.function)

    def _dotted(self, frame: Frame) -> bool:
        module = module_name(frame.file)
        if module is None:
            return False
        name = f"{module}.{frame.function.replace('.<locals>', '')}"
        return fnmatch.fnmatchcase(name, self.dotted) or module == self.dotted


_modules: dict[str, str] = {}


def module_name(file: str) -> str | None:
    found = _modules.get(file)
    if found is None:
        for name, module in list(sys.modules.items()):
            origin = getattr(module, "__file__", None)
            if isinstance(origin, str) and name != "__main__":
                _modules.setdefault(origin, name)
        found = _modules.get(file)
    return found


def parse(text: str, where: str) -> Rule:
    """A rule from its text (a `# comment` may follow). Raises ConfigurationError for what is no pattern."""
    pattern = re.sub(r"\s+#.*$", "", text).strip()
    rule = Rule(pattern, where)
    if pattern == "*":
        return rule
    if match := re.fullmatch(r"([A-Z]+) (/\S*)", pattern):
        rule.request = f"{match[1]} {match[2]}"
        return rule
    if "::" in pattern:
        path, _, function = pattern.partition("::")
        if path.endswith(".py") and re.fullmatch(r"[\w.*?<>\[\]]+", function):
            rule.path, rule.function = path, function
            return rule
    elif match := re.fullmatch(r"(\S+\.py):(\d+)", pattern):
        rule.path, rule.line = match[1], int(match[2])
        return rule
    elif pattern.endswith(".py") and " " not in pattern:
        rule.path = pattern
        return rule
    elif _DOTTED.match(pattern):
        rule.dotted = pattern
        return rule
    raise ConfigurationError(f"{where}: {text!r} is no pattern of blocks. Write one of\n{FORMS}")


def pragma(block: Block) -> str | None:
    """The reason behind `# blocking: ok` on the line of the site, "" without one; None without the pragma."""
    match = _PRAGMA.search(linecache.getline(block.site.file, block.site.line))
    return None if match is None else match[1].strip()
