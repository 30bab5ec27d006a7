"""Pictures of pages for the documentation."""

import base64
import io
from pathlib import Path

from PIL import Image

from tests.browser import Browser

COLOURS = 256
"""Enough for text, lines and bars, and the files are small."""
_MARGIN = 12


def take_between(browser: Browser, first: str, last: str, width: int, file: Path) -> None:
    """Takes what lies from the top of one element to the bottom of another, as wide as the screen is."""
    browser.run("scrollTo(0, 0)")
    top, bottom = browser.run(
        "return [document.querySelector(arguments[0]).getBoundingClientRect().top + scrollY,"
        "document.querySelector(arguments[1]).getBoundingClientRect().bottom + scrollY]",
        first,
        last,
    )
    top = max(top - _MARGIN, 0)
    take(browser, top, width, bottom + _MARGIN - top, file)


def take(browser: Browser, top: float, width: float, height: float, file: Path) -> None:
    """Takes a part of a page, in CSS pixels from its top."""
    clip = {"x": 0, "y": top, "width": width, "height": height, "scale": 1}
    shot = browser.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    picture = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
