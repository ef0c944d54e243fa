"""The house stands as docs/design.md draws it: arrows run one way, and every part is named."""

import ast
from pathlib import Path

import pytest

ROOMS = {"client", "database", "cache", "upstream", "network", "clock", "blocking", "report"}
BELOW = {"wire", "page", "timeline", "masking", "asgi", "lazy", "compatibility", "errors"}
TOP = {"plugin", "init"}
SETTINGS = {"flags", "settings", "markers", "values", "loops", "runner", "per_test"}
ALLOWED = {("cache", "clock")}  # the state of the clock


def imports(path: Path) -> set[str]:
    """The parts of the package that a module imports when it runs: not for its types only."""
    found = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        names = []
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = (
                [node.module] if node.module != "pytest_asyncapi" else [f"{node.module}.{n.name}" for n in node.names]
            )
        found |= {name.split(".")[1] for name in names if name.startswith("pytest_asyncapi.")}
        waiting += ast.iter_child_nodes(node)
    return found


@pytest.fixture(scope="module")
def arrows(root: Path) -> dict[str, set[str]]:
    """What each part of the package imports of the others."""
    package = root / "pytest_asyncapi"
    found: dict[str, set[str]] = {}
    for path in package.rglob("*.py"):
        part = path.relative_to(package).parts[0].removesuffix(".py")
        found.setdefault(part, set()).update(imports(path) - {part})
    return {part: targets for part, targets in found.items() if part != "__init__"}


def test_no_room_imports_another(arrows: dict[str, set[str]]) -> None:
    found = {(room, other) for room in ROOMS for other in arrows[room] & (ROOMS | TOP)}

    assert found == ALLOWED


def test_what_lies_below_knows_no_room(arrows: dict[str, set[str]]) -> None:
    assert {(part, other) for part in BELOW for other in arrows[part] & (ROOMS | TOP | SETTINGS)} == set()


def test_what_reads_the_settings_knows_no_room(arrows: dict[str, set[str]]) -> None:
    assert {(part, other) for part in SETTINGS for other in arrows[part] & (ROOMS | TOP)} == set()


def test_every_part_is_named(arrows: dict[str, set[str]], root: Path) -> None:
    assert arrows.keys() == ROOMS | BELOW | TOP | SETTINGS
    for page in ("docs/design.md", "CONTRIBUTING.md"):
        text = (root / page).read_text()
        missing = [part for part in sorted(arrows) if f"{part}/`" not in text and f"{part}.py`" not in text]
        assert missing == [], f"{page} does not name all parts"
