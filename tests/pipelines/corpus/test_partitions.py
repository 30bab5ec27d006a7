"""Folders named key=value are columns that can be carried."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.corpus.partitions import partitions_of
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import CorpusError
from pipelines.storage.url import Url
from tests.pipelines.helpers import jsonl, plan_of, qa_rows, rows_of, validate_all

DAYS = ("date=2024-01-01", "date=2024-01-02")


def _file(url: str) -> SourceFile:
    return SourceFile(Url(url), "a.jsonl", 1, "", "jsonl", None)


def _parquet(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def test_keys_and_values() -> None:
    url = "s3://bucket/odd=1/x/date=2024-01-01/at=10%3A30/n=__HIVE_DEFAULT_PARTITION__/=3/e=/odd=2/k=v.jsonl"
    assert partitions_of(_file(url)) == {"odd": "2", "date": "2024-01-01", "at": "10:30", "n": None, "e": ""}
    assert partitions_of(_file("/plain/a.jsonl")) == {}


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "json"])
def test_a_partition_is_carried(tmp_path: Path, suffix: str) -> None:
    rows = qa_rows(2)
    for day in DAYS:
        path = tmp_path / day / f"a.{suffix}"
        path.parent.mkdir()
        if suffix == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        else:
            path.write_bytes(jsonl(rows) if suffix == "jsonl" else jsonl([rows]))
    plan = plan_of(tmp_path, carry=("date",), shard_rows=1)
    assert plan.layout.carry == pa.schema({"date": pa.string()})
    found = rows_of(validate_all(plan))
    assert [row["date"] for row in found] == ["2024-01-01"] * 2 + ["2024-01-02"] * 2
    # A folder that is named itself, or a file in it, has its partition all the same.
    assert [row["date"] for row in rows_of(validate_all(plan_of(path, carry=("date",))))] == ["2024-01-02"] * 2


def test_a_column_of_the_file_goes_before(tmp_path: Path) -> None:
    _parquet(tmp_path / DAYS[0] / "a.parquet", pa.Table.from_pylist([{**qa_rows(1)[0], "date": "own"}]))
    (tmp_path / DAYS[1]).mkdir()
    lines = jsonl([{**qa_rows(1)[0], "date": None}, qa_rows(1)[0]])
    (tmp_path / DAYS[1] / "b.jsonl").write_bytes(lines)
    found = rows_of(validate_all(plan_of(tmp_path, carry=("date",))))
    assert [row["date"] for row in found] == ["own", None, "2024-01-02"]


def test_a_partition_that_nobody_has(tmp_path: Path) -> None:
    _parquet(tmp_path / DAYS[0] / "a.parquet", pa.Table.from_pylist(qa_rows(1)))
    with pytest.raises(CorpusError, match=r"there is no column 'dat'; it has .*'question'"):
        plan_of(tmp_path, carry=("dat",))
