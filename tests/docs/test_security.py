"""What docs/security.md says the package does not do, read from its source."""

import ast
from pathlib import Path

FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill"}
FORBIDDEN_CALLS = {"eval", "exec", "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}


def test_no_pickle_no_eval_no_shell(root: Path) -> None:
    found = []
    for path in sorted((root / "pytest_asyncapi").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [each.name.partition(".")[0] for each in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [(node.module or "").partition(".")[0]]
            wrong = FORBIDDEN_MODULES.intersection(names)
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                shell = any(each.arg == "shell" and ast.unparse(each.value) != "False" for each in node.keywords)
                yaml = called in ("yaml.load", "yaml.unsafe_load", "yaml.full_load")
                if called in FORBIDDEN_CALLS or shell or yaml:
                    wrong.add(called)
            found += [f"{path.relative_to(root)}:{node.lineno}: {name}" for name in wrong]

    assert found == []
