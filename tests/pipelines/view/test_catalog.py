"""Outputs as they are opened, and again while their jobs run."""

from pathlib import Path

import duckdb
import pytest

from pipelines.storage.filesystem import Store, resolve
from pipelines.view import catalog as catalog_module
from pipelines.view.catalog import open_catalog
from pipelines.view.job_output import JobOutput
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
        catalog.refresh()
        [one] = catalog.outputs
        with catalog.cursor() as cursor:
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
    catalog.refresh()
    assert catalog.comparison is not None
    assert catalog.comparison.counts == {"equal": 3, "place": 0, "different": 0, "only_first": 2, "only_second": 0}


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
