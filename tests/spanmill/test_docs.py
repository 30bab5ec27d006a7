"""docs/python.md and the docstrings, run as they are written, in a folder with the sample corpus."""

import doctest
from pathlib import Path

import pytest

from spanmill import embedder, question_answering

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.mark.parametrize("module", [embedder, question_answering])
def test_docstrings(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


@pytest.mark.more
def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    monkeypatch.chdir(tmp_path)
    found = doctest.testfile(str(ROOT / "docs" / "python.md"), module_relative=False)
    assert found.attempted > 12
    assert found.failed == 0
