"""The detector beside tools that time, trace, stop or patch the process: what is found is found, nothing else is."""

import json
import os
import subprocess
import sys
import time

import pytest

ALL_THREE = """
async def test_sleep(client):
    await client.get("/sleep")

async def test_compute(client):
    await client.get("/compute")

async def test_quick(client):
    for _ in range(50):
        await client.get("/quick")
"""


def failed(result: pytest.RunResult) -> list[str]:
    """The tests that failed for what they did to the loop."""
    lines = [line for line in result.outlines if line.startswith("FAILED ") and "blocked the event loop" in line]
    assert "The detector failed" not in result.stdout.str()
    return sorted(line.partition("::")[2].partition(" ")[0] for line in lines)


def test_pytest_timeout_with_time_left(run):
    result = run(ALL_THREE, "--detect-blocking", "--timeout=60", separate=True, plugins=["pytest_timeout"])

    result.assert_outcomes(passed=1, failed=2)
    assert failed(result) == ["test_compute", "test_sleep"]


@pytest.mark.parametrize("method", ["signal", "thread"])
def test_pytest_timeout_that_strikes_in_a_block(run, method):
    test = """
    import threading

    async def test_dead_lock():
        threading.Event().wait(20)

    def test_next():
        pass
    """
    options = ("--detect-blocking", "--timeout=1", f"--timeout-method={method}")
    result = run(test, *options, ini="asyncapi_blocking_scope = all\n", separate=True, plugins=["pytest_timeout"])

    if method == "thread":  # it ends the process
        assert result.ret == 1
        assert "threading.Event().wait(20)" in result.stdout.str() + result.stderr.str()
        return
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*Failed: Timeout (>1.0s) from pytest-timeout.", "*event loop blocked*"])
    result.stdout.fnmatch_lines(["*waiting in threading.Event.wait*", "*in test_dead_lock"])


CORES = ["ctrace", pytest.param("sysmon", marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="3.12+"))]


@pytest.mark.parametrize("core", CORES)
def test_coverage(run, monkeypatch, core):
    """The C tracer's price is taken off by a usual factor: the work must be longer."""
    monkeypatch.setenv("COVERAGE_CORE", core)
    below = ("-m", "coverage", "run", "--source=.", "-m")
    result = run(ALL_THREE, "--detect-blocking", "--blocking-threshold=10ms", separate=True, below=below)

    result.assert_outcomes(passed=1, failed=2)
    assert failed(result) == ["test_compute", "test_sleep"]
    assert (core == "ctrace") is ("asyncapi: a tracer is active" in result.stdout.str())
    report = subprocess.run(
        [sys.executable, "-m", "coverage", "json", "-q", "-o", "-"], capture_output=True, text=True, check=True
    )
    # Of the app's lines only those of the two paths that nobody asked for are missing.
    assert json.loads(report.stdout)["files"]["app.py"]["summary"]["percent_covered"] > 70


def test_a_tracer_of_python(run):
    """What it makes of Python code is not judged; calls that block by nature are."""
    test = """
    import sys
    import pytest

    @pytest.fixture(autouse=True)
    def trace():
        def tracer(frame, event, argument):
            return tracer
        sys.settrace(tracer)
        yield
        sys.settrace(None)
    """
    result = run(test + ALL_THREE.replace("\n", "\n    "), "--detect-blocking", separate=True)

    result.assert_outcomes(passed=2, failed=1)
    assert failed(result) == ["test_sleep"]


def test_asyncios_debug_mode(run, monkeypatch):
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    result = run(ALL_THREE, "--detect-blocking", separate=True)

    result.assert_outcomes(passed=1, failed=2)
    assert failed(result) == ["test_compute", "test_sleep"]


def test_blockbuster(run):
    """It raises at the calls that it knows, and ours names what it does not know; each gives back what it replaced."""
    test = """
    import time
    import pytest
    from blockbuster import BlockingError, blockbuster_ctx

    SLEEP = (time.sleep,)

    @pytest.fixture
    def buster():
        with blockbuster_ctx():
            yield

    async def test_compute(client, buster):
        await client.get("/compute")

    async def test_quick(client, buster):
        await client.get("/quick")

    async def test_sleep_with_it(client, buster):
        with pytest.raises(BlockingError):
            await client.get("/sleep")

    async def test_sleep_without_it(client):
        assert (time.sleep,) == SLEEP
        await client.get("/sleep")
    """
    result = run(test, "--detect-blocking", separate=True)

    result.assert_outcomes(passed=2, failed=2)
    assert failed(result) == ["test_compute", "test_sleep_without_it"]


def test_pytest_randomly_and_two_workers_make_one_report(run, pytester):
    options = ("-n", "2", "-p", "no:cacheprovider", "--blocking-report=blocks.json")
    test = ALL_THREE + "".join(ALL_THREE.replace("async def test_", f"async def test_{number}_") for number in range(3))
    result = run(test, "--detect-blocking", *options, separate=True, plugins=["randomly", "timeout"])

    result.assert_outcomes(passed=4, failed=8)
    blocks = json.loads((pytester.path / "blocks.json").read_text())["blocks"]
    tests = sorted(block["test"].partition("::")[2] for block in blocks)
    assert tests == failed(result)
    assert len(tests) == 8


@pytest.mark.skipif(os.name == "nt", reason="a pipe for a terminal")
@pytest.mark.parametrize("where", ["the test", "the app"])
def test_a_breakpoint_stops_the_judging(run, pytester, where):
    """Whoever reads the prompt takes his time."""
    run(
        f"""
        import app

        async def stop():
            breakpoint()

        app.PATHS["/stop"] = stop

        async def test_stop(client):
            if {where == "the test"}:
                breakpoint()
            await client.get("/stop" if {where == "the app"} else "/quick")
        """,
        "--collect-only",
        ini="asyncapi_blocking_scope = all\n",
    )
    options = ["-p", "pytest_asyncio.plugin", "-p", "pytest_asyncapi.plugin", "--detect-blocking"]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(pytester.path)}
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "pytest", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        shown = b""
        while not shown.endswith(b"(Pdb) "):
            shown += process.stdout.read(1)
        time.sleep(0.2)
        process.stdin.write(b"p 1 + 1\nc\n")
        process.stdin.flush()
        shown += process.stdout.read()

    assert b"1 passed" in shown
    assert b"event loop blocking" not in shown
