"""A browser for the pages of the service."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import Browser, headless


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A browser with a profile of its own."""
    with headless(tmp_path / "profile") as running:
        yield running
