"""A real browser for pages: Debian's Chromium, by the driver that comes with it."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import until

PHONE = (390, 844)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--window-size=1280,900",
)  # fmt: skip


class Browser:
    """A browser with the words of tests."""

    def __init__(self, driver: Any) -> None:
        """Takes a driver of selenium."""
        self.driver = driver

    def open(self, url: str) -> None:
        """Opens a page."""
        self.driver.get(url)

    def run(self, script: str, *values: object) -> Any:
        """What a script of the test gives, run in the page."""
        return self.driver.execute_script(script, *values)

    def made(self, module: str, script: str, *values: object) -> Any:
        """What a script gives that has a module of the page as `part`, once its promise is kept."""
        body = (
            "const [name, values, done] = arguments;"
            f"import(name).then(async (part) => {{ {script} }})"
            ".then(done, (error) => done(`failed: ${error.stack}`));"
        )
        return self.driver.execute_async_script(body, f"/page/{module}", list(values))

    def all(self, selector: str) -> list[Any]:
        """All such elements."""
        found: list[Any] = self.driver.find_elements("css selector", selector)
        return found

    def shown(self, selector: str) -> Any:
        """The first such element, once it can be seen."""
        until(lambda: any(one.is_displayed() for one in self.all(selector)))
        return next(one for one in self.all(selector) if one.is_displayed())

    def text(self, selector: str) -> str:
        """The text of the first such element, as it is in the document."""
        return str(self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector))

    def texts(self, selector: str) -> list[str]:
        """The texts of all such elements."""
        script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)"
        found: list[str] = self.run(script, selector)
        return found

    def seen(self, selector: str) -> str:
        """The texts of all such elements in a row, without small numbers and what is for screen readers alone."""
        script = (
            "return [...document.querySelectorAll(arguments[0])].map((one) => { const copy = one.cloneNode(true);"
            "copy.querySelectorAll('.hidden, sup').forEach((more) => more.remove());"
            "return copy.textContent }).join('')"
        )
        return str(self.run(script, selector))

    def cells(self, rows: str) -> list[list[str]]:
        """The texts of the cells of such rows."""
        script = (
            "return [...document.querySelectorAll(arguments[0])]"
            ".map((row) => [...row.cells].map((cell) => cell.textContent))"
        )
        found: list[list[str]] = self.run(script, rows)
        return found

    def unnamed(self) -> int:
        """How many fields have no label."""
        fields = "document.querySelectorAll('input, textarea, select')"
        return int(self.run(f"return [...{fields}].filter((one) => !one.labels.length).length"))

    def click(self, selector: str) -> None:
        """Clicks such an element, once it can be seen, wherever the page is scrolled to."""
        self.run("arguments[0].scrollIntoView({ block: 'center' }); arguments[0].click()", self.shown(selector))

    def write(self, selector: str, text: str) -> None:
        """Puts a text into a field. Keys would leave out what the keyboard's map lacks."""
        self.run(
            "const field = document.querySelector(arguments[0]); field.value = arguments[1];"
            "field.dispatchEvent(new Event('input', { bubbles: true }))",
            selector,
            text,
        )

    def choose(self, selector: str, value: str) -> None:
        """Chooses an option of a select."""
        self.run(
            "const field = arguments[0]; field.value = arguments[1]; field.dispatchEvent(new Event('change'))",
            self.shown(selector),
            value,
        )

    def keys(self, keys: str) -> None:
        """Presses keys where the focus is."""
        self.driver.switch_to.active_element.send_keys(keys)

    def show_as(self, width: int, height: int, scheme: str = "light") -> None:
        """Has the screen be of another size, and the colours light or dark."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def too_wide(self) -> int:
        """Pixels by which the page is wider than the screen."""
        return int(self.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def command(self, code: str, shell: Callable[[str], list[str]]) -> str:
        """What the command prints that the page shows at a selector."""
        environment = {"PATH": os.environ["PATH"], "SPANMILL_KEY": "second", "PYTHONIOENCODING": "utf-8"}
        done = subprocess.run(shell(self.text(code)), capture_output=True, env=environment, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    def faults(self) -> list[str]:
        """What the page and the policy complained of; that a request was refused is none."""
        entries = self.driver.get_log("browser")
        return [one["message"] for one in entries if "Failed to load resource" not in one["message"]]


@contextmanager
def headless(profile: Path) -> Iterator[Browser]:
    """A browser with a profile of its own; the test is skipped where there is none on this machine."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is missing: `make test-more` installs it")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("Chromium or its driver is missing: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    running = webdriver.Chrome(options, webdriver.ChromeService(driver))
    running.set_script_timeout(120)
    # Elements get the focus as they do in the window in front.
    running.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})
    try:
        yield Browser(running)
    finally:
        running.quit()
