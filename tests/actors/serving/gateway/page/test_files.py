"""Files of a folder as browsers get them."""

from pathlib import Path

import anyio
import pytest
from starlette.exceptions import HTTPException

from actors.serving.gateway.page.files import PageFiles

SCOPE = {"type": "http", "method": "GET", "headers": []}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "static" / "parts").mkdir(parents=True)
    (tmp_path / "static" / "parts" / "a.js").write_text("1")
    (tmp_path / "static" / "b.css").write_text("2")
    (tmp_path / "secret.js").write_text("3")
    return tmp_path / "static"


def test_a_file_comes_with_the_policies_and_what_is_added(folder: Path) -> None:
    response = anyio.run(PageFiles(folder).response, "parts/a.js", SCOPE, {"X-More": "1"})
    assert response.status_code == 200
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["X-More"] == "1"


@pytest.mark.parametrize("name", ["../secret.js", "parts", "", "parts/../b.css", "c.js", "/b.css"])
def test_no_other_path_is_looked_for(folder: Path, name: str) -> None:
    with pytest.raises(HTTPException) as refused:
        anyio.run(PageFiles(folder).response, name, SCOPE)
    assert refused.value.status_code == 404


def test_names_may_be_fewer_than_there_are_files(folder: Path) -> None:
    files = PageFiles(folder, ("b.css",))
    assert anyio.run(files.response, "b.css", SCOPE).status_code == 200
    with pytest.raises(HTTPException):
        anyio.run(files.response, "parts/a.js", SCOPE)
