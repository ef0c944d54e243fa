"""The page, looked at in a browser: at the width of a desk and of a phone, light and dark."""

import contextlib
import re
import shutil

import pytest

from tests.report.test_page import made, write

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; tox's `browser` has it")

FOUND = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
LOOKS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]
EVIL = "<img src=x onerror=alert(1)>"

pytestmark = pytest.mark.slow

# The contrast of each text with what is behind it, by WCAG 2's formula: those below 4.5.
CONTRAST = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (c) => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => [r, g, b].map((c) => linear(c / 255))
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const poor = [];
  for (const each of document.querySelectorAll("body *")) {
    const own = [...each.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !each.checkVisibility() || ["SCRIPT", "OPTION", "NOSCRIPT"].includes(each.tagName)) continue;
    let behind = each;
    while (behind && ["rgba(0, 0, 0, 0)", "transparent"].includes(getComputedStyle(behind).backgroundColor)) {
      behind = behind.parentElement;
    }
    const colours = [getComputedStyle(each).color, getComputedStyle(behind || document.body).backgroundColor];
    const pair = colours.map(rgb).map(light);
    const ratio = (Math.max(...pair) + .05) / (Math.min(...pair) + .05);
    if (ratio < 4.5) poor.push(`${each.className || each.tagName} ${ratio.toFixed(2)} ${each.textContent.slice(0, 9)}`);
  }
  return [...new Set(poor)];
}"""


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as driver:
        launch = driver.chromium.launch
        if FOUND is not None:
            started = launch(executable_path=FOUND, args=ARGUMENTS)
        else:
            with contextlib.suppress(sync_api.Error):
                started = launch(args=ARGUMENTS)
            if "started" not in locals():
                pytest.skip("there is no Chromium: apt-get install chromium, or python -m playwright install chromium")
        yield started
        started.close()


@pytest.fixture
def look(browser, tmp_path):
    """`look(tests)` opens their page; whatever the browser complains about fails the test."""
    complaints = []
    contexts = []

    def look(tests, width=1280, scheme="light"):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme))
        tab = contexts[-1].new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda request: complaints.extend([request.url] * request.url.startswith("http")))
        tab.goto(write(tests, tmp_path / "run.html").as_uri())
        return tab

    yield look
    for context in contexts:
        context.close()
    assert complaints == []


def failing(number=0):
    test = made(number, 30, "failed")
    test.message = "\n".join(f"E   assert {EVIL} {'long' * 60}" for _ in range(40))
    test.sections = [("upstream calls", "GET https://rates.example.com/" + "x" * 300)]
    return test


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_it_fits_and_can_be_read(look, width, scheme):
    tab = look([made(number, 12) for number in range(30)] + [failing(99)], width, scheme)
    tab.locator(".test .line").first.focus()
    tab.keyboard.press("ArrowRight")
    tab.get_by_text("All 30 events as a list").click()

    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate(CONTRAST) == []
    assert tab.locator("h1").inner_text() == "1 of 31 failed"
    dark = tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 31)"
    assert dark == (scheme == "dark")
    assert tab.screenshot().startswith(b"\x89PNG")


def test_the_failing_test_is_first_and_open(look):
    tab = look([made(1, 4), failing(7)])

    first = tab.locator("#tests > details").first
    assert first.get_attribute("open") is not None
    assert first.locator(".title b").inner_text() == "test_7"
    assert EVIL in first.locator("pre.message").inner_text()
    assert tab.locator("img").count() == 0
    assert [each.inner_text() for each in first.locator(".lane > .label").all()] == [
        "Requests",
        "SQL",
        "Redis",
        "Upstream",
    ]
    assert first.locator(".ev").count() == 30


def test_the_keyboard_goes_from_event_to_event(look):
    tab = look([made(1, 6)])
    line = tab.locator(".line")
    shown = tab.locator(".now")

    line.focus()
    seen = []
    for key in ("ArrowRight", "ArrowRight", "End", "ArrowRight", "ArrowLeft", "Home"):
        tab.keyboard.press(key)
        seen.append(shown.locator("code").inner_text())

    assert seen == ["request 1 0", "sql 1 1", "sql 1 5", "sql 1 5", "request 1 4", "request 1 0"]
    assert re.search(r"request 200 · took 3.0 ms · at 100 ms", shown.inner_text())
    assert tab.locator(".ev.at").count() == 1


def test_the_pointer_shows_an_event(look):
    tab = look([made(1, 6)])

    tab.locator(".lane.redis .ev").first.hover()

    assert tab.locator(".now code").inner_text() == "redis 1 2"
    assert tab.locator(".lane.redis .ev").first.get_attribute("title") == "redis 1 2 · 200 · 3.0 ms"


def test_finding(look):
    tab = look([made(number, 3) for number in range(1, 40)] + [failing(99)])

    tab.keyboard.press("/")
    tab.keyboard.type("test_3")
    sync_api.expect(tab.locator("#tests > details")).to_have_count(11)
    assert tab.locator("#shown").inner_text() == "11 of 40 tests"
    tab.fill("#find", "test_17 redis")
    sync_api.expect(tab.locator("#tests > details")).to_have_count(1)
    tab.fill("#find", "nowhere")
    tab.get_by_text("No test fits this filter.").wait_for()
    tab.locator("#reset").click()
    tab.select_option("#outcome", "failed")
    assert tab.locator("#tests > details").count() == 1
    tab.select_option("#outcome", "")
    tab.select_option("#order", "name")
    assert tab.locator(".title b").first.inner_text() == "test_1"


def test_the_call_alone(look):
    tab = look([made(1, 6)])

    tab.get_by_role("button", name="the call alone").click()

    assert tab.locator(".phases span").all_inner_texts() == ["call"]
    assert tab.get_by_role("button", name="the call alone").get_attribute("aria-pressed") == "true"


def test_two_thousand(look):
    tab = look([made(number, 20) for number in range(2000)])

    assert tab.locator("#tests > details").count() == 200
    tab.get_by_text("Show the other 1800 tests").click()
    assert tab.locator("#tests > details").count() == 2000
    tab.fill("#find", "test_1999")
    sync_api.expect(tab.locator("#tests > details")).to_have_count(1)


def test_empty(look):
    tab = look([])

    assert tab.locator("h1").inner_text() == "No test ran"
    assert tab.get_by_text("pytest has collected no test, or ended before the first.").is_visible()


def test_a_test_in_which_nothing_happened(look):
    tab = look([made(1, 0)])

    assert tab.get_by_text("No request, SQL, Redis command or upstream call was made").is_visible()
    assert tab.locator(".line").get_attribute("tabindex") is None


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_the_page_of_blocks(look, browser, tmp_path, width, scheme):
    from pytest_asyncapi.blocking.html import page
    from pytest_asyncapi.blocking.model import Block, Frame

    frames = tuple(Frame(f"/project/shop/module_{number}.py", number, "handler" * 3) for number in range(1, 6))
    block = Block(
        kind="waiting", site=frames[-1], call="time.sleep", named=True, remedy="await asyncio.sleep(...)",
        wall_ms=200, cpu_ms=1, charged_ms=200, limit_ms=0, region="request", request="GET /slow", stack=frames,
        test="test_it.py::test_it", started=1_700_000_000.0, total_ms=200,
    )  # fmt: skip
    (tmp_path / "blocks.html").write_text(page([block], "/project", 0.05))
    tab = look([], width, scheme)
    tab.goto((tmp_path / "blocks.html").as_uri())
    tab.locator("details > summary").first.click()

    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate(CONTRAST) == []
