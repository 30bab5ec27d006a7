"""Queries in threads, which end when nobody waits for them any more."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import anyio
import duckdb
from fastapi import Request

from pipelines.view.catalog import Catalog

T = TypeVar("T")

_LOOK_SECONDS = 0.2


@dataclass
class Asker:
    """Runs the queries of requests on cursors of one catalog."""

    catalog: Catalog
    _running: set[duckdb.DuckDBPyConnection] = field(default_factory=set)

    async def ask(self, http: Request, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """What the work gives in a thread; its query is broken off where the browser has gone on to something else.

        Raises:
            duckdb.InterruptException: it was broken off.
        """
        cursor = self.catalog.cursor()
        self._running.add(cursor)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_interrupt_when_gone, http, cursor)
                outcome = await anyio.to_thread.run_sync(_outcome, work, cursor)
                group.cancel_scope.cancel()
        finally:
            self._running.discard(cursor)
            cursor.close()
        # Not raised within the group, which would put it into a group of errors.
        if isinstance(outcome, _Failed):
            raise outcome.error
        return outcome

    def stop(self) -> None:
        """Breaks off all queries."""
        for cursor in tuple(self._running):
            cursor.interrupt()


@dataclass(frozen=True)
class _Failed:
    error: Exception


def _outcome(work: Callable[[duckdb.DuckDBPyConnection], T], cursor: duckdb.DuckDBPyConnection) -> T | _Failed:
    try:
        return work(cursor)
    except Exception as error:
        return _Failed(error)


async def _interrupt_when_gone(http: Request, cursor: duckdb.DuckDBPyConnection) -> None:
    while not await http.is_disconnected():
        await anyio.sleep(_LOOK_SECONDS)
    cursor.interrupt()
