"""The application: the page and its files, and what the page asks for, all of it read and nothing written."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import duckdb
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from actors.serving.gateway.errors import refusal_of
from actors.serving.gateway.key_limits import KeyUse
from actors.serving.gateway.middleware.auth import AuthMiddleware
from actors.serving.gateway.page.files import PAGE_FOLDER, PAGE_POLICY, SECURITY, PageFiles
from actors.serving.gateway.protocols.base import ErrorResponses
from actors.serving.types import Refusal
from actors.tenants import DEFAULT_TENANT
from actors.version import release
from pipelines.errors import MissingError, StorageError
from pipelines.output.parts import REPORT_HTML
from pipelines.storage.filesystem import read_bytes
from pipelines.storage.url import redact
from pipelines.view.catalog import Catalog, OpenOutput
from pipelines.view.comparison import Comparison, PairQuery, count_pairs, list_pairs
from pipelines.view.figures import job_figures, output_summary
from pipelines.view.row_query import Condition, QueryError, RowQuery, score_conditions
from pipelines.view.row_tables import RowKey, RowTable
from pipelines.view.rows import MOST_ROWS, count_rows, find_keys, frequent_values, list_rows
from pipelines.view.server.asking import Asker
from pipelines.view.server.host_check import HostCheckMiddleware
from pipelines.view.whole_row import outline, read_item, read_row, read_value, to_json

_OURS = Path(__file__).parents[1] / "static"
_DATA = {**SECURITY, "Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin"}
# The report is a file of the output, by whomever that was written: it is shown, and nothing in it runs.
_REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; sandbox"
)
_WINDOWS = ("attention",)
"""Heavy columns whose values are lists of large items, which are given one at a time."""
_SHOWN_WHOLE = ("tokens", "attribution")
"""Heavy columns that are given as they are; of all others an outline is."""
_REFUSALS: dict[type[Exception], tuple[int, str]] = {
    QueryError: (422, "invalid"),
    MissingError: (404, "missing"),
    StorageError: (502, "storage"),
    duckdb.InterruptException: (499, "interrupted"),
    duckdb.Error: (500, "query"),
}

Output = Annotated[int, Query(ge=0, le=1)]
Offset = Annotated[int, Query(ge=0, le=1 << 50)]
Limit = Annotated[int, Query(ge=1, le=MOST_ROWS)]


def build_view(catalog: Catalog, keys: tuple[bytes, ...], names: Collection[str] | None) -> tuple[FastAPI, Asker]:
    """The application, and what stops its queries.

    Args:
        keys: of who may ask for rows; empty lets anybody ask who reaches the server.
        names: names besides those of loopback by which the server is reached; None takes any.
    """
    app = FastAPI(title="Spanmill view", version=release(), docs_url=None, redoc_url=None, openapi_url=None)
    errors = ErrorResponses([], retry_after_seconds=1)
    asker = Asker(catalog)
    _add_pages(app)
    _add_rows(app, asker)
    _add_jobs(app, asker, has_keys=bool(keys))
    _handle_errors(app, errors)
    if keys:
        uses: dict[bytes | None, KeyUse] = {key: KeyUse(DEFAULT_TENANT) for key in keys}
        app.add_middleware(AuthMiddleware, keys=uses, error_responses=errors)
    if names is not None:
        app.add_middleware(HostCheckMiddleware, names=names)
    return app, asker


def _add_pages(app: FastAPI) -> None:
    shared, ours = PageFiles(PAGE_FOLDER), PageFiles(_OURS)
    policy = {"Content-Security-Policy": PAGE_POLICY}

    @app.get("/")
    async def page(http: Request) -> Response:
        return await ours.response("index.html", http.scope, policy)

    @app.get("/page/view/{file:path}")
    async def our_file(file: str, http: Request) -> Response:
        return await ours.response(file, http.scope, policy)

    @app.get("/page/{file:path}")
    async def shared_file(file: str, http: Request) -> Response:
        return await shared.response(file, http.scope, policy)


def _add_rows(app: FastAPI, asker: Asker) -> None:
    catalog = asker.catalog

    @app.get("/api/rows")
    async def rows(http: Request, asked: _Asked, offset: Offset = 0, limit: Limit = 50) -> Response:
        table, query = asked.of(catalog)

        def work(cursor: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
            found = list_rows(cursor, table, find_keys(cursor, table, query, offset, limit), query.search)
            return [row.to_json() for row in found]

        return _json({"rows": await asker.ask(http, work), "offset": offset})

    @app.get("/api/count")
    async def count(http: Request, asked: _Asked) -> Response:
        table, query = asked.of(catalog)
        return _json({"count": await asker.ask(http, lambda cursor: count_rows(cursor, table, query))})

    @app.get("/api/values")
    async def values(http: Request, asked: _Asked, column: str) -> Response:
        table, _ = asked.of(catalog)
        return _json({"values": await asker.ask(http, lambda cursor: frequent_values(cursor, table, column))})

    @app.get("/api/row")
    async def row(http: Request, key: _Key, output: Output = 0) -> Response:
        opened = _opened(catalog, output)

        def work(_: duckdb.DuckDBPyConnection) -> dict[str, Any]:
            found = read_row(opened.output, opened.rows, key)
            passage = opened.passages.carried(found.values)
            return {"key": str(key), "values": found.values, "heavy": found.heavy, "passage": passage}

        return _json(await asker.ask(http, work))

    @app.get("/api/passage")
    async def passage(http: Request, key: _Key, output: Output = 0) -> Response:
        opened = _opened(catalog, output)

        def work(_: duckdb.DuckDBPyConnection) -> object:
            values = read_row(opened.output, opened.rows, key).values
            best = next(iter(values.get("answers") or ()), None) if "answers" in values else values
            reader = opened.passages
            return reader.carried(values) or reader.of_input(key, reader.id_in_input(values), best)

        return _json(await asker.ask(http, work))

    @app.get("/api/value")
    async def value(http: Request, key: _Key, column: str, output: Output = 0, item: int = 0) -> Response:
        opened = _opened(catalog, output)
        if column not in opened.rows.columns.heavy:
            raise QueryError(f"there is no column {column!r} that is read by itself")
        return _json(await asker.ask(http, lambda _: _part_of(opened, key, column, item)))


def _add_jobs(app: FastAPI, asker: Asker, has_keys: bool) -> None:
    catalog = asker.catalog

    @app.get("/api/job")
    async def job(http: Request) -> Response:
        def work(cursor: duckdb.DuckDBPyConnection) -> dict[str, Any]:
            catalog.refresh(cursor)
            comparison = catalog.comparison and catalog.comparison.to_json()
            outputs = [output_summary(opened) for opened in catalog.outputs]
            return {"outputs": outputs, "comparison": comparison, "keys": has_keys, "release": release()}

        return _json(await asker.ask(http, work))

    @app.get("/api/figures")
    async def figures(http: Request, output: Output = 0) -> Response:
        opened = _opened(catalog, output)
        return _json(await asker.ask(http, lambda _: job_figures(opened.output)))

    @app.get("/api/pairs")
    async def pairs(http: Request, asked: _Pairs, offset: Offset = 0, limit: Limit = 50) -> Response:
        comparison = _comparison(catalog)
        found = await asker.ask(http, lambda cursor: list_pairs(cursor, comparison, asked, offset, limit))
        return _json({"pairs": [pair.to_json() for pair in found], "offset": offset})

    @app.get("/api/pairs/count")
    async def pair_count(http: Request, asked: _Pairs) -> Response:
        comparison = _comparison(catalog)
        return _json({"count": await asker.ask(http, lambda cursor: count_pairs(cursor, comparison, asked))})

    @app.get("/report")
    async def report(http: Request, output: Output = 0) -> Response:
        store = _opened(catalog, output).output.store
        data = await asker.ask(http, lambda _: read_bytes(store.fs, store.path(REPORT_HTML)))
        headers = {**_DATA, "Content-Security-Policy": _REPORT_POLICY}
        return Response(data, media_type="text/html; charset=utf-8", headers=headers)


class _RowsAsked:
    """What the address of a request says of the rows that are wanted."""

    def __init__(
        self,
        output: Output = 0,
        table: str = "rows",
        q: str = "",
        where: Annotated[list[str], Query()] = [],  # noqa: B006
        least: float | None = None,
        most: float | None = None,
        answered: bool | None = None,
        sort: str = "",
        descending: bool = False,
    ) -> None:
        conditions = (*map(Condition.parse, where), *score_conditions(least, most, answered))
        self._output, self._table = output, table
        self._query = RowQuery(q, conditions, sort, descending)

    def of(self, catalog: Catalog) -> tuple[RowTable, RowQuery]:
        """The table and the query. Raises QueryError where there is no such table."""
        opened = _opened(catalog, self._output)
        tables = {"rows": opened.rows, "quarantine": opened.quarantine}
        if self._table not in tables:
            raise QueryError(f"there are rows and quarantine, and no {self._table!r}")
        return tables[self._table], self._query


def _pairs_asked(q: str = "", agreement: str = "", sort: str = "", descending: bool = False) -> PairQuery:
    return PairQuery(q, agreement, sort, descending)


def _key(key: str) -> RowKey:
    numbers = key.split("-")
    if len(numbers) != 3 or not all(one.isascii() and one.isdigit() and len(one) < 16 for one in numbers):
        raise QueryError("a row is named by three numbers, as 0-12-345: its unit, its shard and its place there")
    return RowKey(*map(int, numbers))


_Asked = Annotated[_RowsAsked, Depends()]
_Pairs = Annotated[PairQuery, Depends(_pairs_asked)]
_Key = Annotated[RowKey, Depends(_key)]


def _opened(catalog: Catalog, number: int) -> OpenOutput:
    if number >= len(catalog.outputs):
        raise QueryError("there is no second output; name it as OTHER: spanmill view OUTPUT OTHER")
    return catalog.outputs[number]


def _comparison(catalog: Catalog) -> Comparison:
    if catalog.comparison is None:
        raise QueryError("nothing is compared: name a second output, spanmill view OUTPUT OTHER, with rows in both")
    return catalog.comparison


def _part_of(opened: OpenOutput, key: RowKey, column: str, item: int) -> dict[str, Any]:
    """What is sent of a heavy value at once."""
    if column in _WINDOWS:
        window = read_item(opened.output, opened.rows, key, column, item)
        return {"value": None} if window is None else {"items": window.items, "item": item, "value": window.value}
    value = read_value(opened.output, opened.rows, key, column)
    if column in _SHOWN_WHOLE or value is None:
        return {"value": value}
    return {"outline": outline(value)}


def _json(value: object) -> Response:
    return Response(to_json(value), media_type="application/json", headers=_DATA)


def _handle_errors(app: FastAPI, errors: ErrorResponses) -> None:
    async def handle(http: Request, error: Exception) -> Response:
        response = errors.response(http.scope, _refusal(error))
        response.headers.update(_DATA)
        return response

    # Of any other the server logs the traceback once this has answered.
    for kind in (*_REFUSALS, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, handle)


def _refusal(error: Exception) -> Refusal:
    for kind, (status, reason) in _REFUSALS.items():
        if isinstance(error, kind):
            return Refusal(status, reason, redact(str(error)))
    if isinstance(error, HTTPException) and error.status_code == 404:
        return Refusal(404, "unknown_path", "there is no such page here")
    if isinstance(error, HTTPException) and error.status_code == 405:
        return Refusal(405, "wrong_method", "nothing here can be changed; ask with GET")
    if isinstance(error, RequestValidationError | HTTPException):
        return refusal_of(error)
    return Refusal(500, "internal", "something went wrong here; what it was stands where spanmill view was started")
