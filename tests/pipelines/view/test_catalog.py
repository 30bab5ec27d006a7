"""Outputs as they are opened, and again while their jobs run."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.errors import StorageError
from pipelines.storage.filesystem import Store, resolve
from pipelines.view import catalog as catalog_module
from pipelines.view.catalog import Catalog, open_catalog
from pipelines.view.comparison import Comparison, PairQuery, list_pairs
from pipelines.view.job_output import JobOutput, open_output
from pipelines.view.row_query import Condition, RowQuery
from pipelines.view.rows import count_rows, find_keys, list_rows
from tests.pipelines.s3_server import S3Server
from tests.pipelines.view.conftest import Open
from tests.pipelines.view.outputs import ANSWERS, TOWNS, write_output


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_module, "_AGAIN_SECONDS", 0.0)


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_what_a_running_job_commits_appears(tmp_path: Path, opened: Open, form: str) -> None:
    """Nothing at first, then two shards of three, then all of them and the mark of success."""
    words = f"output.format={form}"
    catalog = opened(write_output(tmp_path / "out", TOWNS, ANSWERS, words, folder=tmp_path, shards=0))

    def seen() -> tuple[int, bool, int]:
        with catalog.cursor() as cursor:
            catalog.refresh(cursor)
            [one] = catalog.outputs
            listed = list_rows(cursor, one.rows, find_keys(cursor, one.rows, RowQuery(), 0, 50))
            assert count_rows(cursor, one.rows, RowQuery()) == len(listed)
            assert [row.values[0] for row in listed] == ["q0", "q1", "q3", "q4", "q5"][: len(listed)]
            return len(listed), one.is_complete, count_rows(cursor, one.quarantine, RowQuery())

    assert seen() == (0, False, 0)
    write_output(tmp_path / "out", TOWNS, ANSWERS, words, folder=tmp_path, shards=1)
    assert seen() == (2, False, 0)
    write_output(tmp_path / "out", TOWNS, ANSWERS, words, folder=tmp_path)
    assert seen() == (5, True, 1)
    assert seen() == (5, True, 1)


def test_both_sides_of_a_comparison_may_still_run(tmp_path: Path, opened: Open) -> None:
    (tmp_path / "b").mkdir()
    catalog = opened(
        write_output(tmp_path / "first", TOWNS, ANSWERS, folder=tmp_path),
        write_output(tmp_path / "second", TOWNS, ANSWERS, folder=tmp_path / "b", shards=0),
    )
    assert catalog.comparison is None
    write_output(tmp_path / "second", TOWNS, ANSWERS, folder=tmp_path / "b", shards=2)
    with catalog.cursor() as cursor:
        catalog.refresh(cursor)
    assert catalog.comparison is not None
    assert catalog.comparison.counts == {"equal": 3, "place": 0, "different": 0, "only_first": 2, "only_second": 0}


def _sides(catalog: Catalog, comparison: Comparison) -> list[tuple[str, Any, Any]]:
    with catalog.cursor() as cursor:
        pairs = list_pairs(cursor, comparison, PairQuery(), 0, 50)
    return [(pair.id, pair.first and pair.first.values[0], pair.second and pair.second.values[0]) for pair in pairs]


def test_pairs_stay_with_the_rows_that_were_compared(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shard that a job commits last may be one in the middle: places after it are then other rows'."""
    (tmp_path / "b").mkdir()
    first = write_output(tmp_path / "first", TOWNS, ANSWERS, folder=tmp_path)
    middle = tmp_path / "first" / f"part-00000-00001-{first.parts.job8}.parquet"
    middle.rename(tmp_path / "kept")
    (tmp_path / "first" / "_SUCCESS").unlink()
    catalog = opened(first, write_output(tmp_path / "second", TOWNS, ANSWERS, folder=tmp_path / "b"))
    before = catalog.comparison
    assert before is not None
    expected = [("q0", "q0", "q0"), ("q1", "q1", "q1"), ("q3", None, "q3"), ("q4", "q4", "q4"), ("q5", "q5", "q5")]
    assert sorted(_sides(catalog, before)) == expected
    (tmp_path / "kept").rename(middle)
    with monkeypatch.context() as patched, catalog.cursor() as cursor:
        patched.setattr(catalog_module, "compare", _fail)
        with pytest.raises(duckdb.OutOfMemoryException):
            catalog.refresh(cursor)
    assert len(catalog.outputs[0].rows.shards) == 3
    assert catalog.comparison is before
    assert sorted(_sides(catalog, before)) == expected
    with catalog.cursor() as cursor:
        catalog.refresh(cursor)
    assert catalog.comparison.counts["equal"] == 5
    assert sorted(_sides(catalog, before)) == expected, "a request may have begun before"


