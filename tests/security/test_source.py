"""What no module of the package does: run text as code, load pickles, start a shell."""

import ast
from pathlib import Path

import pytest

import pytest_asyncapi

MODULES = sorted(Path(pytest_asyncapi.__file__).parent.rglob("*.py"))
FORBIDDEN_IMPORTS = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle"}
FORBIDDEN_CALLS = {
    *("eval", "exec", "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load"),
}


def test_there_are_modules():
    assert len(MODULES) > 100


@pytest.mark.parametrize("module", MODULES, ids=lambda path: "/".join(path.parts[-2:]))
def test_a_module(module):
    found = []
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.partition(".")[0] in FORBIDDEN_IMPORTS]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in FORBIDDEN_IMPORTS:
            found.append(str(node.module))
        elif isinstance(node, ast.Call):
            if ast.unparse(node.func) in FORBIDDEN_CALLS:
                found.append(ast.unparse(node))
            found += [ast.unparse(node) for each in node.keywords if each.arg == "shell"]

    assert found == []


def test_the_one_script_of_a_shell_is_a_constant():
    """It ends the Redis server with this process; what it starts are words of its own, which no shell reads."""
    found = [
        (path.name, ast.unparse(node.elts[2]))
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.List)
        and isinstance(node.elts[0] if node.elts else None, ast.Constant)
        and str(node.elts[0].value).rpartition("/")[2] in ("sh", "bash", "cmd")
    ]

    assert found == [("server.py", "_UNTIL_WE_END")]
