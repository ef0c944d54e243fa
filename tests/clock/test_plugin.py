"""The fixture in a project: its errors."""

from __future__ import annotations

INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
asyncapi_names = true
"""


def test_without_time_machine_the_extra_is_named(pytester):
    pytester.makefile(".ini", pytest=INI)
    pytester.makeconftest("import sys\n\nsys.modules['time_machine'] = None")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.virtual_clock(wall=True)
        async def test_it(virtual_clock): pass
        """
    )

    result = pytester.runpytest_subprocess("-q")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at setup of test_it*",
            "virtual_clock(wall=...) moves time.time() and datetime by the package time-machine, which is not"
            " installed: pip install 'pytest-asyncapi[[]time]'",
        ],
        consecutive=True,
    )
