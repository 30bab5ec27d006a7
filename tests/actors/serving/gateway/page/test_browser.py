"""The pages in a real browser: Debian's Chromium, by the driver that comes with it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.serving.parameters import KeyParameters
from tests.actors.serving.conftest import Serve
from tests.waiting import until

pytestmark = pytest.mark.more

PHONE = (390, 844)
HARD = '🦆 it\'s "quoted" \\ $HOME `x` <b>Ada</b> Lovelace was born in London in 1815.\nShe wrote the first program.'
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--window-size=1280,900",
)  # fmt: skip


class Browser:
    """A browser with the words of this test."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def run(self, script: str, *values: object) -> Any:
        """What a script of the test gives, run in the page."""
        return self.driver.execute_script(script, *values)

    def all(self, selector: str) -> list[Any]:
        found: list[Any] = self.driver.find_elements("css selector", selector)
        return found

    def shown(self, selector: str) -> Any:
        """The first such element, once it can be seen."""
        until(lambda: any(one.is_displayed() for one in self.all(selector)))
        return next(one for one in self.all(selector) if one.is_displayed())

    def text(self, selector: str) -> str:
        """The text of the first such element, as it is in the document."""
        return str(self.run("return document.querySelector(arguments[0]).textContent", selector))

    def write(self, selector: str, text: str) -> None:
        """Puts a text into a field. Keys would leave out what the keyboard's map lacks."""
        self.run(
            "const field = document.querySelector(arguments[0]); field.value = arguments[1];"
            "field.dispatchEvent(new Event('input', { bubbles: true }))",
            selector,
            text,
        )

    def faults(self) -> list[str]:
        """What the page and the policy complained of; that a request was refused is none."""
        entries = self.driver.get_log("browser")
        return [one["message"] for one in entries if "Failed to load resource" not in one["message"]]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is missing: `make test-more` installs it")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("Chromium or its driver is missing: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    running = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield Browser(running)
    finally:
        running.quit()


def _run(browser: Browser, name: str, shell: Callable[[str], list[str]]) -> Any:
    """What the command that the page shows prints."""
    command = shell(browser.text(f"[data-code={name}] code"))
    environment = {"PATH": os.environ["PATH"], "SPANMILL_KEY": "second", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, capture_output=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def test_a_question_is_answered_and_its_request_can_be_copied(browser: Browser, server: str) -> None:
    browser.open(server)
    browser.shown("h1")
    browser.write("#passage", HARD)
    browser.write("#questions", "Where was Ada Lovelace born?\n\nHow many goats live on the moon?\n")
    browser.write("#top-k", "2")
    browser.shown("#abstain").click()
    browser.shown("form button[type=submit]").click()
    browser.shown("mark")
    assert browser.text("#marked mark").endswith("London1")
    assert browser.run("return document.querySelectorAll('.question').length") == 2
    assert browser.text(".question:nth-of-type(2) strong") == "No answer in this passage"
    assert "answered in" in browser.text(".status")

    by_curl = json.loads(_run(browser, "curl", lambda code: ["bash", "-c", code]))
    by_python = _run(browser, "Python", lambda code: [sys.executable, "-c", code])
    assert [one["answer"] for row in by_curl["answers"] for one in row[:1]] == ["London", None]
    assert "'answer': 'London'" in by_python
    assert not browser.faults()


def test_it_fits_a_phone_and_the_keyboard(browser: Browser, server: str) -> None:
    browser.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": PHONE[0], "height": PHONE[1], "deviceScaleFactor": 1, "mobile": True},
    )
    browser.open(server)
    browser.shown("h1")
    too_wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.run(too_wide) == 0
    reached = []
    for _ in range(9):
        browser.driver.switch_to.active_element.send_keys("\ue004")  # Tab
        reached.append(browser.run("const at = document.activeElement; return at.id || at.textContent"))
    assert reached[-5:] == ["passage", "questions", "top-k", "abstain", "Find answers"]
    browser.driver.switch_to.active_element.send_keys("\ue007")  # Enter
    browser.shown("mark")
    assert browser.run(too_wide) == 0
    unnamed = "return [...document.querySelectorAll('input, textarea')].filter((one) => !one.labels.length).length"
    assert browser.run(unnamed) == 0
    assert not browser.faults()


def test_with_keys_it_asks_for_one_and_keeps_it_in_the_tab(
    browser: Browser, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPANMILL_TEST_KEYS", "first,second")
    url = serve(keys=KeyParameters(variable="SPANMILL_TEST_KEYS"))
    browser.open(url)
    field = browser.shown("#key-field")
    assert "wants an API key" in browser.text("#notice")
    field.send_keys("wrong\ue007")
    until(lambda: "does not know this API key" in browser.text("#notice"))
    field.send_keys("second\ue007")
    browser.shown("h1")
    browser.shown("main button[type=submit]").click()
    browser.shown("mark")
    assert "second" not in browser.text("body")
    assert "London" in _run(browser, "curl", lambda code: ["bash", "-c", code])
    assert browser.run("return [localStorage.length, document.cookie, sessionStorage.length]") == [0, "", 1]


def test_what_is_refused_is_said_in_a_sentence(browser: Browser, server: str) -> None:
    browser.open(server)
    browser.shown("h1")
    browser.write("#questions", "Why?\n" * 300)
    browser.shown("main button[type=submit]").click()
    browser.shown(".status.refused")
    assert browser.text(".status") == "300 inputs are more than 256; send them in parts."


def test_texts_are_compared(browser: Browser, server: str) -> None:
    browser.open(f"{server}/#similarity")
    browser.shown("#source")
    browser.shown("main button[type=submit]").click()
    browser.shown(".similar li")
    assert "born in London" in browser.text(".similar li:first-child")
    scores = json.loads(_run(browser, "curl", lambda code: ["bash", "-c", code]))
    assert f"{max(scores):.3f}" in browser.text(".similar li:first-child")
    assert not browser.faults()


def test_the_routes_can_be_tried_with_a_key(browser: Browser, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPANMILL_TEST_KEYS", "first,second")
    browser.open(f"{serve(keys=KeyParameters(variable='SPANMILL_TEST_KEYS'))}/docs")
    browser.shown("button.authorize").click()
    browser.shown(".auth-container input").send_keys("second")
    browser.shown(".auth-btn-wrapper button.authorize").click()
    browser.shown(".btn-done").click()
    route = "#operations-Spanmill-answer_answer_post"
    browser.shown(f"{route} .opblock-summary-control").click()
    browser.shown(f"{route} .execute").click()
    browser.shown(f"{route} .live-responses-table")
    assert "London" in browser.text(f"{route} .live-responses-table")
    assert not browser.faults()
