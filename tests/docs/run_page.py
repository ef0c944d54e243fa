"""Run the Python blocks of a page, those without tests, in one namespace: `python run_page.py page line line ...`.

A block may hold `await` and `async with` at its top level, as in `python -m asyncio`; all blocks share one event loop.
A traceback names the page and the line in it.
"""

import ast
import asyncio
import inspect
import json
import sys
import types


def run(page: str, sources: list[str]) -> None:
    module = types.ModuleType("page")
    sys.modules["page"] = module  # dataclasses and type hints look their module up
    with asyncio.Runner() as runner:
        for source in sources:
            code = compile(source, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
            if code.co_flags & inspect.CO_COROUTINE:
                runner.run(types.FunctionType(code, module.__dict__)())
            else:  # outside of the loop, so that a block may call asyncio.run() itself
                exec(code, module.__dict__)


if __name__ == "__main__":
    given = json.load(sys.stdin)
    run(given["page"], given["sources"])
