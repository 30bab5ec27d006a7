"""The application over HTTP: what it gives, and what it refuses."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from starlette.testclient import TestClient

import actors.serving.gateway.page
import pipelines.view
from pipelines.view.catalog import Catalog, open_catalog
from pipelines.view.server.app import build_view
from tests.pipelines.view.outputs import ANSWERS, TOWNS, Added, write_output

STATIC = Path(pipelines.view.__file__).parent / "static"
SHARED = Path(actors.serving.gateway.page.__file__).parent / "static"
WINDOWS = pa.list_(pa.struct([("first", pa.int32()), ("heads", pa.int32())]))
LOOKED_AT = pa.list_(pa.struct([("text", pa.string())]))
ADDED: Added = {
    "attention": (WINDOWS, lambda row: [{"first": 0, "heads": 1}, {"first": 9, "heads": 1}]),
    "attribution": (LOOKED_AT, lambda row: None if row["id"] == "q3" else [{"text": "Ada"}]),
    "embedding": (pa.list_(pa.float32(), 2), lambda row: [3.0, 4.0]),
}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    folder = tmp_path_factory.mktemp("both")
    first = write_output(folder / "first", TOWNS, ANSWERS, folder=folder, added=ADDED)
    (folder / "first" / "_report.html").write_text("<script>alert(1)</script>")
    second = write_output(folder / "second", TOWNS, {**ANSWERS, "q0": ("Ada", 0.5)}, folder=folder)
    with open_catalog([first, second], lambda said: None) as catalog:
        yield catalog


@pytest.fixture(scope="module")
def client(both: Catalog) -> TestClient:
    return TestClient(build_view(both, (), ("testserver",))[0])


def _get(client: TestClient, path: str, **parameters: Any) -> Any:
    reply = client.get(path, params=parameters)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_rows_and_their_number(client: TestClient) -> None:
    found = _get(client, "/api/rows", sort="score", descending=True, limit=2)
    assert [row["values"][0] for row in found["rows"]] == ["q0", "q3"]
    assert [row["key"] for row in found["rows"]] == ["0-0-0", "0-1-0"]
    assert _get(client, "/api/count", least=0.5)["count"] == 3
    assert _get(client, "/api/count", answered=False, most=0.7)["count"] == 1
    assert _get(client, "/api/count", where=['["title", "is", "Bo"]', '["score", "at_least", "0.5"]'])["count"] == 1
    assert _get(client, "/api/count", q="'; drop table rows_0_3; --")["count"] == 0
    assert _get(client, "/api/count", output=1)["count"] == 5
    assert _get(client, "/api/count", table="quarantine")["count"] == 1
    assert _get(client, "/api/values", table="quarantine", column="reason")["values"] == [["empty_question", 1]]


def test_one_row_with_its_passage_and_its_heavy_columns(client: TestClient) -> None:
    row = _get(client, "/api/row", key="0-0-0")
    assert (row["values"]["answer"], row["passage"]) == ("London", None)
    assert row["heavy"] == ["attention", "attribution", "embedding"]
    passage = _get(client, "/api/passage", key="0-0-0")
    assert (passage["source"], passage["texts"]["context"]) == ("input", "Ada was born in London.")
    window = _get(client, "/api/value", key="0-0-0", column="attention", item=1)
    assert window == {"items": 2, "item": 1, "value": {"first": 9, "heads": 1}}
    assert _get(client, "/api/value", key="0-1-0", column="attribution") == {"value": None}
    vector = _get(client, "/api/value", key="0-0-0", column="embedding")
    assert vector == {"outline": {"shape": [2], "norm": 5.0, "first": [3.0, 4.0]}}


def test_both_outputs_and_how_they_agree(client: TestClient) -> None:
    job = _get(client, "/api/job")
    assert [output["name"] for output in job["outputs"]] == ["first", "second"]
    assert job["comparison"]["agreement"] == 0.8
    assert not job["keys"]
    pairs = _get(client, "/api/pairs", sort="difference", descending=True, limit=1)["pairs"]
    assert (pairs[0]["id"], pairs[0]["agreement"], pairs[0]["difference"]) == ("q0", "different", 0.4)
    assert _get(client, "/api/pairs/count", agreement="equal")["count"] == 4
    assert _get(client, "/api/figures", output=1)["rows"] == 5


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/api/rows?sort=nope", 422, "there is no column 'nope'"),
        ("/api/rows?where=x", 422, "a JSON array"),
        ("/api/rows?limit=100000", 422, "limit"),
        ("/api/rows?offset=-1", 422, "offset"),
        ("/api/rows?table=manifest", 422, "there are rows and quarantine"),
        ("/api/rows?least=much", 422, "least"),
        ("/api/rows?output=7", 422, "output"),
        ("/api/row?key=0-0", 422, "three numbers"),
        ("/api/row?key=0-0-x", 422, "three numbers"),
        ("/api/row?key=0-0-99", 404, "has no row 99"),
        ("/api/value?key=0-0-0&column=score", 422, "no column 'score' that is read by itself"),
        ("/api/pairs?sort=row", 422, "none of these"),
        ("/api/nope", 404, "no such page"),
        ("/page/../server/app.py", 404, "no such page"),
        ("/page/view/../catalog.py", 404, "no such page"),
        ("/page/view/%2e%2e/catalog.py", 404, "no such page"),
    ],
)
def test_refusals_are_sentences(client: TestClient, path: str, status: int, said: str) -> None:
    reply = client.get(path)
    assert reply.status_code == status, reply.text
    assert said in reply.json()["error"]


def test_a_second_output_is_asked_for_where_there_is_one(tmp_path: Path) -> None:
    output = write_output(tmp_path / "out", TOWNS, ANSWERS, folder=tmp_path)
    with open_catalog([output], lambda said: None) as catalog:
        client = TestClient(build_view(catalog, (), ("testserver",))[0])
        assert "spanmill view OUTPUT OTHER" in client.get("/api/pairs").json()["error"]
        assert "spanmill view OUTPUT OTHER" in client.get("/api/rows?output=1").json()["error"]
        (tmp_path / "out" / f"part-00000-00000-{output.parts.job8}.parquet").unlink()
        reply = client.get("/api/rows?sort=score")
        assert (reply.status_code, reply.json()["reason"]) == (500, "query")


def test_it_can_only_be_read(client: TestClient) -> None:
    for path in ("/api/rows", "/api/job", "/", "/report"):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            reply = client.request(method, path)
            assert (reply.status_code, reply.json()["error"]) == (405, "nothing here can be changed; ask with GET")


def test_what_nobody_foresaw_is_told_and_logged(both: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RecursionError("of a part")

    monkeypatch.setattr("pipelines.view.server.app.list_rows", fail)
    app, _ = build_view(both, (), ("testserver",))
    reply = TestClient(app, raise_server_exceptions=False).get("/api/rows")
    assert (reply.status_code, reply.json()["reason"]) == (500, "internal")
    assert reply.headers["Cache-Control"] == "no-store"
    with pytest.raises(RecursionError):
        # To the server, which logs it.
        TestClient(app).get("/api/rows")


def test_others_are_told_nothing(both: Catalog) -> None:
    app, _ = build_view(both, (b"secret",), None)
    client = TestClient(app)
    browser = {"Accept": "text/html"}
    for path in ("/api/rows", "/api/job", "/api/row?key=0-0-0", "/report"):
        reply = client.get(path, headers=browser)
        assert (reply.status_code, "rows" in reply.json()) == (401, False)
        assert client.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert client.get(path, headers={"Authorization": "Bearer secret"}).status_code == 200
    for path in ("/", "/page/view/main.js", "/page/dom.js"):
        assert client.get(path, headers=browser).status_code == 200
    assert client.get("/api/job", headers={"Authorization": "Bearer secret"}).json()["keys"]
    kept = TestClient(build_view(both, (), ())[0], base_url="http://evil.example")
    assert kept.get("/api/rows").status_code == kept.get("/").status_code == 421


def test_a_password_in_the_url_of_an_output_is_shown_to_nobody(tmp_path: Path) -> None:
    output = write_output("memory://ada:hush@host/out", TOWNS, ANSWERS, folder=tmp_path, storage={"secret": "hush"})
    with open_catalog([output], lambda said: None) as catalog:
        client = TestClient(build_view(catalog, (), ("testserver",))[0])
        replies = [client.get(path) for path in ("/api/job", "/api/rows", "/api/figures", "/api/row?key=0-0-0")]
        assert {reply.status_code for reply in replies} == {200}
        assert client.get("/api/job").json()["outputs"][0]["url"] == "memory://host/out"
        assert not any("hush" in reply.text for reply in replies)


def _policy(headers: Any) -> dict[str, list[str]]:
    directives = (part.split() for part in headers["Content-Security-Policy"].split(";"))
    return {name: values for name, *values in directives}


def test_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    for path in ("/", "/page/view/main.js", "/page/style.css"):
        reply = client.get(path)
        policy = _policy(reply.headers)
        assert policy["default-src"] == ["'none'"]
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == ["'self'"]
        assert "require-trusted-types-for" in policy
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
    for file in STATIC.rglob("*.*"):
        text = file.read_text()
        assert not re.search(
            r"https?://|//cdn|@import|innerHTML|outerHTML|insertAdjacent|\beval\(|document\.write", text
        ), file


def test_rows_are_data_that_no_other_page_may_use(client: TestClient) -> None:
    reply = client.get("/api/rows")
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert reply.headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in reply.headers


def test_nothing_in_the_report_of_an_output_runs(client: TestClient) -> None:
    reply = client.get("/report")
    policy = _policy(reply.headers)
    assert reply.headers["Content-Type"].startswith("text/html")
    assert policy["sandbox"] == []
    assert "script-src" not in policy
    assert policy["default-src"] == ["'none'"]


def test_everything_that_the_page_loads_is_there(client: TestClient) -> None:
    page = STATIC / "index.html"
    named = [(page, name) for name in re.findall(r'(?:src|href)="([^"#]+)"', page.read_text())]
    for path in STATIC.rglob("*.js"):
        named += [(path, name) for name in re.findall(r'^import .* from "(.*)";$', path.read_text(), re.MULTILINE)]
    assert len(named) > 30
    for path, name in named:
        base = (
            f"http://testserver/page/view/{path.relative_to(STATIC)}" if path.suffix == ".js" else "http://testserver/"
        )
        reply = client.get(str(client.base_url.join(base).join(name)))
        assert reply.status_code == 200, (path, name)
        exported = set(re.findall(r"^export (?:async )?(?:function\*?|const|class) (\w+)", reply.text, re.MULTILINE))
        for imported in re.findall(rf'^import {{ (.*) }} from "{re.escape(name)}";$', path.read_text(), re.MULTILINE):
            assert {one.split(" as ")[0] for one in imported.split(", ")} <= exported, (path, name)
