"""The messages of the package, read from its source: every raise of an error of ours, with what its text is made of."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GAP = "…"
SHORT = 7
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Message:
    """`text` has a … where a value stands. A text that is put together elsewhere is all that goes into it."""

    place: str
    kind: str
    text: str


class Source:
    """The modules of the package."""

    def __init__(self, package: Path) -> None:
        self.trees = {path: ast.parse(path.read_text()) for path in sorted(package.rglob("*.py"))}
        self.package = package
        self.functions: dict[str, list[Function]] = {}
        self.constants: dict[str, list[ast.expr]] = {}
        self.constants_of: dict[Path, dict[str, list[ast.expr]]] = {}
        self.current = package
        for path, tree in self.trees.items():
            for node in ast.walk(tree):
                if isinstance(node, Function):
                    self.functions.setdefault(node.name, []).append(node)
            for statement in tree.body:
                if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                    name = statement.targets[0].id
                    self.constants.setdefault(name, []).append(statement.value)
                    self.constants_of.setdefault(path, {}).setdefault(name, []).append(statement.value)
        self.errors = self._errors(package / "errors.py")

    def _errors(self, path: Path) -> dict[str, ast.ClassDef]:
        return {each.name: each for each in self.trees[path].body if isinstance(each, ast.ClassDef)}

    def messages(self) -> Iterator[Message]:
        for path, tree in self.trees.items():
            if path.name == "errors.py":
                continue
            self.current = path
            for function, call in _calls(tree, None):
                kind = self._kind(call)
                if kind:
                    place = f"{path.relative_to(self.package.parent)}:{call.lineno}"
                    yield Message(place, kind, _plain(self._text(kind, call, function)))

    def _kind(self, call: ast.Call) -> str:
        name = ast.unparse(call.func)
        if name in ("pytest.fail", "pytest.fail.Exception"):
            return "fail"
        if name == "warnings.warn":
            return next((each for each in map(ast.unparse, call.args[1:2]) if each in self.errors), "")
        if name.startswith("waits."):  # the words of the sandbox; some of them are warnings
            said = self.functions.get(name.removeprefix("waits."), [])
            return (
                "waits" if any(each.returns is not None and ast.unparse(each.returns) == "str" for each in said) else ""
            )
        last = name.rpartition(".")[2]
        return last if last in self.errors or last == "UsageError" else ""

    def _constant(self, name: str) -> list[ast.expr]:
        return self.constants_of.get(self.current, {}).get(name) or self.constants.get(name, [])

    def _text(self, kind: str, call: ast.Call, function: Function | None) -> str:
        if kind == "waits":
            return self._of(call, function, 0)
        if kind in self.errors:
            init = next((each for each in self.errors[kind].body if getattr(each, "name", "") == "__init__"), None)
            if init is not None and kind.startswith("WebSocket"):
                return self._strings(init)
        return self._of(call.args[0], function, 0) if call.args else GAP

    def _of(self, node: ast.expr, function: Function | None, depth: int) -> str:
        if isinstance(node, ast.Constant):
            return str(node.value)
        if isinstance(node, ast.JoinedStr):
            return "".join(self._of(each, function, depth) for each in node.values)
        if isinstance(node, ast.BinOp):
            return self._of(node.left, function, depth) + self._of(node.right, function, depth)
        if isinstance(node, ast.IfExp):
            return self._of(node.body, function, depth) + GAP + self._of(node.orelse, function, depth)
        if isinstance(node, ast.BoolOp):
            return GAP.join(self._of(each, function, depth) for each in node.values)
        if depth > 2:
            return GAP
        if isinstance(node, ast.Name):
            constants = self._constant(node.id)
            if constants:
                return GAP.join(self._of(each, None, depth + 1) for each in constants)
            return self._strings(function, depth + 1) if function is not None else GAP
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr == "format":
                return re.sub(r"\{[\w!:.]*\}", GAP, self._of(node.func.value, function, depth))
            if isinstance(node.func, ast.Attribute) and node.func.attr == "join":
                return self._strings(function, depth + 1) if function is not None else GAP
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
            return GAP.join(self._strings(each, depth + 1) for each in self.functions.get(name, [])[:3])
        return GAP

    def _strings(self, function: ast.AST, depth: int = 0) -> str:
        """All texts in a function, and in those that it calls."""
        found: list[str] = []
        doc = ast.get_docstring(function, clean=False) if isinstance(function, Function) else None
        for node in ast.walk(function):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value != doc:
                found.append(node.value)
            elif isinstance(node, ast.Name) and depth < 3:
                found += [self._of(each, None, depth + 1) for each in self._constant(node.id)]
            elif isinstance(node, ast.Call) and depth < 2:
                name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
                if len(self.functions.get(name, [])) == 1 and self.functions[name][0] is not function:
                    found.append(self._strings(self.functions[name][0], depth + 1))
        return GAP.join(found)


def _calls(node: ast.AST, function: Function | None) -> Iterator[tuple[Function | None, ast.Call]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            yield function, child
        yield from _calls(child, child if isinstance(child, Function) else function)


def _plain(text: str) -> str:
    return " ".join(text.split())


def fits(fragment: str, text: str) -> bool:
    """Whether a fragment of the page, whose … stand for anything, is found in a text."""
    pieces = [_plain(each) for each in fragment.split(GAP)]
    if max(map(len, pieces)) < SHORT:
        return _plain(fragment) == text  # so short that it would be found in others by chance
    position = 0
    for piece in filter(None, pieces):
        position = text.find(piece, position)
        if position < 0:
            return False
        position += len(piece)
    return True
