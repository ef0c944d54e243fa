"""The Python files of a project, parsed and never imported, and what their names stand for."""

from __future__ import annotations

import ast
import os
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

# Folders that hold no code of the project, besides hidden ones and virtual environments.
SKIPPED = frozenset({"node_modules", "site-packages", "__pycache__", "build", "dist", "venv", "env"})
# Folders whose apps nobody deploys.
ASIDE = frozenset({"tests", "test", "examples", "example", "docs", "docs_src", "benchmarks", "scripts"})
MOST_FILES = 5000
LARGEST_FILE = 1_000_000

FunctionDef = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(eq=False)
class Module:
    """A file of Python code. `name` is what it is imported as when `root` is on the path."""

    path: Path
    root: Path
    name: str
    tree: ast.Module
    text: str
    aside: bool
    imports: dict[str, str] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    functions: dict[str, FunctionDef] = field(default_factory=dict)
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    values: dict[str, list[ast.expr]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for each in node.names:
                    top = each.name.partition(".")[0]
                    self.imports[each.asname or top] = each.name if each.asname else top
            elif isinstance(node, ast.ImportFrom):
                origin = self._origin(node)
                for each in node.names:
                    if each.name == "*":
                        self.stars.append(origin)
                    else:
                        self.imports[each.asname or each.name] = f"{origin}.{each.name}"
        for statement in statements(self.tree.body):
            if isinstance(statement, FunctionDef):
                self.functions[statement.name] = statement
            elif isinstance(statement, ast.ClassDef):
                self.classes[statement.name] = statement
            for name, value in assigned(statement):
                self.values.setdefault(name, []).append(value)

    def _origin(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        is_package = self.path.name == "__init__.py"
        parts = parts[: len(parts) - node.level + is_package]
        return ".".join([*parts, node.module] if node.module else parts)

    @cached_property
    def imported(self) -> frozenset[str]:
        """Every dotted name that is imported anywhere in the file, also inside of functions."""
        found: set[str] = set(self.imports.values())
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found.update(each.name for each in node.names)
            elif isinstance(node, ast.ImportFrom):
                found.add(self._origin(node))
        return frozenset(found)

    def dotted(self, node: ast.expr) -> str:
        """What an expression names: `db.engine` is "shop.db.engine" where `from shop import db`; "" for none."""
        if isinstance(node, ast.Attribute):
            base = self.dotted(node.value)
            return f"{base}.{node.attr}" if base else ""
        if isinstance(node, ast.Name):
            if node.id in self.functions or node.id in self.classes or node.id in self.values:
                return f"{self.name}.{node.id}"
            return self.imports.get(node.id, node.id)
        return ""

    def place(self, node: ast.AST, start: Path) -> str:
        return f"{shown(self.path, start)}:{getattr(node, 'lineno', 1)}"


class Project:
    """The modules below a folder."""

    def __init__(self, start: Path) -> None:
        self.start = start
        self.unreadable: list[str] = []
        self._reached: dict[str, set[str]] = {}
        files = list(_python_files(start))
        parsed = [(path, *found) for path in files if (found := self._parse(path)) is not None]
        tops = _imported_tops(tree for _, tree, _ in parsed)
        self.modules: list[Module] = []
        for path, tree, text in parsed:
            root = _import_root(path, start, tops)
            parts = list(path.relative_to(root).with_suffix("").parts)
            if parts[-1] == "__init__":
                parts.pop()
            if not parts or not all(part.isidentifier() for part in parts):
                parts = [path.stem]
            aside = not ASIDE.isdisjoint(path.relative_to(start).parts[:-1]) or path.name.startswith("test_")
            self.modules.append(Module(path, root, ".".join(parts), tree, text, aside or path.name == "conftest.py"))
        self.by_name = {module.name: module for module in reversed(self.modules)}
        for _ in range(3):  # a name may come through several modules
            for module in self.modules:
                self._fill_stars(module)

    def _fill_stars(self, module: Module) -> None:
        """Give a module the names that `from .user import *` brings it."""
        for origin in module.stars:
            if (other := self.by_name.get(origin)) is not None:
                for name in (*other.functions, *other.classes, *other.values, *other.imports):
                    if not name.startswith("_"):
                        module.imports.setdefault(name, f"{origin}.{name}")

    def _parse(self, path: Path) -> tuple[ast.Module, str] | None:
        try:
            with tokenize.open(path) as file:
                text = file.read()
            return ast.parse(text, str(path)), text
        except (SyntaxError, ValueError, OSError, RecursionError) as error:
            self.unreadable.append(f"{shown(path, self.start)}: {error}")
            return None

    @cached_property
    def own(self) -> list[Module]:
        """The modules of the app itself, without tests and examples."""
        return [module for module in self.modules if not module.aside]

    @cached_property
    def definitions(self) -> dict[str, list[ast.AST]]:
        """What each name of the project is defined as, be it a variable, a field of a class or a property."""
        found: dict[str, list[ast.AST]] = {}
        for module in self.own:
            for node in ast.walk(module.tree):
                if isinstance(node, ast.FunctionDef):
                    found.setdefault(node.name, []).extend(node.body)
                elif isinstance(node, ast.stmt):
                    for name, value in assigned(node):
                        found.setdefault(name, []).append(value)
        return found

    def text_of(self, node: ast.AST) -> str:
        """The text that an expression stands for, when the source says it: a literal, a name of one, an f-string."""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else ""
        if isinstance(node, ast.Name | ast.Attribute):
            name = node.id if isinstance(node, ast.Name) else node.attr
            texts = {each.value for each in self.definitions.get(name, []) if isinstance(each, ast.Constant)}
            return str(texts.pop()) if len(texts) == 1 else ""
        if isinstance(node, ast.JoinedStr):
            parts = [self.text_of(each.value if isinstance(each, ast.FormattedValue) else each) for each in node.values]
            return "".join(parts) if all(parts) else ""
        return ""

    def resolve(self, dotted: str) -> str:
        """Follow a name through the modules that pass it on: "shop.app" is "shop.main.app" after a re-export."""
        for _ in range(8):
            module, name = self.find(dotted)
            if module is None or name not in module.imports or name in module.values:
                return dotted
            dotted = module.imports[name]
        return dotted

    def find(self, dotted: str) -> tuple[Module | None, str]:
        """The module of the project that a dotted name lies in, and the rest of the name."""
        head, _, tail = dotted.rpartition(".")
        if head in self.by_name and dotted not in self.by_name:
            return self.by_name[head], tail
        return None, dotted

    def class_of(self, dotted: str) -> tuple[Module, ast.ClassDef] | None:
        module, name = self.find(self.resolve(dotted))
        return (module, module.classes[name]) if module is not None and name in module.classes else None

    def function_of(self, dotted: str) -> tuple[Module, FunctionDef] | None:
        module, name = self.find(self.resolve(dotted))
        return (module, module.functions[name]) if module is not None and name in module.functions else None

    def bases(self, module: Module, node: ast.ClassDef) -> Iterator[str]:
        """The dotted names of everything that a class derives from, as far as the project's code shows."""
        seen: set[str] = set()
        waiting = [module.dotted(base) for base in node.bases]
        while waiting:
            name = self.resolve(waiting.pop(0))
            if not name or name in seen:
                continue
            seen.add(name)
            yield name
            found = self.class_of(name)
            if found is not None:
                waiting += [found[0].dotted(base) for base in found[1].bases]

    def reached(self, module: Module) -> set[str]:
        """The names of the project's modules that the import of a module brings with it."""
        if module.name in self._reached:
            return self._reached[module.name]
        seen: set[str] = set()
        waiting = [module.name]
        while waiting:
            name = waiting.pop()
            while name and name not in self.by_name:
                name = name.rpartition(".")[0]
            if not name or name in seen:
                continue
            seen.add(name)
            waiting += [name.rpartition(".")[0], *self.by_name[name].imported]
        self._reached[module.name] = seen
        return seen


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported, those in `if`, `try` and `with` too."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With):
            inner = [*statement.body, *getattr(statement, "orelse", [])]
            for handler in getattr(statement, "handlers", []):
                inner += handler.body
            yield from statements(inner)


def assigned(statement: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    """The names that an assignment gives a value to."""
    if isinstance(statement, ast.Assign):
        for target in statement.targets:
            if isinstance(target, ast.Name):
                yield target.id, statement.value
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
        yield statement.target.id, statement.value


def shown(path: Path, start: Path) -> str:
    """A path as it is written for the reader."""
    return Path(os.path.relpath(path, start)).as_posix()


def _python_files(start: Path) -> Iterator[Path]:
    count = 0
    for folder, folders, files in os.walk(start):
        if "pyvenv.cfg" in files:
            folders.clear()
            continue
        folders[:] = sorted(each for each in folders if each not in SKIPPED and not each.startswith("."))
        for name in sorted(files):
            path = Path(folder, name)
            # a file: editors leave links that lead nowhere
            if name.endswith(".py") and path.is_file() and path.stat().st_size <= LARGEST_FILE:
                count += 1
                if count > MOST_FILES:
                    return
                yield path


def _imported_tops(trees: Iterator[ast.Module]) -> frozenset[str]:
    """The first part of every name that is imported absolutely somewhere."""
    found: set[str] = set()
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found.update(each.name.partition(".")[0] for each in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                found.add(node.module.partition(".")[0])
    return frozenset(found)


def _import_root(path: Path, start: Path, tops: frozenset[str]) -> Path:
    """The folder to put on the path so that a file can be imported under the name that the project uses.

    That is the folder above its packages. Where a folder is no package (it has no `__init__.py`), the project's own
    imports tell: `from db import ...` beside a `db.py` makes it the root, `from app.db import ...` its parent.
    """
    folder = path.parent
    while folder != start and (folder / "__init__.py").exists():
        folder = folder.parent
    if folder != path.parent:
        return folder
    child = path.stem
    while folder != start and folder.name != "src" and not any((folder / each).exists() for each in _MARKERS):
        if child in tops or not folder.name.isidentifier():
            break
        if folder == path.parent and folder.name not in tops and _imports_a_neighbour(folder, tops):
            break
        child, folder = folder.name, folder.parent
    return folder


_MARKERS = ("pyproject.toml", "setup.py", "setup.cfg", "pytest.ini", "tox.ini", "manage.py")


def _imports_a_neighbour(folder: Path, tops: frozenset[str]) -> bool:
    neighbours = {each.stem for each in folder.glob("*.py")} | {each.parent.name for each in folder.glob("*/*.py")}
    return not tops.isdisjoint(neighbours - sys.stdlib_module_names)