def _fail(*_: object) -> Comparison:
    raise duckdb.OutOfMemoryException("no room")


def test_relations_of_before_are_dropped(tmp_path: Path, opened: Open) -> None:
    (tmp_path / "b").mkdir()
    catalog = opened(
        write_output(tmp_path / "first", TOWNS, ANSWERS, folder=tmp_path, shards=1),
        write_output(tmp_path / "second", TOWNS, ANSWERS, folder=tmp_path / "b"),
    )
    with catalog.cursor() as cursor:
        for shards in (1, 2, 3, None):
            write_output(tmp_path / "first", TOWNS, ANSWERS, folder=tmp_path, shards=shards)
            catalog.refresh(cursor)
        views = cursor.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
        tables = cursor.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    rows = {("rows_0_2",), ("rows_0_3",), ("rows_1_3",)}
    assert {view for view in views if view[0].startswith("rows")} == rows
    assert set(tables) == {("pairs_2_3",), ("pairs_3_3",)}


def test_nobody_waits_for_the_comparison_of_another(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = opened(write_output(tmp_path / "out", TOWNS, ANSWERS, folder=tmp_path, shards=1))
    entered, leave = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        entered.set()
        assert leave.wait(10)

    monkeypatch.setattr(Catalog, "_compare", slow)
    with ThreadPoolExecutor(2) as threads, catalog.cursor() as one, catalog.cursor() as other:
        compared = threads.submit(catalog.refresh, one)
        assert entered.wait(10)
        try:
            threads.submit(catalog.refresh, other).result(timeout=2)
            assert not compared.done()
        finally:
            leave.set()
        compared.result()


@pytest.mark.parametrize("place", ["a[1]*'x", "plain", "Ωmega ? ; --"])
def test_folders_of_all_names(tmp_path: Path, opened: Open, place: str) -> None:
    catalog = opened(write_output(tmp_path / place / "out", TOWNS, ANSWERS, folder=tmp_path))
    with catalog.cursor() as cursor:
        assert count_rows(cursor, catalog.outputs[0].rows, RowQuery("london")) == 1
        assert count_rows(cursor, catalog.outputs[0].quarantine, RowQuery()) == 1


@pytest.mark.parametrize("place", ["score=v2", "id=7/answer=base"])
def test_folders_named_as_columns_change_no_value(tmp_path: Path, opened: Open, place: str) -> None:
    catalog = opened(write_output(tmp_path / place / "out", TOWNS, ANSWERS, folder=tmp_path))
    rows = catalog.outputs[0].rows
    with catalog.cursor() as cursor:
        least = RowQuery(conditions=(Condition("score", "at_least", "0.5"), Condition("answer", "is", "London")))
        [found] = list_rows(cursor, rows, find_keys(cursor, rows, least, 0, 50))
    assert found.values[0] == "q0"
    assert found.values[3:5] == ("London", 0.9)


@pytest.mark.parametrize("linked", ["part-*.parquet", "_quarantine/*", "_quarantine"])
def test_parts_may_be_links_to_elsewhere(tmp_path: Path, opened: Open, linked: str) -> None:
    """As in a cache of a model hub, or under data versioning."""
    output = write_output(tmp_path / "out", TOWNS, ANSWERS, folder=tmp_path)
    for number, path in enumerate(list((tmp_path / "out").glob(linked))):
        path.symlink_to(path.rename(tmp_path / f"blob{number}"))
    catalog = opened(open_output(str(tmp_path / "out"), {}, {}))
    with catalog.cursor() as cursor:
        assert count_rows(cursor, catalog.outputs[0].rows, RowQuery("london")) == 1
        assert count_rows(cursor, catalog.outputs[0].quarantine, RowQuery()) == 1
    assert not catalog.outputs[0].output.in_place
    assert output.store.root == str(tmp_path / "out")


def test_damaged_parts_are_told_in_a_line(tmp_path: Path) -> None:
    """Of the first one the columns are read, of the others nothing before the outputs are compared."""
    (tmp_path / "b").mkdir()
    second = write_output(tmp_path / "second", TOWNS, ANSWERS, folder=tmp_path / "b")
    for number in (1, 0):
        output = write_output(tmp_path / f"out{number}", TOWNS, ANSWERS, folder=tmp_path)
        part = tmp_path / f"out{number}" / f"part-00000-0000{number}-{output.parts.job8}.parquet"
        part.write_bytes(part.read_bytes()[:-4] + b"none")
        with pytest.raises(StorageError, match=rf"out{number}\b.*(cannot read|damaged)"):
            open_catalog([output, second], lambda said: None).__enter__()


def test_no_query_reads_or_writes_another_file(tmp_path: Path, opened: Open) -> None:
    catalog = opened(write_output(tmp_path / "out", TOWNS, ANSWERS, folder=tmp_path))
    (tmp_path / "secret.csv").write_text("a\n1\n")
    for query in (
        f"SELECT * FROM read_csv('{tmp_path / 'secret.csv'}')",
        f"COPY (SELECT 1) TO '{tmp_path / 'written.csv'}'",
        "SET enable_external_access = true",
        f"SET allowed_directories = ['{tmp_path}']",
        "INSTALL httpfs",
        f"ATTACH '{tmp_path / 'other.duckdb'}'",
    ):
        with catalog.cursor() as cursor, pytest.raises(duckdb.Error):
            cursor.execute(query)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["input.jsonl", "out", "secret.csv"]


def test_what_was_read_is_gone_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    output = write_output(tmp_path / "out", TOWNS, ANSWERS, "output.format=jsonl", folder=tmp_path)
    with open_catalog([output], lambda said: None):
        assert list(place.iterdir())
    assert not list(place.iterdir())


def test_outputs_of_object_stores(s3: S3Server, tmp_path: Path, opened: Open) -> None:
    for form in ("parquet", "jsonl"):
        place = f"s3://bucket/{tmp_path.name}/{form}"
        output = write_output(place, TOWNS, ANSWERS, f"output.format={form}", folder=tmp_path, storage=s3.options)
        catalog = opened(output)
        with catalog.cursor() as cursor:
            one = catalog.outputs[0]
            assert count_rows(cursor, one.rows, RowQuery("london")) == 1
            assert len(list_rows(cursor, one.rows, find_keys(cursor, one.rows, RowQuery(), 3, 2))) == 2
            assert count_rows(cursor, one.quarantine, RowQuery()) == 1


def test_secrets_of_a_store_reach_no_query(s3: S3Server, tmp_path: Path, opened: Open) -> None:
    output: JobOutput = write_output(
        f"s3://bucket/{tmp_path.name}/out", TOWNS, ANSWERS, folder=tmp_path, storage=s3.options
    )
    store: Store = resolve(output.store.url, s3.options)
    assert s3.options["secret"] not in repr(output) + repr(store)
    catalog = opened(output)
    with catalog.cursor() as cursor:
        views = cursor.execute("SELECT sql FROM duckdb_views() WHERE NOT internal").fetchall()
        assert views == [], "parts of a store are read by the project's own storage, never by DuckDB"
