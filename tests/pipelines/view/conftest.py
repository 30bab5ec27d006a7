"""An output of two shards and one of three, in both formats, opened."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import duckdb
import pytest

from pipelines.view.catalog import Catalog, open_catalog
from pipelines.view.job_output import JobOutput
from tests.pipelines.view.outputs import ANSWERS, TOWNS, write_output

Open = Callable[..., Catalog]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens outputs for the length of a test: `opened(first, second)`."""
    with ExitStack() as stack:

        def open_them(*outputs: JobOutput) -> Catalog:
            return stack.enter_context(open_catalog(outputs, lambda said: None))

        yield open_them


@pytest.fixture(scope="session", params=["parquet", "jsonl"])
def towns(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> JobOutput:
    """TOWNS in three shards, complete, as Parquet and as JSONL. No test changes it."""
    folder = tmp_path_factory.mktemp("towns")
    return write_output(folder / "out", TOWNS, ANSWERS, f"output.format={request.param}", folder=folder)


@pytest.fixture(scope="session")
def catalog(towns: JobOutput) -> Iterator[Catalog]:
    """TOWNS, opened."""
    with open_catalog([towns], lambda said: None) as catalog:
        yield catalog


@pytest.fixture
def cursor(catalog: Catalog) -> Iterator[duckdb.DuckDBPyConnection]:
    """For queries of TOWNS."""
    with catalog.cursor() as made:
        yield made
