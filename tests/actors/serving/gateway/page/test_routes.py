"""The pages for browsers: who gets them, and that nothing of them comes from elsewhere."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

import actors.serving.gateway.page
from actors.serving.gateway.page.routes import asks_for_page

STATIC = Path(actors.serving.gateway.page.__file__).parent / "static"
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"}
TOLD = {"error": "this path takes POST, not this method; /docs lists them", "reason": "wrong_method"}


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        ([BROWSER["Accept"]], True),
        (["application/json, TEXT/HTML;q=0.5"], True),
        (["application/json", "text/html"], True),
        (["application/xhtml+xml"], True),
        (["*/*"], False),
        (["text/*"], False),
        (["application/json"], False),
        (["text/htmlx"], False),
        ([""], False),
        ([], False),
    ],
)
def test_who_names_html_asks_for_the_page(accept: list[str], is_page: bool) -> None:
    scope = {"type": "http", "headers": [(b"accept", one.encode()) for one in accept]}
    assert asks_for_page(scope) is is_page


def test_browsers_get_the_page_and_clients_what_they_got(server: str) -> None:
    page = httpx2.get(server, headers=BROWSER)
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["Vary"] == "Accept"
    assert "<title>Spanmill</title>" in page.text
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        reply = httpx2.get(server, headers=headers)
        assert (reply.status_code, reply.json()) == (405, TOLD)
    assert httpx2.put(server, headers=BROWSER).json() == TOLD
    assert httpx2.post(server, headers=BROWSER, json={"inputs": "Ada"}).status_code == 200


def _policy(reply: httpx2.Response) -> dict[str, list[str]]:
    directives = (part.split() for part in reply.headers["Content-Security-Policy"].split(";"))
    return {name: values for name, *values in directives}


def test_no_page_may_load_or_send_anything_elsewhere(server: str) -> None:
    for path, trusted in (("/", True), ("/docs", False), ("/page/main.js", True)):
        reply = httpx2.get(f"{server}{path}", headers=BROWSER)
        policy = _policy(reply)
        assert (policy["default-src"], policy["script-src"], policy["connect-src"]) == (
            ["'none'"],
            ["'self'"],
            ["'self'"],
        )
        assert policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == ["'none'"]
        assert ("require-trusted-types-for" in policy) is trusted
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert not {value for values in policy.values() for value in values} & {"*", "http:", "https:", "'unsafe-eval'"}


def _named(folder: Path) -> Iterator[tuple[Path, str]]:
    """What the files of the pages name: in attributes of HTML, and in imports of scripts."""
    for path in folder.rglob("*.html"):
        yield from ((path, name) for name in re.findall(r'(?:src|href)="([^"#]+)"', path.read_text()))
    for path in folder.rglob("*.js"):
        yield from ((path, name) for name in re.findall(r'^import .* from "(.*)";$', path.read_text(), re.MULTILINE))


def test_everything_that_they_load_is_there(server: str) -> None:
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".json": "application/json"}
    named = list(_named(STATIC))
    assert len(named) > 15
    for path, name in named:
        base = f"{server}/page/{path.relative_to(STATIC)}" if path.suffix == ".js" else f"{server}/"
        reply = httpx2.get(httpx2.URL(base).join(name), headers=BROWSER)
        assert reply.status_code == 200, (path, name)
        assert reply.headers["Content-Type"].startswith(kinds.get(Path(name).suffix, "text/html")), (path, name)


def test_the_pages_hold_no_script_or_style_of_their_own_and_no_address_of_others() -> None:
    for path in STATIC.rglob("*.*"):
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//cdn|@import|innerHTML|\beval\(", text), path
        if path.suffix == ".html":
            assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text), path


@pytest.mark.parametrize(
    "path",
    [
        "/page/../routes.py",
        "/page/%2e%2e/routes.py",
        "/page/views",
        "/page/",
        "/page/%00",
        "/docs/main.js",
        "/docs/favicon-32x32.png",
        "/docs/../main.py",
    ],
)
def test_no_other_file_is_given(server: str, path: str) -> None:
    # httpx2 tidies a path before it asks, as browsers do; this asks for it as it is.
    with httpx2.Client(base_url=server) as client:
        request = client.build_request("GET", "/")
        request.url = request.url.copy_with(raw_path=path.encode())
        reply = client.send(request)
    assert (reply.status_code, reply.json()["reason"]) == (404, "unknown_path")


def test_what_a_browser_has_is_not_sent_again(server: str) -> None:
    first = httpx2.get(f"{server}/page/style.css")
    assert first.headers["Cache-Control"] == "no-cache"
    again = httpx2.get(f"{server}/page/style.css", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
