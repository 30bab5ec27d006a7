"""Queries that nobody waits for any more."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import duckdb
import pytest
from fastapi import Request

from pipelines.view.catalog import Catalog, open_catalog
from pipelines.view.server.asking import Asker
from tests.pipelines.view.outputs import ANSWERS, TOWNS, write_output

ENDLESS = "SELECT count(*) FROM range(1000000000000) AS a, range(1000000) AS b"


@pytest.fixture
def asker(tmp_path: Path) -> Iterator[Asker]:
    output = write_output(tmp_path / "out", TOWNS, ANSWERS, folder=tmp_path)
    with open_catalog([output], lambda said: None) as catalog:
        yield Asker(catalog)


def _request(is_gone: threading.Event) -> Request:
    async def receive() -> dict[str, str]:
        while not is_gone.is_set():
            await anyio.sleep(0.01)
        return {"type": "http.disconnect"}

    return Request({"type": "http", "headers": []}, receive)


def _count(cursor: duckdb.DuckDBPyConnection) -> int:
    return int(cursor.execute("SELECT 7").fetchall()[0][0])


def _run(asker: Asker, http: Request, sql: str) -> None:
    anyio.run(asker.ask, http, lambda cursor: cursor.execute(sql).fetchall())


def test_what_a_query_gives_comes_back(asker: Asker) -> None:
    assert anyio.run(asker.ask, _request(threading.Event()), _count) == 7


def test_an_error_is_the_error_itself(asker: Asker) -> None:
    with pytest.raises(duckdb.CatalogException):
        _run(asker, _request(threading.Event()), "SELECT * FROM nowhere")


def test_a_query_ends_when_the_browser_is_gone(asker: Asker) -> None:
    is_gone = threading.Event()
    threading.Timer(0.3, is_gone.set).start()
    with pytest.raises(duckdb.InterruptException):
        _run(asker, _request(is_gone), ENDLESS)


def test_a_query_ends_when_the_command_is_stopped(asker: Asker) -> None:
    def stop() -> None:
        while not asker._running:
            time.sleep(0.01)
        time.sleep(0.2)
        asker.stop()

    threading.Thread(target=stop).start()
    with pytest.raises(duckdb.InterruptException):
        _run(asker, _request(threading.Event()), ENDLESS)
    assert not asker._running


def test_many_are_asked_at_once(asker: Asker) -> None:
    found: list[int] = []

    async def ask() -> None:
        found.append(await asker.ask(_request(threading.Event()), _count))

    async def many() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(ask)

    anyio.run(many)
    assert found == [7] * 20
    assert isinstance(asker.catalog, Catalog)
