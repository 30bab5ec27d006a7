"""Templates beside the modules of a package."""

import sys
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from pipelines.templates import render


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_templates").mkdir()
    (tmp_path / "own_templates" / "__init__.py").write_text("")
    (tmp_path / "own_templates" / "greeting.j2").write_text("Good day, {{ name|loud }}.\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_templates", raising=False)
    return "own_templates"


def test_texts_are_escaped_in_html_alone(package: str) -> None:
    filters = {"loud": str.upper}
    assert render(package, "greeting.j2", {"name": "<b>"}, filters=filters) == "Good day, <B>.\n"
    assert render(package, "greeting.j2", {"name": "<b>"}, is_html=True, filters=filters) == "Good day, &lt;B&gt;.\n"


def test_a_value_that_is_not_given_is_an_error(package: str) -> None:
    with pytest.raises(UndefinedError, match="'name' is undefined"):
        render(package, "greeting.j2", {}, filters={"loud": str})
